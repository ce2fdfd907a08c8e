"""CMMD: maximum mean discrepancy with a Gaussian kernel; Jayasumana et al. 2024, arXiv:2401.09603, section 4.

The paper uses CLIP embeddings; here it is applied to any features. As in its code, features have unit length, the
kernel's width is 10, all pairs are counted (a biased estimate), and the result is multiplied by 1000.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from genlab.metrics import checks

WIDTH, SCALE, CHUNK = 10.0, 1000.0, 2048


@torch.no_grad()
def cmmd(x: Tensor, y: Tensor) -> float:
    """1000 times the squared MMD of features x (N, d) and y (M, d); 0 for equal sets.

    Raises:
        ValueError: different d, or numbers that are not finite.
    """
    x, y = (normalize(z.double(), dim=1) for z in checks.two(x, y))
    # 1 - k instead of k, which is close to 1: it cancels in the sum
    return SCALE * (2 * _mean(x, y) - _mean(x, x) - _mean(y, y))


def _mean(x: Tensor, y: Tensor) -> float:
    """The mean of 1 - k(x_i, y_j) over all pairs."""
    total = 0.0
    for part in x.split(CHUNK):
        squared = (part.square().sum(1)[:, None] + y.square().sum(1) - 2 * part @ y.T).clamp_min(0)
        total -= float(torch.expm1(-squared / (2 * WIDTH**2)).sum())
    return total / (len(x) * len(y))
