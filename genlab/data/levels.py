"""Infers the black and white levels of pixel data from dtype and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WHITES = (1.0, 255.0, 4095.0, 65535.0)  # unit range; 8, 12 and 16 bits
SLACK = 0.05  # relative overshoot allowed for floats (from resizing or noise); it is clipped
FEW = 0.01  # a smaller share of floats above 1 counts as outliers of [0, 1]


@dataclass(frozen=True)
class ValueRange:
    """The minimum and maximum of some pixels, and the share of values above 1."""

    low: float
    high: float
    above: float
    floating: bool

    @classmethod
    def of(cls, values: NDArray[Any]) -> ValueRange:
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
    def joined(cls, parts: Sequence[ValueRange]) -> ValueRange:
        """The range of several images together, each with the same weight."""
        above = sum(part.above for part in parts) / len(parts)
        return cls(min(p.low for p in parts), max(p.high for p in parts), above, parts[0].floating)


@dataclass(frozen=True)
class Levels:
    """The pixel values of black and white."""

    black: float
    white: float

    @classmethod
    def known(cls, spread: ValueRange) -> Levels | None:
        """The standard range that contains `spread`: 0 to the smallest fitting value of WHITES, or -1 to 1; else None.

        Floats may exceed a range by SLACK, and [0, 1] by outliers.
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

    def hold(self, spread: ValueRange) -> bool:
        return self.black <= spread.low and spread.high <= self.white

    def bytes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """`values` scaled so that black is 0 and white 255, rounded and clipped."""
        scale = 255 / max(self.white - self.black, 1e-30)
        scaled = np.clip((values.astype(np.float64) - self.black) * scale, 0, 255)
        return np.rint(scaled).astype(np.uint8)

    def __str__(self) -> str:
        return f"{self.black:g} as black and {self.white:g} as white"
