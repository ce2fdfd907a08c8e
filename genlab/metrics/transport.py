"""Optimal transport between finite sets: the exact Wasserstein-1 distance (earth mover's distance) by linear
programming, and entropic regularisation by Sinkhorn iterations.

W(p, q) = min over plans of sum_ij plan_ij cost_ij, with non-negative entries, row sums p and column sums q: Arjovsky et
al. 2017, arXiv:1701.07875, equation 1. For two sets of equal size and weights it is an assignment problem, whose
optimum is a permutation (Birkhoff and von Neumann) and is found much faster.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import eye_array, kron, vstack
from torch import Tensor

Weights = Tensor | np.ndarray | Sequence[float]


def plan(cost: np.ndarray, p: Weights | None = None, q: Weights | None = None) -> np.ndarray:
    """The optimal transport plan (n, m) between masses p (n,) and q (m,) at `cost` (n, m) per unit; sums to 1.

    Args:
        p, q: non-negative, normalised to sum 1; none: uniform.

    Raises:
        ValueError: masses that are negative, not finite, all 0 or of the wrong number.
    """
    n, m = cost.shape
    if p is None and q is None and n == m:
        rows, columns = linear_sum_assignment(cost)
        best = np.zeros((n, n))
        best[rows, columns] = 1 / n
        return best
    return linear_programme(cost, _masses(p, n), _masses(q, m))


def linear_programme(cost: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """`plan` for masses that sum to 1, by the linear programme (HiGHS)."""
    n, m = cost.shape
    marginals = vstack([kron(eye_array(n), np.ones((1, m))), kron(np.ones((1, n)), eye_array(m))], format="csr")
    # the last equation is redundant; without it rounding errors cannot make the programme infeasible
    found = linprog(cost.ravel(), A_eq=marginals[:-1], b_eq=np.concatenate([p, q])[:-1], method="highs")
    if not found.success:
        raise ArithmeticError(f"the linear programme was not solved: {found.message}")
    return found.x.reshape(n, m)


def wasserstein1(x: Tensor, y: Tensor, p: Weights | None = None, q: Weights | None = None) -> float:
    """The Wasserstein-1 distance between points x (n, ...) with masses p (n,) and y (m, ...) with q (m,); Euclidean."""
    if x.shape[1:] != y.shape[1:]:
        raise ValueError(f"points {tuple(x.shape)} and {tuple(y.shape)} do not lie in one space")
    flat = x.detach().double().flatten(1), y.detach().double().flatten(1)
    cost = (flat[0][:, None] - flat[1][None]).norm(dim=2).cpu().numpy()
    return float((cost * plan(cost, p, q)).sum())


def sinkhorn(cost: Tensor, blur: float, iterations: int) -> Tensor:
    """The entropically regularised plan (..., n, m) for uniform masses and `cost` (..., n, m); Cuturi 2013,
    arXiv:1306.0895.

    blur: weight of the entropy, above 0, in units of the cost. iterations: of scaling rows and columns; column sums are
    exactly 1 / m, row sums 1 / n in the limit.
    """
    n, m = cost.shape[-2:]
    kernel = ((cost.amin(-1, keepdim=True) - cost.double()) / blur).exp()
    columns = kernel.new_ones(*kernel.shape[:-2], m, 1)
    for _ in range(iterations):
        rows = 1 / (n * (kernel @ columns))
        columns = 1 / (m * (kernel.mT @ rows)).clamp_min(torch.finfo(kernel.dtype).tiny)
    return (rows * kernel * columns.mT).to(cost.dtype)


def _masses(weights: Weights | None, n: int) -> np.ndarray:
    if weights is None:
        return np.full(n, 1 / n)
    masses = np.asarray(weights.cpu() if isinstance(weights, Tensor) else weights, dtype=float)
    if masses.shape != (n,) or not np.isfinite(masses).all() or masses.min() < 0 or masses.sum() <= 0:
        raise ValueError(f"{n} points need as many masses that are not negative and not all 0, got {masses}")
    return masses / masses.sum()
