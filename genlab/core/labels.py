"""The labels that a caller asks for, checked where they enter; what a training step draws itself needs no check."""

from __future__ import annotations

import torch
from torch import Tensor


def check_classes(classes: int, who: str) -> None:
    """Refuses data of fewer than two classes for `who`.

    Raises:
        ValueError: there are fewer; it names --data.
    """
    if classes < 2:
        raise ValueError(f"{who} needs at least 2 classes, as in --data digits or a folder of folders, got {classes}")


def asked(labels: Tensor, n: int, classes: int, what: str = "labels") -> Tensor:
    """`labels` as int64 (n,), if they are whole numbers (n,) that index so many classes.

    Raises:
        ValueError: they are not; the sentence calls them `what`.
    """
    if labels.shape != (n,) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"{what} must be whole numbers ({n},), got {labels.dtype} {tuple(labels.shape)}")
    low, high = (int(labels.min()), int(labels.max())) if n else (0, 0)
    if low < 0 or high >= classes:
        raise ValueError(f"{what} must be from 0 to {classes - 1}, there are {classes} classes; got {low} to {high}")
    return labels.long()
