"""Smoothness on a graph of neighbours: points that are connected through dense regions have the same label.

The smoothness of Zhu, Ghahramani & Lafferty 2003 (ICML), S(y) = 1/2 sum_ij w_ij |y_i - y_j|² = tr(y^T L y) with the
graph Laplacian L = D - W, and label propagation (Zhu & Ghahramani 2002, CMU-CALD-02-107), which minimises S with the
known labels held fixed. New points get the weighted mean of their neighbours (Delalleau et al. 2005, AISTATS, eq. 7).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genlab.core.ranges import Positive, Steps, checked
from genlab.semi_supervised.checks import check_known, check_points

LARGEST = 20_000  # points of a graph, whose weights are a dense matrix
PRIOR = 1e-6  # weight of a uniform label at every point, which decides where no known label reaches


@dataclass(frozen=True, eq=False)
class NeighbourGraph:
    """w (N, N): symmetric weights with a zero diagonal; w_ij = exp(-gamma |x_i - x_j|² / s) if one of the points is
    among the `neighbours` nearest of the other, else 0. s is the mean squared distance of nearest neighbours."""

    x: Tensor
    w: Tensor
    neighbours: int
    gamma: float
    scale: Tensor

    @classmethod
    @checked
    def of(cls, x: Tensor, neighbours: Steps = 10, gamma: Positive = 1.0) -> NeighbourGraph:
        """The graph of points x (N, D); `neighbours` beyond N - 1 are left out.

        Raises:
            ValueError: fewer than 2 points, or more than 20,000.
        """
        check_points(x)
        if not 2 <= len(x) <= LARGEST:
            raise ValueError(f"a graph of neighbours takes 2 to {LARGEST:,} points, got {len(x):,}")
        squared = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
        squared.fill_diagonal_(torch.inf)
        near, where = squared.topk(min(neighbours, len(x) - 1), largest=False)
        scale = near.mean().clamp(min=1e-12)
        w = torch.zeros_like(squared).scatter_(1, where, (-gamma * near / scale).exp())
        return cls(x, torch.maximum(w, w.T), neighbours, gamma, scale)

    def laplacian(self) -> Tensor:
        """L = D - W (N, N)."""
        return self.w.sum(1).diag() - self.w

    def smoothness(self, y: Tensor) -> Tensor:
        """S(y) / sum_ij w_ij for labels or outputs y (N, K), a scalar; 0 if neighbours agree. Differentiable in y."""
        return (self.w * (y[:, None] - y).square().sum(2)).sum() / 2 / self.w.sum()

    @checked
    def propagate(self, labels: Tensor, classes: int, iterations: Steps | None = None) -> Tensor:
        """Probabilities of the classes (N, classes): one-hot where the label is known, elsewhere the weighted mean of
        the neighbours, in closed form: y_u = (D_uu - W_uu)^-1 W_uk y_k. A point that no known label reaches gets the
        uniform distribution.

        Args:
            labels: (N,), from 0 to classes - 1, or -1 where it is unknown.
            iterations: repeat y <- D^-1 W y so often in place of the closed form.
        """
        check_known(labels, len(self.x), classes)
        known = labels >= 0
        fixed, weights = one_hot(labels[known], classes).double(), self.w[~known].double()
        degrees = weights.sum(1, keepdim=True) + PRIOR
        from_known, among = weights[:, known] @ fixed + PRIOR / classes, weights[:, ~known]
        if iterations is None:
            free = torch.linalg.solve(degrees.flatten().diag() - among, from_known)
        else:
            free = from_known.new_full(from_known.shape, 1 / classes)
            for _ in range(iterations):
                free = (from_known + among @ free) / degrees
        y = from_known.new_empty(len(labels), classes)
        y[known], y[~known] = fixed, free
        return y.to(self.w)

    def extend(self, y: Tensor, new: Tensor) -> Tensor:
        """The labels (M, K) of points new (M, D): the weighted means of y (N, K) at their nearest points of the
        graph."""
        near, where = torch.cdist(new, self.x).square().topk(min(self.neighbours, len(self.x)), largest=False)
        weights = (-self.gamma * near / self.scale).softmax(1)
        return (weights[:, :, None] * y[where]).sum(1)
