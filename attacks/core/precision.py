"""Half precision at the border: attacks compute in float32 at least, models see and callers get their own dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.core.ball import Ball


def widened(t: Tensor) -> Tensor:
    """In float32 if it was narrower, else as it is."""
    return t.float() if t.dtype.itemsize < 4 else t


def rounded(found: Tensor, x: Tensor, ball: Ball | None) -> Tensor:
    """`found` (N, ...) in [0, 1], made of `widened(x)`, in x's dtype: the nearest numbers.

    Where these leave the ball, pixels that came farther from the original go to the number before.
    """
    near = found.to(x.dtype)
    if ball is None or near.dtype == found.dtype:
        return near
    x = x.to(found.dtype)
    d = near.to(found.dtype) - x
    outside = (d.abs() > (found - x).abs()) & (d.abs() > ball.project(d).abs())
    towards = near.view(torch.int16) - d.sign().to(torch.int16)  # numbers >= 0 are in the order of their bits
    return torch.where(outside, towards.view(near.dtype), near)
