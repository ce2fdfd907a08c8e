"""Fréchet distance between Gaussians fitted to two sets of features; Heusel et al. 2017, arXiv:1706.08500, eq. 6.

|m1 - m2|² + tr S1 + tr S2 - 2 tr (S1 S2)^½. The last trace is the sum of the square roots of the eigenvalues of S1 S2,
which are those of the symmetric matrix Lᵀ S2 L with the Cholesky factor S1 = L Lᵀ; no square root of a non-symmetric
matrix is needed. With fewer images than features the covariances are low-rank products of the centred features A and
B, and the trace is the nuclear norm of the small matrix A Bᵀ (of A L, if only A has few rows).

The estimate is biased upwards for small samples (Bińkowski et al. 2018, arXiv:1801.01401): compare equal sample sizes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.metrics import checks
from genlab.metrics.statistics import Statistics


@torch.no_grad()
def frechet_distance(x: Tensor, y: Tensor) -> float:
    """The Fréchet distance of features x (N, d) and y (M, d); >= 0, in squared units of the features.

    Raises:
        ValueError: fewer than two rows, different d, or numbers that are not finite.
    """
    x, y = checks.two(x, y)
    if min(len(x), len(y)) > x.shape[1]:
        return frechet_gaussians(Statistics.of(x), Statistics.of(y))
    a, b = _root(x), _root(y)
    overlap = torch.linalg.svdvals(a.T @ b).sum()
    return _distance(x.mean(0) - y.mean(0), a.square().sum() + b.square().sum(), overlap)


@torch.no_grad()
def frechet_gaussians(a: Statistics, b: Statistics) -> float:
    """The Fréchet distance of two Gaussians given by mean and covariance; >= 0."""
    s, t = a.covariance, b.covariance
    overlap = torch.linalg.eigvalsh(_congruent(_factor(s), t)).clamp(min=0).sqrt().sum()
    return _distance(a.mean - b.mean, s.trace() + t.trace(), overlap)


def _distance(gap: Tensor, traces: Tensor, overlap: Tensor) -> float:
    return max(0.0, float(gap.square().sum() + traces - 2 * overlap))


def _root(x: Tensor) -> Tensor:
    """R (d, min(N, d)) with R Rᵀ = covariance of x (N, d)."""
    return (x - x.mean(0)).T / (len(x) - 1) ** 0.5 if len(x) <= x.shape[1] else _factor(Statistics.of(x).covariance)


def _factor(s: Tensor) -> Tensor:
    """A lower-triangular L with s = L Lᵀ, also for a singular s (constant or duplicate features)."""
    lower, failed = torch.linalg.cholesky_ex(s)
    if not failed:
        return lower
    values, vectors = torch.linalg.eigh(s)
    return torch.linalg.qr((vectors * values.clamp(min=0).sqrt()).T, mode="r")[1].T


def _congruent(lower: Tensor, s: Tensor, block: int = 256) -> Tensor:
    """The lower triangle of Lᵀ s L; blockwise, skipping the zeros of L: a third of the work of two products."""
    product = torch.zeros_like(s)
    for j in range(0, len(s), block):
        columns = slice(j, j + block)
        product[j:, columns] = lower[j:, j:].T @ (s[j:, j:] @ lower[j:, columns])
    return product
