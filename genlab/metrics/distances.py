"""Blockwise Euclidean distances between many points, in float64."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from genlab.metrics import checks

CHUNK = 1000  # rows of a distance matrix held at once
SLACK = 1 + 1e-9  # factor of squared radii, against different rounding in different blocks


def squared(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """x (N, d), y (M, d) -> (first row, squared distances (n, M)) for consecutive blocks of rows of x."""
    x, y = x.double(), y.double()
    middle = y.mean(0)  # centring reduces cancellation
    x, y = x - middle, y - middle
    lengths = y.square().sum(1)
    for start in range(0, len(x), CHUNK):
        part = x[start : start + CHUNK]
        block = torch.addmm(lengths.expand(len(part), -1), part, y.T, alpha=-2)
        yield start, block.add_(part.square().sum(1, keepdim=True)).clamp_(min=0)


def radii(x: Tensor, k: int) -> Tensor:
    """(N,): squared distance of every x (N, d) to its k-th nearest neighbour among the others.

    Raises:
        Undefined: there are at most k points, or k < 1.
    """
    if not 1 <= k < len(x):
        needed = f"at least {max(k, 1) + 1} images and k >= 1"
        raise checks.Undefined(f"{k} nearest neighbours need {needed}, got {len(x)} images")
    found = []
    for start, block in squared(x, x):
        rows = torch.arange(len(block), device=x.device)
        block[rows, start + rows] = torch.inf  # not itself
        found.append(block.kthvalue(k, dim=1).values)
    return torch.cat(found)


def nearest(x: Tensor, reference: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Distance (N,) and index (N,) of the nearest neighbour of each x (N, d) in `reference`, batches of (n, d).

    Raises:
        ValueError: the reference is empty.
    """
    best = torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device)
    where = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    seen = 0
    for part in reference:
        for start, block in squared(x, part):
            value, index = block.min(1)
            rows = slice(start, start + len(block))
            closer = value < best[rows]
            best[rows] = torch.where(closer, value, best[rows])
            where[rows] = torch.where(closer, index + seen, where[rows])
        seen += len(part)
    if not seen:
        raise ValueError("nearest neighbours need reference images, got none")
    return best.sqrt(), where
