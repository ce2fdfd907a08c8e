"""Input validation of the metrics."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor

LARGEST = 1e15  # of a feature

log = logging.getLogger("genlab.metrics")


class Undefined(ValueError):
    """The metric is undefined for these images: there are too few, or too many identical ones."""


@contextmanager
def if_defined(*figures: str) -> Iterator[None]:
    """Catches Undefined in the block, and logs that `figures` are left out and why."""
    try:
        yield
    except Undefined as reason:
        left_out(figures, str(reason))


def left_out(figures: Iterable[str], reason: str) -> None:
    """Logs a warning that `figures` are left out."""
    log.warning("%s left out: %s", ", ".join(figures), reason)


def points(x: Tensor, what: str = "features", least: int = 2) -> Tensor:
    """x (N, d) as float64.

    Raises:
        Undefined: fewer than `least` rows.
        ValueError: not two-dimensional, without columns, not finite, or so large that distances overflow.
    """
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"{what} must have shape (N, d), got {tuple(x.shape)}")
    if len(x) < least:
        raise Undefined(f"{what} of at least {least} images are needed, got {len(x)}")
    if not x.isfinite().all():
        raise ValueError(f"{what} must be finite, got NaN or infinity")
    if len(x) and (largest := float(x.abs().max())) > LARGEST:
        raise ValueError(f"{what} must be at most {LARGEST:g} in size, got {largest:.3g}")
    return x.detach().double()


def two(x: Tensor, y: Tensor, what: str = "features") -> tuple[Tensor, Tensor]:
    """x (N, d) and y (M, d) as float64; Undefined and ValueError as `points`, ValueError if d differs."""
    x, y = points(x, what), points(y, what)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{what} must have the same number of columns, got {x.shape[1]} and {y.shape[1]}")
    return x, y


def pixels(x: Tensor) -> Tensor:
    """Returns x if it is a batch of images.

    Raises:
        ValueError: it is not float (N, C, H, W) in [0, 1].
    """
    if x.ndim != 4 or not x.is_floating_point():
        raise ValueError(f"images must be float (N, C, H, W), got {x.dtype} {tuple(x.shape)}")
    if len(x) and not (x.min() >= -1e-6 and x.max() <= 1 + 1e-6):
        raise ValueError(f"images must lie in [0, 1], got values from {x.min():.3g} to {x.max():.3g}")
    return x
