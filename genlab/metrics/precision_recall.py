"""Precision and recall, density and coverage: separate measures of fidelity and diversity.

Kynkäänniemi et al. 2019, arXiv:1904.06991, eq. 1 and 2; Naeem et al. 2020, arXiv:2002.09797, eq. 5 and 6. The manifold
of a set is the union of closed balls around its points, whose radius is the distance to the k-th nearest neighbour.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.metrics import checks
from genlab.metrics.distances import SLACK, radii, squared


@torch.no_grad()
def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Features (N, d) and (M, d) -> precision, the share of fakes in the real manifold, and recall, the share of real
    images in the fake manifold.

    Raises:
        ValueError: at most k rows, different d, or numbers that are not finite.
    """
    real, fake = checks.two(real, fake)
    return _inside(fake, real, k), _inside(real, fake, k)


@torch.no_grad()
def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> tuple[float, float]:
    """Features (N, d) and (M, d) -> density, the mean number of real balls that contain a fake, divided by k (>= 0;
    about 1 for equal distributions); and coverage, the share of real balls that contain a fake.

    Raises:
        ValueError: at most k rows, different d, or numbers that are not finite.
    """
    real, fake = checks.two(real, fake)
    reach = radii(real, k) * SLACK
    held = torch.cat(
        [(block <= reach[start : start + len(block), None]).sum(1) for start, block in squared(real, fake)]
    )
    return float(held.sum()) / (k * len(fake)), float((held > 0).double().mean())


def _inside(points: Tensor, balls: Tensor, k: int) -> float:
    """The share of `points` inside at least one ball."""
    reach = radii(balls, k) * SLACK
    return float(torch.cat([(block <= reach).any(1) for _, block in squared(points, balls)]).double().mean())
