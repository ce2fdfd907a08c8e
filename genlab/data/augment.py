"""Random augmentation: parameters are sampled on the CPU for the global batch, then applied on the device.

The parameters are a table with one row per example, of which each rank uses its own rows, so the result does not depend
on the number of ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.core.ranges import Fraction, Range, Share, check
from genlab.data.images import to_float

COLUMNS = ("flip", "top", "left", "angle", "factor", "right", "down")


@dataclass(frozen=True)
class Augment:
    """Random augmentation of training images."""

    flip: bool = False
    """random horizontal flip"""
    crop: Annotated[int, Range(0, 1000)] = 0
    """random crop after padding by this many black pixels"""
    rotate: Annotated[float, Range(0, 360)] = 0.0
    """random rotation by up to this many degrees in both directions"""
    scale: Fraction = 0.0
    """random scaling by a factor of 1 - scale to 1 + scale"""
    shift: Share = 0.0
    """random translation by up to this fraction of the size in all directions"""

    def __post_init__(self) -> None:
        check(self)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Parameters float32 (n, 7), see COLUMNS: 0 or 1; pixels, 0..2·crop; degrees; factor; fractions of the size."""
        low = torch.tensor([0, 0, 0, -self.rotate, 1 - self.scale, -self.shift, -self.shift])
        span = torch.tensor([0, 0, 0, 2 * self.rotate, 2 * self.scale, 2 * self.shift, 2 * self.shift])
        u = torch.rand(n, len(COLUMNS), generator=generator)
        params = low + span * u
        if self.flip:
            params[:, 0] = (u[:, 0] < 0.5).float()
        params[:, 1:3] = (u[:, 1:3] * (2 * self.crop + 1)).floor()
        return params

    def apply(self, x: Tensor, params: Tensor) -> Tensor:
        """x (n, C, H, W), uint8 or float -> the same shape; float32 if pixels are interpolated, else x's dtype."""
        if len(params) != len(x):
            raise ValueError(f"{len(params)} rows of parameters for {len(x)} images")
        params = params.to(x.device, non_blocking=True)
        if self.flip or self.crop:
            x = _flip_and_crop(x, params[:, 0].long(), params[:, 1:3].long(), self.crop)
        if self.rotate or self.scale or self.shift:
            x = _affine(to_float(x), *params[:, 3:].unbind(1))
        return x


def _flip_and_crop(x: Tensor, flip: Tensor, corner: Tensor, pad: int) -> Tensor:
    """Copies rows from padded images and their mirror images: in channels-last memory a row of W·C numbers is
    contiguous, and with overlapping windows (as_strided) one index_select cuts every row at its own column."""
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
    """Rotates, scales, then translates; black outside. The grid maps outputs to inputs, hence inverse transforms."""
    n, _, h, w = x.shape
    angle = angle * (math.pi / 180)
    cos, sin = angle.cos() / factor, angle.sin() / factor
    turn = torch.stack([cos, -sin * h / w, sin * w / h, cos], 1).view(n, 2, 2)
    move = -turn @ (2 * torch.stack([right, down], 1)).unsqueeze(2)
    grid = F.affine_grid(torch.cat([turn, move], 2).to(x.dtype), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False).clamp_(0, 1)
