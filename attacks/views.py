"""Random transformations of a patch: rotation, scale, position and brightness; differentiable.

Expectation over transformation (EOT): Athalye et al. 2018, arXiv:1707.07397. A transformation is parametrised by five
uniform numbers, so that the caller chooses the source of randomness (torch's generator in training,
`attacks.core.random` in an attack); 0.5 for all is the identity at mean scale. JPEG compression has no useful gradient,
so it is used in evaluations only (`genlab.data.jpeg`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from genlab.core.ranges import Range, Share, check

Scale = Annotated[float, Range(0.001, 1000)]
PARAMETERS = 5  # of a transformation: angle, scale, row, column, brightness


@dataclass(frozen=True)
class Views:
    """Distribution of the transformations. Raises ValueError if scale is not (low, high) with low <= high.

    rotation: at most, in degrees, in both directions. scale: range of the factor. place: range of positions: 0 is the
    centre, 1 anywhere inside the image. brightness: largest shift of the pixels, in both directions.
    """

    rotation: Annotated[float, Range(0, 180)] = 20.0
    scale: tuple[Scale, Scale] = (0.9, 1.1)
    place: Share = 0.5
    brightness: Share = 0.1

    def __post_init__(self) -> None:
        check(self)

    def check_relations(self) -> None:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale must be two numbers, low <= high, got {self.scale!r}.")

    def matrices(self, u: Tensor, inner: tuple[int, int], outer: tuple[int, int]) -> Tensor:
        """(N, 2, 3): `affine_grid` matrices from coordinates of the outer image to those of the inner, both in [-1, 1].

        u (N, 5) in [0, 1]; inner and outer: heights and widths in pixels.
        """
        angle = (2 * u[:, 0] - 1) * math.radians(self.rotation)
        scale = self.scale[0] + u[:, 1] * (self.scale[1] - self.scale[0])
        room = [(n - scale * m).clamp_min(0) / 2 for n, m in zip(outer, inner, strict=True)]
        row, column = (self.place * (2 * u[:, 2 + i] - 1) * room[i] for i in (0, 1))  # of the centre, in pixels
        cos, sin = angle.cos() / scale, angle.sin() / scale
        half = [n / 2 for n in (*inner, *outer)]
        # inner pixel = R(-angle) (outer pixel - centre) / scale, each counted from the middle of its image
        top = torch.stack([cos * half[3], sin * half[2], -(cos * column + sin * row)], 1) / half[1]
        bottom = torch.stack([-sin * half[3], cos * half[2], sin * column - cos * row], 1) / half[0]
        return torch.stack([top, bottom], 1)

    def render(self, picture: Tensor, u: Tensor, size: tuple[int, int]) -> Tensor:
        """picture (N or 1, C, h, w), transformed by u (N, 5), in images (N, C, *size) that are zero elsewhere."""
        u = u.to(picture.dtype)
        shape = [len(u), picture.shape[1], *size]
        grid = affine_grid(self.matrices(u, picture.shape[2:], size), shape, align_corners=False)  # type: ignore[arg-type]
        return grid_sample(picture.expand(len(u), -1, -1, -1), grid, padding_mode="zeros", align_corners=False)

    def brightness_shift(self, u: Tensor) -> Tensor:
        """(N, 1, 1, 1): brightness shift, added to the pixels."""
        return ((2 * u[:, 4] - 1) * self.brightness).view(-1, 1, 1, 1)

    def paste(self, x: Tensor, picture: Tensor, mask: Tensor, u: Tensor) -> Tensor:
        """x (N, C, H, W) with the transformed `picture` (C, h, w) pasted where `mask` (1, h, w) is 1; in [0, 1]."""
        canvas = torch.cat([picture * mask, mask]).to(x.dtype)[None]
        seen = self.render(canvas, u, (x.shape[2], x.shape[3]))
        colour, cover = seen[:, :-1], seen[:, -1:]
        return (x * (1 - cover) + colour + self.brightness_shift(u).to(x.dtype) * cover).clamp(0, 1)
