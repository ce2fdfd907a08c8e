"""Refusals of meaningless options: one sentence that names the value and what is allowed."""

from __future__ import annotations

import math


def one_of(allowed: tuple[str, ...], **names: str) -> None:
    """Refuse an unknown name."""
    for option, name in names.items():
        if name not in allowed:
            raise ValueError(f"{option} must be one of {', '.join(allowed)}, got {name!r}.")


def at_least(least: int, **counts: int) -> None:
    """Refuse whole numbers that are too small."""
    for name, value in counts.items():
        if value < least:
            raise ValueError(f"{name} must be >= {least}, got {value}.")


def positive(**values: float | None) -> None:
    """Refuse what is not a finite number above zero; None is no value."""
    for name, value in values.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a finite number > 0, got {value!r}.")


def not_negative(**values: float) -> None:
    """Refuse what is not a finite number from zero on."""
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number >= 0, got {value!r}.")


def within(low: float, high: float, **values: float) -> None:
    """Refuse numbers outside [low, high]."""
    for name, value in values.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must be in [{low:g}, {high:g}], got {value!r}.")


def above(low: float, high: float, **values: float | None) -> None:
    """Refuse numbers outside (low, high]; None is no value."""
    for name, value in values.items():
        if value is not None and not low < value <= high:
            raise ValueError(f"{name} must be in ({low:g}, {high:g}], got {value!r}.")
