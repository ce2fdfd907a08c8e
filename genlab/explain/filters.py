"""Filter maximisation: the image that a filter responds to most; Erhan et al. 2009, "Visualizing higher-layer features
of a deep network"."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.core.modes import evaluating
from genlab.explain.gradients import input_gradient
from genlab.explain.layers import activations
from genlab.explain.maximise import maximise


def degrees(model: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    """(N, K): the mean over positions of each of the K channels (units) of a layer's output for images x."""
    (out,) = activations(model, x, [layer])
    return out.reshape(*out.shape[:2], -1).mean(2)


def maximise_filters(
    model: nn.Module,
    layer: nn.Module,
    channels: Tensor,
    start: Tensor,
    smooth: float = 0.0,
    steps: int = 200,
    lr: float = 0.05,
) -> Tensor:
    """argmax_x of the mean of one channel a^k of the layer's output, less the weighted total variation of x, from
    `start` (N, C, H, W) in [0, 1], by projected Adam: images of that shape.

    Args:
        layer: whose output is (N, K, h, w) or (N, K), such as the ReLU after a convolution. Without the ReLU, the mean
            is linear in the last convolution, and what pleases the filter at one position displeases it at others.
        channels: k of each image, (N,).
        smooth: weight of the total variation, in units of the mean |d a^k / d pixel| at the start.

    Raises:
        ValueError: the layer has no such channel.
    """
    with evaluating(model):
        with torch.no_grad():
            n = degrees(model, layer, start[:1]).shape[1]
        if channels.shape != start.shape[:1] or not 0 <= int(channels.min()) <= int(channels.max()) < n:
            raise ValueError(f"{len(start)} images need a channel below {n} each, got {channels.tolist()[:10]}")
        degree = lambda x: degrees(model, layer, x)
        slope = input_gradient(degree, start, channels).abs().mean((1, 2, 3))
        return maximise(degree, channels, start, smooth=smooth * slope, steps=steps, lr=lr)
