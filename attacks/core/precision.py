"""Half precision: attacks compute in at least float32; the model and the caller keep their own dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.core.ball import Ball


def widened(t: Tensor) -> Tensor:
    """Cast to float32 if the dtype is narrower, else unchanged."""
    return t.float() if t.dtype.itemsize < 4 else t


def rounded(found: Tensor, x: Tensor, ball: Ball | None) -> Tensor:
    """`found` (N, ...) in [0, 1], computed from `widened(x)`, rounded to the dtype of x without leaving the ball.

    Pixels that rounding to nearest moved out of the ball are rounded towards the original instead.
    """
    near = found.to(x.dtype)
    if ball is None or near.dtype == found.dtype:
        return near
    x = x.to(found.dtype)
    d = near.to(found.dtype) - x
    outside = (d.abs() > (found - x).abs()) & (d.abs() > ball.project(d).abs())
    towards = near.view(torch.int16) - d.sign().to(torch.int16)  # floats >= 0 are ordered as their bit patterns
    return torch.where(outside, towards.view(near.dtype), near)
