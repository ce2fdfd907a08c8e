"""Learning-rate schedules: functions of the progress in [0, 1] that return a factor of all learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Schedule = Callable[[float], float]
ScheduleName = Literal["constant", "cosine", "linear"]


def constant(progress: float) -> float:
    """progress: the share of the training that is done, in [0, 1]. Returns a factor of the learning rate."""
    return 1.0


def cosine(progress: float) -> float:
    """Cosine annealing from 1 to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983, one cycle)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def linear(progress: float) -> float:
    """From 1 to 0."""
    return 1.0 - progress


def warm_up(schedule: Schedule, fraction: float) -> Schedule:
    """Linear warm-up over the first `fraction` of training, then `schedule` over the rest."""
    if not 0 <= fraction < 1:
        raise ValueError(f"warm-up takes a fraction of training in [0, 1), got {fraction}")

    def warmed(progress: float) -> float:
        if progress < fraction:
            return progress / fraction
        return schedule((progress - fraction) / (1 - fraction))

    return warmed


SCHEDULES: dict[ScheduleName, Schedule] = {"constant": constant, "cosine": cosine, "linear": linear}
