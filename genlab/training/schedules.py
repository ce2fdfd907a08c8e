"""Learning-rate schedules: functions of the progress in [0, 1] that return a factor of all learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Schedule = Callable[[float], float]
ScheduleName = Literal["constant", "cosine", "linear", "step", "exponential", "plateau"]
DROPS = (0.5, 0.75)  # of `step`: progress after which the factor falls


def constant(progress: float) -> float:
    """progress: the share of the training that is done, in [0, 1]. Returns a factor of the learning rate."""
    return 1.0


def cosine(progress: float) -> float:
    """Cosine annealing from 1 to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983, one cycle)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def linear(progress: float) -> float:
    """From 1 to 0."""
    return 1.0 - progress


def step(decay: float) -> Schedule:
    """From 1 to `decay` after half of the training and to its square after three quarters (He et al. 2015,
    arXiv:1512.03385, section 4.2)."""
    return lambda progress: decay ** sum(progress >= drop for drop in DROPS)


def exponential(decay: float) -> Schedule:
    """From 1 to `decay`, by the same factor at every step."""
    return lambda progress: decay**progress


def schedule(name: ScheduleName, decay: float) -> Schedule:
    """The schedule `name`; that of `plateau` is constant here, since its factor follows from measurements
    (genlab.training.hooks.EarlyStopping).

    decay: the factor of each drop, or of the whole training if it is exponential, in (0, 1).
    """
    falling = {"step": step, "exponential": exponential}
    if name in falling:
        return falling[name](decay)
    return {"constant": constant, "plateau": constant, "cosine": cosine, "linear": linear}[name]


def warm_up(schedule: Schedule, fraction: float) -> Schedule:
    """Linear warm-up over the first `fraction` of training, then `schedule` over the rest."""
    if not 0 <= fraction < 1:
        raise ValueError(f"warm-up takes a fraction of training in [0, 1), got {fraction}")

    def warmed(progress: float) -> float:
        if progress < fraction:
            return progress / fraction
        return schedule((progress - fraction) / (1 - fraction))

    return warmed
