"""Streaming mean and covariance of vectors, with constant memory.

The pairwise update of Chan, Golub & LeVeque 1979 (Stanford STAN-CS-79-773): exact for any split of the stream; separate
statistics can be merged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.metrics import checks


class Statistics:
    """Statistics of n vectors (d,): mean (d,), and scatter (d, d), the sum of outer products of deviations; float64."""

    def __init__(self, d: int, device: torch.device | str = "cpu"):
        self.n = 0
        self.mean = torch.zeros(d, dtype=torch.float64, device=device)
        self.scatter = torch.zeros(d, d, dtype=torch.float64, device=device)

    @classmethod
    def of(cls, x: Tensor, chunk: int = 4096) -> Statistics:
        """The statistics of x (N, d)."""
        whole = cls(x.shape[1], x.device)
        for part in x.split(chunk):
            whole.add(part)
        return whole

    def add(self, x: Tensor) -> Statistics:
        """Adds the rows of x (N, d); returns self."""
        x = checks.points(x, least=0)
        if not len(x):
            return self
        mean = x.mean(0)
        centred = x - mean
        return self._absorb(len(x), mean, centred.T @ centred)

    def merge(self, other: Statistics) -> Statistics:
        """Adds the vectors of `other`; returns self."""
        return self._absorb(other.n, other.mean, other.scatter) if other.n else self

    def _absorb(self, n: int, mean: Tensor, scatter: Tensor) -> Statistics:
        total, gap = self.n + n, mean - self.mean
        self.scatter += scatter + torch.outer(gap, gap) * (self.n * n / total)
        self.mean = self.mean + gap * (n / total)
        self.n = total
        return self

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance (d, d).

        Raises:
            ValueError: fewer than two vectors were seen.
        """
        if self.n < 2:
            raise ValueError(f"a covariance needs at least two images, got {self.n}")
        return self.scatter / (self.n - 1)
