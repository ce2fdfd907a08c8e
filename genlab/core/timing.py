"""Measures the run time of several functions, interleaved."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from timeit import timeit

import torch


def seconds(works: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """`repeats` rounds, each with the seconds of every function, after one warm-up round.

    The times are those of `spent`.

    Raises:
        ValueError: fewer than one repeat.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    return [[timeit(work, timer=spent, number=1) for work in works] for _ in range(repeats + 1)][1:]


def spent() -> float:
    """Seconds so far: processor time of this process, without that of others; with a GPU, synchronised wall time."""
    return synchronised_time() if torch.cuda.is_available() else time.process_time()


def synchronised_time() -> float:
    """Wall time, after the GPU has finished its queued work."""
    torch.cuda.synchronize()
    return time.perf_counter()
