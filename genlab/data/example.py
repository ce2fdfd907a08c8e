"""Examples (x, y) of the user's own data, checked and brought to the form of the lab."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CLASSES = 10**6  # at most
OVERSHOOT = 1e-3  # of floats beyond [0, 1], from resizing; it is clipped


def example(item: Any, where: str) -> tuple[Tensor, Tensor]:
    """One item of a data set -> x uint8 or float32 in [0, 1] (C, H, W); y int64 (), or an image like x.

    item: (x, y) or x alone (y is then 0); x a tensor, an array or a PIL image, y an integer or an image. `where` begins
    an error message.

    Raises:
        ValueError: a shape, dtype or range does not fit.
    """
    x, y = _two(item, where)
    return _image(x, where, 3), _target(y, where, 0)


def checked_batch(batch: Any, where: str) -> tuple[Tensor, Tensor]:
    """A batch -> x uint8 or float32 in [0, 1] (n, C, H, W); y int64 (n,), or images like x.

    Raises:
        ValueError: a shape, dtype or range does not fit.
    """
    x, y = _two(batch, where)
    x = _image(x, where, 4)
    y = torch.zeros(len(x), dtype=torch.int64) if isinstance(y, int) else _target(y, where, 1)
    if len(x) != len(y):
        raise ValueError(f"{where}: {len(x)} images but {len(y)} labels")
    return x, y


def batch_of(items: Sequence[tuple[Tensor, Tensor]], name: str) -> tuple[Tensor, Tensor]:
    """Examples as one batch.

    Raises:
        ValueError: their shapes differ.
    """
    for side in zip(*items):
        if other := {tuple(each.shape) for each in side} - {tuple(side[0].shape)}:
            raise ValueError(
                f"{name}: images must have one shape, got {tuple(side[0].shape)} and {min(other)}; resize and crop them"
            )
    x, y = (torch.stack(side) for side in zip(*items))
    return x, y


def _two(item: Any, where: str) -> tuple[Any, Any]:
    if isinstance(item, Tensor | np.ndarray | Image.Image):
        return item, 0
    if isinstance(item, list | tuple) and len(item) == 1:
        return item[0], 0
    if isinstance(item, list | tuple) and len(item) == 2:
        return item[0], item[1]
    got = f"{len(item)} values" if isinstance(item, list | tuple) else f"a {type(item).__name__}"
    raise ValueError(f"{where} must be (x, y), images and labels, got {got}")


def _image(x: Any, where: str, ndim: int) -> Tensor:
    if isinstance(x, Image.Image):
        pixels = np.asarray(x if x.mode in ("L", "RGB") else x.convert("RGB"))
        x = torch.from_numpy(pixels.copy().reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)
    if not isinstance(x, Tensor | np.ndarray):
        raise ValueError(f"{where}: x must be a tensor, an array or a PIL image, got {type(x).__name__}")
    x = torch.as_tensor(x)
    if x.ndim != ndim or x.shape[-3] not in (1, 2, 3, 4) or 0 in x.shape:
        form = "(N, C, H, W)" if ndim == 4 else "(C, H, W)"
        hint = "; move the channels before height and width" if x.ndim == ndim and x.shape[-1] in (1, 3) else ""
        raise ValueError(f"{where}: images must be {form} of 1 to 4 channels, got {tuple(x.shape)}{hint}")
    return _unit(x.detach(), where)


def _unit(x: Tensor, where: str) -> Tensor:
    """Pixels as uint8, or as float32 in [0, 1]."""
    if x.dtype == torch.uint8:
        return x
    if x.dtype == torch.bool:
        return x.to(torch.uint8) * 255
    if not x.is_floating_point():
        raise ValueError(f"{where}: pixels must be uint8 or float in [0, 1], got {x.dtype}")
    low, high = (float(value) for value in x.aminmax())
    if not (-OVERSHOOT <= low and high <= 1 + OVERSHOOT):  # also for NaN
        if not (isfinite(low) and isfinite(high)):
            raise ValueError(f"{where}: pixels must be finite, got NaN or infinity")
        hint = "divide them by 255" if 0 <= low and 1 < high <= 255 else "leave out Normalize"
        raise ValueError(
            f"{where}: pixels go from {low:.3g} to {high:.3g}, but must be in [0, 1]: {hint} (a network that needs "
            "another range rescales in its first layer)"
        )
    return x.to(torch.float32).clamp(0, 1)


def _target(y: Any, where: str, ndim: int) -> Tensor:
    """Labels as int64 of `ndim` dimensions; targets that are images as such."""
    if isinstance(y, Image.Image) or (isinstance(y, Tensor | np.ndarray) and y.ndim == ndim + 3):
        return _image(y, where, ndim + 3)
    try:
        y = torch.as_tensor(y)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{where}: labels must be integers, got {type(y).__name__}") from None
    if y.is_floating_point() or y.is_complex():
        raise ValueError(f"{where}: labels must be integers, got {y.dtype}")
    if y.ndim != ndim:
        form = "(N,)" if ndim else "single integers"
        raise ValueError(f"{where}: labels must be {form}, got the shape {tuple(y.shape)}; one-hot labels: use argmax")
    y = y.to(torch.int64)
    low, high = (int(value) for value in y.aminmax()) if y.numel() else (0, 0)
    if low < 0 or high >= CLASSES:
        raise ValueError(f"{where}: labels must be from 0 to {CLASSES - 1:,}, got {low if low < 0 else high:,}")
    return y
