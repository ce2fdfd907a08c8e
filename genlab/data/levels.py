"""Which values of a set of pixels are black and white: taken from their type and their content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WHITES = (1.0, 255.0, 4095.0, 65535.0)  # a share; 8, 12 and 16 bits
SLACK = 0.05  # by which floats may leave their range, as resizing and noise make them; the rest is clipped
FEW = 0.01  # share of floats above 1 that are outliers of [0, 1], and no sign of another range


@dataclass(frozen=True)
class Spread:
    """The values of some pixels: their least and greatest, and the share of them above 1."""

    low: float
    high: float
    above: float
    floating: bool

    @classmethod
    def of(cls, values: NDArray[Any]) -> Spread:
        """
        Raises:
            ValueError: there are none, or one is NaN or infinite.
        """
        if not values.size:
            raise ValueError("there are no pixels")
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(high - low):
            raise ValueError("pixels are NaN or infinite")
        return cls(low, high, float((values > 1).mean()), values.dtype.kind == "f")

    def __str__(self) -> str:
        return f"from {self.low:g} to {self.high:g}"

    @classmethod
    def joined(cls, parts: Sequence[Spread]) -> Spread:
        """The spread of images together, each of the same weight."""
        above = sum(part.above for part in parts) / len(parts)
        return cls(min(p.low for p in parts), max(p.high for p in parts), above, parts[0].floating)


@dataclass(frozen=True)
class Levels:
    """The values of black and white."""

    black: float
    white: float

    @classmethod
    def known(cls, spread: Spread) -> Levels | None:
        """The usual range that `spread` fits: 0 to the least of WHITES that holds it, or -1 to 1; None if none does.

        Floats may leave a range a little, and [0, 1] by outliers.
        """
        slack = SLACK if spread.floating else 0.0
        if spread.floating and spread.low >= -slack and (spread.high <= 2 or spread.above <= FEW):
            return cls(0.0, 1.0)
        for white in WHITES:
            if -slack * spread.high <= spread.low and spread.high <= (1 + slack) * white:
                return cls(0.0, white)
        if spread.floating and -1 - slack <= spread.low and spread.high <= 1 + slack:
            return cls(-1.0, 1.0)
        return None

    def hold(self, spread: Spread) -> bool:
        return self.black <= spread.low and spread.high <= self.white

    def bytes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """`values` with black as 0 and white as 255, rounded and clipped."""
        scale = 255 / max(self.white - self.black, 1e-30)
        scaled = np.clip((values.astype(np.float64) - self.black) * scale, 0, 255)
        return np.rint(scaled).astype(np.uint8)

    def __str__(self) -> str:
        return f"{self.black:g} as black and {self.white:g} as white"
