"""What points and partly known labels have to be, at the border of every method."""

from __future__ import annotations

from torch import Tensor


def check_points(x: Tensor) -> None:
    """Checks points x (N, D).

    Raises:
        ValueError: they are no matrix, or not finite.
    """
    if x.ndim != 2:
        raise ValueError(f"points must be (N, D), got {tuple(x.shape)}")
    if not x.isfinite().all():
        raise ValueError(f"points must be finite, got {int((~x.isfinite()).any(1).sum())} that are not")


def check_known(labels: Tensor, points: int, classes: int, every_class: bool = False) -> None:
    """Checks labels (N,) of N = `points` points, from 0 to classes - 1, or -1 where unknown.

    Raises:
        ValueError: another number or range, no label is known, or a class has none, if it needs one (`every_class`).
    """
    if labels.shape != (points,):
        raise ValueError(f"{points:,} points need as many labels, got {tuple(labels.shape)}")
    if points and (int(labels.min()) < -1 or int(labels.max()) >= classes):
        raise ValueError(
            f"labels must be from 0 to {classes - 1}, or -1 if unknown, got {int(labels.min())} to {int(labels.max())}"
        )
    counts = labels[labels >= 0].bincount(minlength=classes)
    if not counts.any():
        raise ValueError("at least one label must be known, got none")
    if every_class and counts.min() < 1:
        raise ValueError(f"every class needs a labelled point, class {int(counts.argmin())} has none")
