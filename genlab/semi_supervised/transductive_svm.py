"""Linear transductive SVM: Joachims 1999 (ICML), Algorithm 1, with the squared hinge loss and many switches at once of
Sindhwani & Keerthi 2006 (SIGIR); one class against the rest.

The labels of the unlabelled points are chosen together with the boundary, so that the margin is large and few points
lie within it. To try all labellings would cost 2^N; instead points get the labels of an SVM of the labelled points, so
many in each class as its share; then pairs of opposite labels are switched while that lowers the objective, and the
weight of the unlabelled points grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from genlab.core.ranges import Positive, Range, checked
from genlab.semi_supervised.checks import check_known, check_points

NEWTON = 20  # steps at most; they end at the optimum when no point enters or leaves the margin
SWITCHES = 50  # rounds at most


@dataclass(frozen=True, eq=False)
class LinearSVM:
    """x (N, D) -> scores (N, K) of the classes; w (K, D + 1), the last column is the bias. signs (K, N): the labels of
    the training points, 1 or -1."""

    w: Tensor
    signs: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return pad(x, (0, 1), value=1.0) @ self.w.T


@checked
def transductive_svm(
    x: Tensor,
    labels: Tensor,
    classes: int,
    cost: Positive = 1.0,
    cost_unlabelled: Annotated[float, Range(0, 1e9)] = 1.0,
    levels: Annotated[int, Range(1, 1000)] = 6,
) -> LinearSVM:
    """The SVM of one class against the rest, for every class, of labelled and unlabelled points.

    Args:
        x: points (N, D), about centred, since the bias is regularised, too.
        labels: (N,), from 0 to classes - 1, or -1 where it is unknown; every class has some.
        cost: weight of the labelled points' squared hinge losses, together, beside |w|² / 2.
        cost_unlabelled: that of the unlabelled ones in the end; 0: an SVM of the labelled points.
        levels: values of the unlabelled points' weight, each three times the last.
    """
    check_points(x)
    check_known(labels, len(x), classes, every_class=True)
    known = labels >= 0
    rows = pad(x, (0, 1), value=1.0)
    signs = 2 * one_hot(labels.clamp(min=0), classes).T.to(x) - 1
    costs = torch.where(known, cost / known.sum(), 0.0).to(x)
    w = newton(rows, signs, costs)
    if not cost_unlabelled or known.all():
        return LinearSVM(w, signs)

    free = (~known).nonzero().flatten()
    share = one_hot(labels[known], classes).to(x).mean(0)
    scores = w @ rows[free].T
    best = scores.argsort(1, descending=True).argsort(1)  # the rank of a point among those of the class
    signs[:, free] = torch.where(best < (share * len(free)).round()[:, None], 1.0, -1.0).to(x)
    for level in reversed(range(levels)):
        costs[free] = cost_unlabelled / len(free) / 3**level
        w = newton(rows, signs, costs, w)
        for _ in range(SWITCHES):
            if not switch(signs, free, w @ rows.T):
                break
            w = newton(rows, signs, costs, w)
    return LinearSVM(w, signs)


def objective(rows: Tensor, signs: Tensor, costs: Tensor, w: Tensor) -> Tensor:
    """|w|² / 2 + sum of costs (N,) times squared hinge losses, for every class (K,)."""
    return w.square().sum(1) / 2 + ((1 - signs * (w @ rows.T)).clamp(min=0).square() * costs).sum(1)


def newton(rows: Tensor, signs: Tensor, costs: Tensor, w: Tensor | None = None) -> Tensor:
    """The minimiser w (K, D) of the objective, by Newton's method from w: each step solves a linear system of the
    points within the margin; none: all points are within it at first."""
    inside = torch.ones_like(signs, dtype=torch.bool) if w is None else signs * (w @ rows.T) < 1
    for _ in range(NEWTON):
        weighted = (2 * costs * inside)[:, :, None] * rows
        system = weighted.mT @ rows + torch.eye(rows.shape[1]).to(rows)
        w = torch.linalg.solve(system, (signs[:, None] @ weighted)[:, 0])
        now = signs * (w @ rows.T) < 1
        if torch.equal(now, inside):
            break
        inside = now
    assert w is not None
    return w


def switch(signs: Tensor, free: Tensor, scores: Tensor) -> bool:
    """Exchanges, in every row of `signs`, the labels of pairs of free points, one of each label, whose slacks are
    positive and have a sum above 2, which lowers the objective; in place. Returns whether there were any."""
    slack = (1 - signs[:, free] * scores[:, free]).clamp(min=0)
    positive = torch.where(signs[:, free] > 0, slack, -torch.inf).sort(1, descending=True)
    negative = torch.where(signs[:, free] < 0, slack, -torch.inf).sort(1, descending=True)
    pairs = (positive.values > 0) & (negative.values > 0) & (positive.values + negative.values > 2)
    which, place = pairs.nonzero(as_tuple=True)
    signs[which, free[positive.indices[which, place]]] = -1
    signs[which, free[negative.indices[which, place]]] = 1
    return len(which) > 0
