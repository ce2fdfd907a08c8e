"""Measures the run time of several functions, interleaved."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from timeit import timeit

import torch


def seconds(works: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """`repeats` rounds, each with the seconds of every function, after one warm-up round.

    Without a GPU, processor time (not affected by other processes); with one, synchronised wall time.

    Raises:
        ValueError: fewer than one repeat.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    timer = synchronised_time if torch.cuda.is_available() else time.process_time
    return [[timeit(work, timer=timer, number=1) for work in works] for _ in range(repeats + 1)][1:]


def synchronised_time() -> float:
    """Wall time, after the GPU has finished its queued work."""
    torch.cuda.synchronize()
    return time.perf_counter()
