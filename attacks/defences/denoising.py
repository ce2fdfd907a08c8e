"""Edge-preserving filters: bilateral, non-local means and total variation. All have useful gradients.

Bilateral: Tomasi, Manduchi 1998. NonLocalMeans: Buades, Coll, Morel 2005, with square patches. TotalVariation: Rudin,
Osher, Fatemi 1992, in the dual of Chambolle 2004, eq. 9; as a defence Guo et al. 2018, arXiv:1711.00117.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from attacks.defences.smoothing import Filter, NeighbourhoodFilter, Side
from genlab.core.ranges import Range, Steps, checked

Bandwidth = Annotated[float, Range(0.001, 1000)]  # of a Gaussian weight


class Bilateral(NeighbourhoodFilter):
    """Average over a k x k window with weights exp(-distance^2 / 2 space^2 - difference^2 / 2 colour^2).

    space: in pixels of distance; colour: in units of [0, 1]; the difference is the L2 norm over all channels.
    """

    @checked
    def __init__(self, k: Side = 5, space: Bandwidth = 1.5, colour: Bandwidth = 0.2) -> None:
        super().__init__(k)
        self.space, self.colour = space, colour

    def extra_repr(self) -> str:
        return f"k={self.k}, space={self.space}, colour={self.colour}"

    def forward(self, x: Tensor) -> Tensor:
        near = shifts(self.padded(x), self.k)
        away = torch.tensor([(i * i + j * j) / 2 for i, j in offsets(self.k)], device=x.device, dtype=x.dtype)
        difference = (near - x).square().sum(2, keepdim=True)
        exponent = -away.view(-1, 1, 1, 1, 1) / self.space**2 - difference / (2 * self.colour**2)
        return (exponent.softmax(0) * near).sum(0)


class NonLocalMeans(NeighbourhoodFilter):
    """Average over a k x k window with weights exp(-mean squared difference of the two patches / strength^2).

    patch: side of the square patches, odd; strength: in units of [0, 1].
    """

    @checked
    def __init__(self, k: Side = 7, patch: Side = 3, strength: Bandwidth = 0.2) -> None:
        super().__init__(k)
        self.patch, self.strength = patch, strength

    def extra_repr(self) -> str:
        return f"k={self.k}, patch={self.patch}, strength={self.strength}"

    def forward(self, x: Tensor) -> Tensor:
        near = shifts(self.padded(x), self.k)
        difference = (near - x).square().mean(2).flatten(0, 1)[:, None]
        difference = avg_pool2d(pad(difference, [self.patch // 2] * 4, mode="replicate"), self.patch, stride=1)
        weight = (-difference / self.strength**2).view(len(near), len(x), 1, *x.shape[2:]).softmax(0)
        return (weight * near).sum(0)


class TotalVariation(Filter):
    """argmin_u |u - x|^2 / 2 + weight * total variation of u, per channel, by `steps` iterations on the dual."""

    @checked
    def __init__(self, weight: Annotated[float, Range(1e-6, 1e6)] = 0.1, steps: Steps = 30) -> None:
        super().__init__()
        self.weight, self.steps = weight, steps

    def extra_repr(self) -> str:
        return f"weight={self.weight}, steps={self.steps}"

    def forward(self, x: Tensor) -> Tensor:
        p = x.new_zeros(2, *x.shape)
        for _ in range(self.steps):
            grad = gradient(divergence(p) - x / self.weight)
            p = (p + grad / 4) / (1 + grad.square().sum(0).clamp_min(1e-12).sqrt() / 4)
        return (x - self.weight * divergence(p)).clamp(0, 1)


def offsets(k: int) -> list[tuple[int, int]]:
    """(row, column) offsets of the k x k neighbours."""
    reach = range(-(k // 2), k // 2 + 1)
    return [(i, j) for i in reach for j in reach]


def shifts(padded: Tensor, k: int) -> Tensor:
    """Images padded by k // 2 -> (k * k, N, C, H, W): the images shifted by every offset."""
    h, w = padded.shape[2] - k + 1, padded.shape[3] - k + 1
    return torch.stack([padded[:, :, i : i + h, j : j + w] for i, j in product(range(k), repeat=2)])


def gradient(u: Tensor) -> Tensor:
    """(2, *u.shape): forward differences down and to the right, 0 at the far border."""
    return torch.stack([pad(u.diff(dim=-2), (0, 0, 0, 1)), pad(u.diff(dim=-1), (0, 1))])


def divergence(p: Tensor) -> Tensor:
    """Minus the transpose of `gradient`: p (2, ...) -> (...)."""
    down, right = p[0][..., :-1, :], p[1][..., :-1]
    return pad(down, (0, 0, 0, 1)) - pad(down, (0, 0, 1, 0)) + pad(right, (0, 1)) - pad(right, (1, 0))
