"""Spectral normalisation; Miyato et al. 2018, arXiv:1802.05957, eq. 8 and Algorithm 1.

Departures: sigma is the norm of the convolution as a linear map of images, not of its reshaped kernel (which can be
several times smaller), so a sequence of such layers is 1-Lipschitz; the power iteration stores one vector per layer;
sigma is computed in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear
from torch.nn.grad import conv2d_input
from torch.nn.utils.parametrize import register_parametrization

from genlab.core.modes import evaluating


class Spectral(nn.Module):
    """weight -> bound * weight / sigma, where sigma is the spectral norm of the layer.

    In training mode every use does one power iteration; `v` (1, *input) is the right singular vector.
    """

    v: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear, shape: torch.Size, bound: float = 1.0, iterations: int = 30):
        super().__init__()
        self.bound = bound
        self.how: dict[str, Any] | None = None
        if isinstance(layer, nn.Conv2d):
            self.how = {"stride": layer.stride, "padding": layer.padding}
        self.register_buffer("v", torch.randn(1, *shape))
        for _ in range(iterations):
            self.iterate(layer.weight.detach())

    def apply_to(self, v: Tensor, weight: Tensor) -> Tensor:
        return linear(v, weight) if self.how is None else conv2d(v, weight, **self.how)

    @torch.no_grad()
    def iterate(self, weight: Tensor) -> None:
        u = self.apply_to(self.v, weight)
        v = u @ weight if self.how is None else conv2d_input(self.v.shape, weight, u, **self.how)
        self.v.copy_(v / v.norm().clamp_min(1e-12))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            if self.training:
                self.iterate(weight)
            sigma = self.apply_to(self.v.clone(), weight).norm()
            return weight * (self.bound / sigma.clamp_min(1e-12))


def spectral_norm(net: nn.Module, shape: tuple[int, int, int], head: nn.Module) -> None:
    """Applies spectral normalisation to all convolutions and linear layers of `net` (images of `shape` -> scores).

    The norm of the last layer `head` is 1/2, which compensates the scaling of pixels from [0, 1] to [-1, 1].
    """
    inputs: dict[nn.Conv2d | nn.Linear, torch.Size] = {}
    hooks = [
        m.register_forward_pre_hook(lambda m, args: inputs.update({m: args[0].shape[1:]}))
        for m in net.modules()
        if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad(), evaluating(net):
        net(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    for layer, size in inputs.items():
        register_parametrization(layer, "weight", Spectral(layer, size, 0.5 if layer is head else 1.0))
