"""How long several ways to do the same work take, measured in turn in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from timeit import timeit

import torch


def seconds(works: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """`repeats` rounds, each with the seconds of every work, after one round that warms up.

    Processor time, which other processes on the machine do not change; wall time where there is a GPU, and then the
    work must wait for the GPU itself.

    Raises:
        ValueError: fewer than one repeat.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    timer = time.perf_counter if torch.cuda.is_available() else time.process_time
    return [[timeit(work, timer=timer, number=1) for work in works] for _ in range(repeats + 1)][1:]
