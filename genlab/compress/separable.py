"""Depthwise separable convolutions: a filter per input channel, then a 1x1 convolution; MobileNets, Howard et al. 2017,
arXiv:1704.04861, section 3.1. They have 1 / O + 1 / k² of the weights of the full convolution.
"""

from __future__ import annotations

import torch
from torch import nn

from genlab.compress.layers import Layer
from genlab.compress.low_rank import replace_layers


@torch.no_grad()
def separated(conv: nn.Conv2d) -> nn.Sequential:
    """The depthwise separable approximation of `conv` with the smallest squared error of the weights: per input
    channel, the best rank-1 approximation of the matrix (outputs, taps)."""
    if conv.groups != 1:
        raise ValueError(f"only an ungrouped convolution can be separated, this one has {conv.groups} groups")
    i, o = conv.in_channels, conv.out_channels
    depth = nn.Conv2d(i, i, conv.kernel_size, conv.stride, conv.padding, groups=i, bias=False)  # type: ignore[arg-type]
    point = nn.Conv2d(i, o, 1, bias=conv.bias is not None)
    u, s, v = torch.linalg.svd(conv.weight.transpose(0, 1).flatten(2), full_matrices=False)  # (inputs, outputs, taps)
    root = s[:, :1].sqrt()
    depth.weight.copy_((root * v[:, 0]).view_as(depth.weight))
    point.weight.copy_((root * u[:, :, 0]).t().reshape_as(point.weight))
    if conv.bias is not None and point.bias is not None:
        point.bias.copy_(conv.bias)
    return nn.Sequential(depth, point).to(conv.weight)


def separate(net: nn.Module) -> nn.Module:
    """A copy of `net` with all convolutions larger than 1x1 made separable; to be fine-tuned."""

    def change(layer: Layer) -> nn.Module:
        fits = isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.in_channels > 1
        return separated(layer) if fits and layer.weight[0, 0].numel() > 1 else layer  # type: ignore[arg-type]

    return replace_layers(net, change)
