"""Dequantisation: noise u of [0, 1) per pixel, added to the levels of 8-bit images so that a density can model them.

For every q: log P(x) >= E [log p(x + u) - log q(u | x)], u of q. With uniform noise (Theis et al. 2016,
arXiv:1511.01844, eq. 4) the density has to learn the edges of the levels; variational dequantisation learns q with the
density (Ho et al. 2019, Flow++, arXiv:1902.00275, eq. 10 to 12). Departures: affine couplings; the normal distribution
function instead of a sigmoid maps to [0, 1), so that q starts as uniform noise.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from genlab.likelihood.units import BELOW_ONE
from genlab.nets.coupling import ConvNet, limited
from genlab.nets.multiscale import Squeeze

Dequantisation = Literal["uniform", "variational"]


class UniformNoise(nn.Module):
    """x (N, C, H, W) -> u uniform in [0, 1), (N, C, H, W), and log q(u | x) = 0."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        return torch.rand_like(x) * BELOW_ONE, 0.0

    def middle(self, x: Tensor) -> Tensor:
        """The u of x that stands for all of its noise, (N, C, H, W)."""
        return torch.full_like(x, 0.5)


class VariationalNoise(nn.Module):
    """x (N, C, H, W) in [0, 1] -> u in [0, 1), (N, C, H, W), and log q(u | x), (N,).

    u = Φ(v), where couplings map e of N(0, I) to v, at 2x2 pixels per position; each of them sees the image too.
    """

    def __init__(self, shape: tuple[int, ...], width: int = 32, steps: int = 2):
        """
        Raises:
            ValueError: a side of `shape` (C, H, W) is odd.
        """
        super().__init__()
        if shape[1] % 2 or shape[2] % 2:
            raise ValueError(f"variational dequantisation takes images of even sides, got {shape[1]}x{shape[2]}")
        c = 4 * shape[0]
        self.squeeze = Squeeze()
        self.couplings = nn.ModuleList(ConvNet(c // 2 + c, c, width) for _ in range(steps))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.transform(x, torch.randn_like(x))

    def middle(self, x: Tensor) -> Tensor:
        """The u of x that stands for all of its noise, (N, C, H, W): that of e = 0, but away from the edges of a level,
        which the rounding errors of a flow and of its inverse may cross."""
        return self.transform(x, torch.zeros_like(x))[0].clamp(0.05, 0.95)

    def transform(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """u of e, both (N, C, H, W), and log q(u | x) = log N(e) - log |det dv/de| - log N(v), (N,)."""
        image, v = self.squeeze(2 * x - 1)[0], self.squeeze(e)[0]
        log_q = -e.square().flatten(1).sum(1) / 2
        for net in self.couplings:
            a, b = v.chunk(2, 1)
            shift, log_scale = net(torch.cat([a, image], 1)).float().chunk(2, 1)
            log_scale = limited(log_scale)
            v = torch.cat([torch.addcmul(shift, b, log_scale.exp()), a], 1)
            log_q = log_q - log_scale.flatten(1).sum(1)
        u = torch.special.ndtr(self.squeeze.inverse(v)) * BELOW_ONE
        return u, log_q + v.square().flatten(1).sum(1) / 2
