"""Depthwise separable convolutions: a filter per input channel, then a 1x1 convolution; Howard et al. 2017
(MobileNets), arXiv:1704.04861, section 3.1. Against the full convolution that is 1 / O + 1 / k² of the weights.
"""

from __future__ import annotations

import torch
from torch import nn

from genlab.compress.layers import Layer
from genlab.compress.low_rank import rebuilt


@torch.no_grad()
def separated(conv: nn.Conv2d) -> nn.Sequential:
    """The nearest separable pair in squared error of the weights: per input channel, the best matrix of rank 1 of
    (outputs, taps)."""
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
    """A copy of `net` with all convolutions of more than one tap and input channel separated; to be trained further."""

    def change(layer: Layer) -> nn.Module:
        fits = isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.in_channels > 1
        return separated(layer) if fits and layer.weight[0, 0].numel() > 1 else layer  # type: ignore[arg-type]

    return rebuilt(net, change)
