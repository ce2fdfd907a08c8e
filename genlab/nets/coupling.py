"""Coupling layers: one part of x is unchanged and determines shift (and scale) of the other.

Additive: Dinh et al. 2015 (NICE), arXiv:1410.8516, eq. 3. Affine: Dinh et al. 2017 (RealNVP), arXiv:1605.08803, eq. 4
and 5, and 9 with a mask. Departure: log-scales are limited to ±2 by a tanh.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from genlab.nets.flow import Layer, LogDet
from genlab.nets.mlp import MLP

BOUND = 2.0  # of a log-scale


def limited(log_scale: Tensor) -> Tensor:
    """Log-scales within ±BOUND, near 0 as they are."""
    return BOUND * (log_scale / BOUND).tanh()


class Coupling(Layer):
    """x = (a, b), halves of the channels -> (a, exp(s) b + t), where net(a) is (t, s), or t alone if not `affine`.

    swap: the first half is b.
    """

    def __init__(self, net: nn.Module, *, affine: bool = True, swap: bool = False):
        super().__init__()
        self.net, self.affine, self.swap = net, affine, swap

    def shift_and_log_scale(self, a: Tensor) -> tuple[Tensor, Tensor | None]:
        """t and s (None if additive) from the unchanged part."""
        outputs = self.net(a).float()
        if not self.affine:
            return outputs, None
        shift, log_scale = outputs.chunk(2, 1)
        return shift, limited(log_scale)

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.chunk(2, 1)
        return (second, first) if self.swap else (first, second)

    def whole(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([b, a] if self.swap else [a, b], 1)

    def forward(self, x: Tensor) -> tuple[Tensor, LogDet]:
        a, b = self.halves(x)
        shift, log_scale = self.shift_and_log_scale(a)
        if log_scale is None:
            return self.whole(a, b + shift), 0.0
        return self.whole(a, torch.addcmul(shift, b, log_scale.exp())), log_scale.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        a, b = self.halves(z)
        shift, log_scale = self.shift_and_log_scale(a)
        b = b - shift
        return self.whole(a, b if log_scale is None else b * (-log_scale).exp())


class MaskedCoupling(Coupling):
    """Coupling with a mask (broadcast to x's shape): 1 for unchanged elements, 0 for transformed ones."""

    def __init__(self, net: nn.Module, mask: Tensor, *, affine: bool = True):
        super().__init__(net, affine=affine)
        self.register_buffer("mask", mask.float())

    mask: Tensor

    def forward(self, x: Tensor) -> tuple[Tensor, LogDet]:
        shift, log_scale = self.shift_and_log_scale(x * self.mask)
        changed = 1 - self.mask
        if log_scale is None:
            return torch.addcmul(x, shift, changed), 0.0
        log_scale = log_scale * changed
        return x * log_scale.exp() + shift * changed, log_scale.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        shift, log_scale = self.shift_and_log_scale(z * self.mask)
        changed = 1 - self.mask
        z = z - shift * changed
        return z if log_scale is None else z * (-log_scale * changed).exp()


def checkerboard(*sides: int, odd: bool = False) -> Tensor:
    """1 where the sum of the indices is even (or odd), else 0."""
    total = sum(torch.meshgrid(*map(torch.arange, sides), indexing="ij"))
    return (total + odd + 1) % 2  # type: ignore[return-value]


class PositionBias(nn.Module):
    """Adds a learned bias per position (H, W) and channel, at first 0, to (N, channels, H, W)."""

    def __init__(self, channels: int, size: tuple[int, ...]):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, *size))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class ConvNet(nn.Sequential):
    """(N, inputs, H, W) -> (N, outputs, H, W): Glow's 3x3, 1x1, 3x3 convolutions; zero-initialised output.

    size: (H, W) for a bias per position after the first convolution; none: no such bias.
    """

    def __init__(self, inputs: int, outputs: int, width: int, size: tuple[int, ...] | None = None):
        super().__init__(
            nn.Conv2d(inputs, width, 3, padding=1),
            *([PositionBias(width, size)] if size else []),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1),
            nn.ReLU(inplace=True),
            zeroed(nn.Conv2d(width, outputs, 3, padding=1)),
        )


class PointNet(nn.Sequential):
    """(N, inputs) -> (N, outputs): two hidden layers; zero-initialised output."""

    def __init__(self, inputs: int, outputs: int, width: int):
        super().__init__(MLP(inputs, width, width), nn.ReLU(), zeroed(nn.Linear(width, outputs)))


class DenseNet(nn.Sequential):
    """(N, inputs, H, W) -> (N, outputs, H, W): two fully connected hidden layers over all channels and positions of
    `size` (H, W); zero-initialised output."""

    def __init__(self, inputs: int, outputs: int, width: int, size: tuple[int, ...]):
        places = prod(size)
        super().__init__(
            nn.Flatten(), PointNet(inputs * places, outputs * places, width), nn.Unflatten(1, (outputs, *size))
        )


def zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """Zero-initialises the layer, so that a coupling starts as the identity; returns it."""
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer
