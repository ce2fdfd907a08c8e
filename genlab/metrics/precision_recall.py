"""Precision and recall, density and coverage: fidelity and variety told apart.

Kynkäänniemi et al. 2019, arXiv:1904.06991, eq. 1 and 2; Naeem et al. 2020, arXiv:2002.09797, eq. 5 and 6. A set is
taken for the union of balls around its points, each reaching to the k-th nearest other point; rims are included.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.metrics import checks
from genlab.metrics.distances import SLACK, radii, squared


@torch.no_grad()
def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Features (N, d) and (M, d) -> the share of fakes within the real set, and of real images within the fake set.

    Raises:
        ValueError: no more than k rows, different d, or numbers that are not finite.
    """
    real, fake = checks.two(real, fake)
    return _inside(fake, real, k), _inside(real, fake, k)


@torch.no_grad()
def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> tuple[float, float]:
    """Features (N, d) and (M, d) -> in how many real balls a fake lies, over k, on average (>= 0; 1 if the two are
    alike); and the share of real balls that hold a fake.

    Raises:
        ValueError: no more than k rows, different d, or numbers that are not finite.
    """
    real, fake = checks.two(real, fake)
    reach = radii(real, k) * SLACK
    held = torch.cat(
        [(block <= reach[start : start + len(block), None]).sum(1) for start, block in squared(real, fake)]
    )
    return float(held.sum()) / (k * len(fake)), float((held > 0).double().mean())


def _inside(points: Tensor, balls: Tensor, k: int) -> float:
    """The share of `points` within any ball."""
    reach = radii(balls, k) * SLACK
    return float(torch.cat([(block <= reach).any(1) for _, block in squared(points, balls)]).double().mean())
