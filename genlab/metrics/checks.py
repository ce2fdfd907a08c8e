"""What every metric asks of its input, in one sentence each."""

from __future__ import annotations

from torch import Tensor


def points(x: Tensor, what: str = "features", least: int = 2) -> Tensor:
    """x (N, d) as float64.

    Raises:
        ValueError: it is not a table of at least `least` finite rows.
    """
    if x.ndim != 2:
        raise ValueError(f"{what} must have shape (N, d), got {tuple(x.shape)}")
    if len(x) < least:
        raise ValueError(f"{what} of at least {least} images are needed, got {len(x)}")
    if not x.isfinite().all():
        raise ValueError(f"{what} must be finite, got NaN or infinity")
    return x.detach().double()


def two(x: Tensor, y: Tensor, what: str = "features") -> tuple[Tensor, Tensor]:
    """Two such tables, both of at least two rows, with the same number of columns."""
    x, y = points(x, what), points(y, what)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{what} must have the same number of columns, got {x.shape[1]} and {y.shape[1]}")
    return x, y


def pixels(x: Tensor) -> Tensor:
    """x itself, if it is a batch of images: float (N, C, H, W) in [0, 1].

    Raises:
        ValueError: it is not; the sentence says what it is.
    """
    if x.ndim != 4 or not x.is_floating_point():
        raise ValueError(f"images must be float (N, C, H, W), got {x.dtype} {tuple(x.shape)}")
    if len(x) and not (x.min() >= -1e-6 and x.max() <= 1 + 1e-6):
        raise ValueError(f"images must lie in [0, 1], got values from {x.min():.3g} to {x.max():.3g}")
    return x
