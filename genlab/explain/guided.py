"""Guided backpropagation; Springenberg et al. 2014, arXiv:1412.6806, section 3.4."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.explain.gradients import input_gradient


class PositiveGradient(torch.autograd.Function):
    """The identity, whose backward pass lets only positive gradients through."""

    @staticmethod
    def forward(ctx: object, a: Tensor) -> Tensor:
        return a.clone()

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:
        return g.clamp(min=0)


def guided_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """d logit_y / dx, (N, C, H, W), where every nn.ReLU of the model lets a gradient through if both its input (as
    always) and the gradient itself are positive. Other activations pass gradients on as they do."""
    relus = [layer for layer in model.modules() if isinstance(layer, nn.ReLU)]
    handles = [relu.register_forward_hook(lambda _, __, a: PositiveGradient.apply(a)) for relu in relus]
    try:
        return input_gradient(model, x, y)
    finally:
        for handle in handles:
            handle.remove()


def guided_backpropagation(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """|guided gradient|, the maximum over channels: (N, H, W)."""
    return guided_gradient(model, x, y).abs().amax(1)
