"""How long several ways to do the same work take, measured in turn in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from timeit import timeit

import torch


def seconds(works: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """`repeats` rounds, each with the seconds of every work, after one round that warms up.

    Processor time, which other processes do not change; where there is a GPU, wall time until it is done.

    Raises:
        ValueError: fewer than one repeat.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    timer = finished if torch.cuda.is_available() else time.process_time
    return [[timeit(work, timer=timer, number=1) for work in works] for _ in range(repeats + 1)][1:]


def finished() -> float:
    """The time by the clock, once the GPU has done all that it was asked."""
    torch.cuda.synchronize()
    return time.perf_counter()
