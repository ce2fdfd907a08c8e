"""Kernel Inception Distance; Bińkowski, Sutherland, Arbel & Gretton 2018, arXiv:1801.01401, section 4.

The unbiased estimator of the squared maximum mean discrepancy (Gretton et al. 2012, lemma 6) with the cubic kernel
k(x, y) = (x·y / d + 1)³. Unbiased at any sample size, hence possibly negative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.data.seeds import generator
from genlab.metrics import checks

CHUNK = 2048  # rows of a kernel matrix held at once


@torch.no_grad()
def mmd2(x: Tensor, y: Tensor) -> float:
    """Unbiased squared MMD of features x (N, d) and y (M, d).

    Raises:
        ValueError: fewer than two rows, different d, or numbers that are not finite.
    """
    x, y = checks.two(x, y)
    n, m = len(x), len(y)
    within = sum(
        (_total(z, z) - float(_cubic((z * z).sum(1), z.shape[1]).sum())) / (len(z) * (len(z) - 1)) for z in (x, y)
    )
    return within - 2 * _total(x, y) / (n * m)


@torch.no_grad()
def kid(x: Tensor, y: Tensor, subsets: int = 50, size: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The mean and standard deviation of mmd2 over random subsets of `size` of features x (N, d) and y (M, d).

    `size` is reduced to min(N, M); if it equals both, there is a single subset, and the standard deviation is NaN.

    Raises:
        ValueError: as for mmd2, or fewer than one subset of two.
    """
    x, y = checks.two(x, y)
    if subsets < 1 or size < 2:
        raise ValueError(f"at least 1 subset of 2 images is needed, got {subsets} of {size}")
    size = min(size, len(x), len(y))
    if size == len(x) == len(y):
        subsets = 1
    g = generator("kid", seed)
    values = torch.tensor(
        [mmd2(*(z[torch.randperm(len(z), generator=g)[:size]] for z in (x, y))) for _ in range(subsets)]
    )
    return float(values.mean()), float(values.std(correction=0)) if subsets > 1 else float("nan")


def _cubic(products: Tensor, d: int) -> Tensor:
    return (products / d + 1) ** 3


def _total(x: Tensor, y: Tensor) -> float:
    """The sum of all k(x_i, y_j)."""
    return sum(float(_cubic(part @ y.T, x.shape[1]).sum()) for part in x.split(CHUNK))
