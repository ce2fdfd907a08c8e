"""Success rates with confidence intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass


def wilson(k: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a proportion k / n (Wilson 1927); (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    p, w = k / n, z * z / n
    centre, half = (p + w / 2) / (1 + w), z * math.sqrt(p * (1 - p) / n + w / (4 * n)) / (1 + w)
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Rate:
    """fooled / correct, with its 95 % interval (Wilson); `value` is None if no input is classified correctly."""

    fooled: int
    correct: int

    @property
    def value(self) -> float | None:
        return self.fooled / self.correct if self.correct else None

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.fooled, self.correct)

    def exceeds(self, other: Rate) -> bool:
        """Whether it is significantly higher: the 95 % intervals do not overlap."""
        return self.interval[0] > other.interval[1]

    @property
    def percent(self) -> str:
        """In percent, ± half the width of the interval."""
        low, high = self.interval
        return "–" if self.value is None else f"{100 * self.value:.0f} ±{50 * (high - low):.0f}"

    def __str__(self) -> str:
        low, high = self.interval
        return "–" if self.value is None else f"{self.value:.3f} ({low:.3f}–{high:.3f})"
