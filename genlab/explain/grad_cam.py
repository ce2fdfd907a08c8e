"""Grad-CAM; Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from genlab.core.modes import evaluating
from genlab.explain.gradients import class_output
from genlab.explain.layers import kept


def last_convolution(model: nn.Module) -> nn.Module:
    """The last convolution in the order of construction.

    Raises:
        ValueError: the model has none.
    """
    found = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    if not found:
        raise ValueError(f"Grad-CAM needs a convolution, and this {type(model).__name__} has none")
    return found[-1]


def grad_cam(model: nn.Module, x: Tensor, y: Tensor, layer: nn.Module | None = None) -> Tensor:
    """(N, H, W): ReLU of the sum of a layer's channels A (N, K, h, w), weighted by the mean gradient of logit_y by each
    channel, upsampled bilinearly.

    Args:
        layer: whose output is A; none: the last convolution.

    Raises:
        ValueError: the layer's output is not (N, K, h, w), or y is not one class per image.
    """
    layer = layer or last_convolution(model)
    with evaluating(model), torch.enable_grad(), kept([layer]) as outputs:
        logit = class_output(model(x.detach().clone().requires_grad_()), y).sum()
    maps = outputs.get(layer)
    if maps is None or maps.ndim != 4:
        raise ValueError(
            f"Grad-CAM needs a layer with maps (N, K, h, w), got {maps if maps is None else tuple(maps.shape)}"
        )
    (gradients,) = torch.autograd.grad(logit, maps)
    coarse = (gradients.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()
    return interpolate(coarse, x.shape[2:], mode="bilinear").squeeze(1).detach()
