"""Prefetching: batches by position, the next ones loaded in the background."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from torch import Tensor

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """`prefetcher(p)` returns read(index(p)) and starts loading positions p + step, p + 2·step, ... in worker threads.

    The result does not depend on what was prefetched: after a jump, prefetched batches are dropped. `index` runs in the
    caller's thread, in order; `read` in a worker.
    """

    def __init__(self, index: Callable[[int], Tensor], read: Callable[[Tensor], T], step: int, depth: int = 4) -> None:
        self.index, self.read, self.step, self.depth = index, read, step, depth
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="prefetch")
        self.coming: dict[int, Future[T]] = {}

    def __call__(self, position: int) -> T:
        wanted = range(position, position + self.depth * self.step, self.step)
        for useless in [p for p in self.coming if p not in wanted]:
            self.coming.pop(useless).cancel()
        for p in wanted:
            if p not in self.coming:
                self.coming[p] = self.pool.submit(self.read, self.index(p))
        return self.coming.pop(position).result()
