"""Multi-scale architecture of flows: squeeze, and half of the channels is split off after every level.

Dinh et al. 2017 (RealNVP), arXiv:1605.08803, section 3.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from genlab.nets.flow import Layer, LogDet


class Flatten(Layer):
    """(N, *shape) -> (N, D)."""

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> tuple[Tensor, LogDet]:
        return x.flatten(1), 0.0

    def inverse(self, z: Tensor) -> Tensor:
        return z.unflatten(1, self.shape)


class Squeeze(Layer):
    """(N, C, 2H, 2W) -> (N, 4C, H, W)."""

    def forward(self, x: Tensor) -> tuple[Tensor, LogDet]:
        return pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last), 0.0

    def inverse(self, z: Tensor) -> Tensor:
        return pixel_shuffle(z, 2).contiguous(memory_format=torch.channels_last)


class MultiScale(Layer):
    """x (N, *shape) -> z (N, D), D = prod(shape): after every level but the last, half of the channels is moved to z.

    halvings: number of squeezes per level.
    """

    def __init__(self, shape: tuple[int, ...], levels: Sequence[Layer], halvings: Sequence[int]):
        super().__init__()
        self.shapes = scales(shape, halvings)
        self.levels = nn.ModuleList(levels)

    def forward(self, x: Tensor) -> tuple[Tensor, LogDet]:
        total: LogDet = 0.0
        parts = []
        for level in self.levels:
            x, log_det = level(x)
            total = total + log_det
            if level is not self.levels[-1]:
                x, done = x.chunk(2, 1)
                parts.append(done.flatten(1))
        return torch.cat([*parts, x.flatten(1)], 1), total

    def inverse(self, z: Tensor) -> Tensor:
        sizes = [prod(shape) // 2 for shape in self.shapes[:-1]] + [prod(self.shapes[-1])]
        parts = list(z.split(sizes, 1))
        x = parts.pop().view(-1, *self.shapes[-1])
        for level, shape in zip(reversed(self.levels), [*reversed(self.shapes[:-1]), None]):
            x = level.inverse(channels_last(x))  # type: ignore[operator]
            if shape:
                x = torch.cat([x, parts.pop().view(-1, shape[0] // 2, *shape[1:])], 1)
        return x


def scales(shape: tuple[int, ...], halvings: Sequence[int]) -> list[tuple[int, ...]]:
    """The output shape of every level, before half of the channels is split off.

    Raises:
        ValueError: the sides are not divisible by 2 often enough.
    """
    if any(side % 2 ** sum(halvings) for side in shape[1:]):
        size = "x".join(map(str, shape[1:]))
        often = {1: "once", 2: "twice"}.get(sum(halvings), f"{sum(halvings)} times")
        raise ValueError(f"--levels: the flow halves the sides {often}, which images of {size} (--size) do not allow")
    shapes, (channels, *sides) = [], shape
    for times in halvings:
        channels, sides = channels * 4**times, [side // 2**times for side in sides]
        shapes.append((channels, *sides))
        channels //= 2
    return shapes


def channels_last(x: Tensor) -> Tensor:
    """Images in channels-last memory format, points unchanged."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
