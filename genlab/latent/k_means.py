"""k-means by Lloyd's iterations (Lloyd 1982, IEEE Trans. Inf. Theory 28:129), as plainly as the textbooks have it.

An empty cluster keeps its centre. (The lab's palettes and shared weights use scikit-learn's, which moves it.)
"""

from __future__ import annotations

import torch
from torch import Tensor


def k_means(points: Tensor, centres: Tensor, steps: int = 100) -> tuple[Tensor, Tensor, Tensor]:
    """Moves the centres (K, D) to the mean of the points (N, D) nearest to each, until they rest.

    Returns the centres (K, D), the number of points of each (K,), and their mean squared distance.

    Raises:
        ValueError: no points, no centres, or not of one space.
    """
    if points.ndim != 2 or centres.ndim != 2 or points.shape[1:] != centres.shape[1:] or not len(points) * len(centres):
        raise ValueError(f"k-means takes (N, D) and (K, D), got {tuple(points.shape)} and {tuple(centres.shape)}")
    for _ in range(steps):
        nearest = torch.cdist(points, centres).argmin(1)
        counts = nearest.bincount(minlength=len(centres))
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        moved = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    nearest = torch.cdist(points, centres).argmin(1)
    error = (points - centres[nearest]).square().sum(1).mean()
    return centres, nearest.bincount(minlength=len(centres)), error
