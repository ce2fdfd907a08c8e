"""Figures over seeds: mean and standard deviation, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev


def spread(values: Iterable[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1) of at least one value, such as over seeds; 0 for a single value."""
    values = list(values)
    return mean(values), stdev(values) if len(values) > 1 else 0.0


def over_seeds(rows: Sequence[Mapping[str, float]], figures: Iterable[str] = ()) -> dict[str, float]:
    """The figures of every seed, {name: value}, as {name: mean, "name (sd)": standard deviation}, by `spread`.

    figures: which; none: those of the first row.
    """
    found = {}
    for name in list(figures) or rows[0]:
        found[name], found[f"{name} (sd)"] = spread(row[name] for row in rows)
    return found


def plus_minus(values: Iterable[float], form: str = ".1f") -> str:
    """Mean ± standard deviation as by `spread`, for a cell of a table; a single value alone. form: of the numbers."""
    values = list(values)
    return " ± ".join(format(value, form) for value in spread(values)[: len(values)])


def with_deviation(mean: float, deviation: float) -> str:
    """Mean ± standard deviation, with two digits of the deviation and the mean to the same one; the mean alone where
    there is no deviation, such as of one seed."""
    if not 0 < deviation < math.inf:
        return f"{mean:.0f}" if math.isfinite(mean) and mean == round(mean) else f"{mean:.4g}"
    places = 1 - math.floor(math.log10(deviation))
    return " ± ".join(f"{round(value, places):.{max(0, places)}f}" for value in (mean, deviation))
