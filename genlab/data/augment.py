"""Random augmentation in two stages: what happens is drawn on the CPU for a whole batch, then applied on the device.

The draw is a plain table with one row per example, so a rank takes its rows and the ranks together do exactly what
one rank would have done.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.core.ranges import Fraction, Range, Share, check
from genlab.data.images import unit

COLUMNS = ("flip", "top", "left", "angle", "factor", "right", "down")


@dataclass(frozen=True)
class Augment:
    """flip: mirror left-right half of the time; crop: pad by so many black pixels, then cut back at a random place;
    rotate: up to ± degrees, counter-clockwise; scale: size times 1 ± scale; shift: up to ± this fraction of the size.
    """

    flip: bool = False
    crop: Annotated[int, Range(0, 1000)] = 0
    rotate: Annotated[float, Range(0, 360)] = 0.0
    scale: Fraction = 0.0
    shift: Share = 0.0

    def __post_init__(self) -> None:
        check(self)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """-> float32 (n, 7), see COLUMNS: 0 or 1; pixels, 0..2·crop; degrees; factor; fractions of the size."""
        low = torch.tensor([0, 0, 0, -self.rotate, 1 - self.scale, -self.shift, -self.shift])
        span = torch.tensor([0, 0, 0, 2 * self.rotate, 2 * self.scale, 2 * self.shift, 2 * self.shift])
        u = torch.rand(n, len(COLUMNS), generator=generator)
        params = low + span * u
        if self.flip:
            params[:, 0] = (u[:, 0] < 0.5).float()
        params[:, 1:3] = (u[:, 1:3] * (2 * self.crop + 1)).floor()
        return params

    def apply(self, x: Tensor, params: Tensor) -> Tensor:
        """x (n, C, H, W), uint8 or float -> the same shape; uint8 stays so unless pixels must be interpolated."""
        if len(params) != len(x):
            raise ValueError(f"{len(params)} rows of parameters for {len(x)} images")
        params = params.to(x.device, non_blocking=True)
        if self.flip or self.crop:
            x = _flip_and_crop(x, params[:, 0].long(), params[:, 1:3].long(), self.crop)
        if self.rotate or self.scale or self.shift:
            x = _affine(unit(x), *params[:, 3:].unbind(1))
        return x


def _flip_and_crop(x: Tensor, flip: Tensor, corner: Tensor, pad: int) -> Tensor:
    """Copies whole rows out of two padded pictures, the plain and the mirrored: a row of W·C numbers is contiguous in
    channels-last memory, and overlapping windows (as_strided) let one index_select cut every row at its own column."""
    n, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1)
    both = F.pad(torch.cat([rows, rows.flip(2)]), (0, 0, pad, pad, pad, pad))
    height, width, length = h + 2 * pad, w + 2 * pad, w * c
    picture = torch.arange(n, device=x.device) + n * flip
    row = (picture * height + corner[:, 0])[:, None] + torch.arange(h, device=x.device)
    start = (row * width + corner[:, 1:]) * c
    windows = both.as_strided((both.numel() - length + 1, length), (1, 1))
    return windows.index_select(0, start.flatten()).view(n, h, w, c).permute(0, 3, 1, 2)


def _affine(x: Tensor, angle: Tensor, factor: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Turn, resize, then move; black outside. The grid maps output to input, hence the inverse of each."""
    n, _, h, w = x.shape
    angle = angle * (math.pi / 180)
    cos, sin = angle.cos() / factor, angle.sin() / factor
    turn = torch.stack([cos, -sin * h / w, sin * w / h, cos], 1).view(n, 2, 2)
    move = -turn @ (2 * torch.stack([right, down], 1)).unsqueeze(2)
    grid = F.affine_grid(torch.cat([turn, move], 2).to(x.dtype), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False).clamp_(0, 1)
