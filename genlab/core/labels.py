"""Validates labels passed by a caller; labels that a training step draws itself need no check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genlab.core.ranges import short

Labels = Tensor | Sequence[int]  # (n,) whole numbers


def check_classes(classes: int, who: str) -> None:
    """Checks that the data have at least two classes, which `who` needs.

    Raises:
        ValueError: there are fewer; names --data.
    """
    if classes < 2:
        raise ValueError(f"{who} needs at least 2 classes, as in --data digits or a folder of folders, got {classes}")


def check_labels(labels: Labels, n: int, classes: int, device: torch.device, what: str = "labels") -> Tensor:
    """`labels` as int64 (n,) on `device`.

    Raises:
        ValueError: they are not integers (n,) from 0 to classes - 1; the message calls them `what`.
    """
    found = _tensor(labels)
    if found is None or found.shape != (n,) or found.is_floating_point() or found.dtype == torch.bool:
        got = short(labels) if found is None else f"{found.dtype} {tuple(found.shape)}"
        raise ValueError(f"{what} must be whole numbers ({n},), got {got}")
    low, high = (int(found.min()), int(found.max())) if n else (0, 0)
    if low < 0 or high >= classes:
        raise ValueError(f"{what} must be from 0 to {classes - 1}, there are {classes} classes; got {low} to {high}")
    return found.to(device, torch.int64)


def _tensor(values: Any) -> Tensor | None:
    """`values` as a tensor; None if impossible (strings, integers beyond 64 bits, rows of different lengths)."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        return None
