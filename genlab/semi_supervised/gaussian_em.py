"""Semi-supervised EM with Gaussian class densities: Dempster, Laird & Rubin 1977; Nigam et al. 2000 (Machine Learning
39:103) for classification.

Maximises sum_labelled log p(x, y) + sum_unlabelled log p(x), p(x) = sum_k P(k) N(x; mu_k, Sigma). The E step gives
every unlabelled point to the classes by their posterior probabilities, the M step re-estimates P, mu and Sigma from
labelled and unlabelled points together (every point counts once: the mean is that of all points, weighted, not the sum
of two means).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genlab.core.ranges import Range, Weight, checked
from genlab.semi_supervised.checks import check_known, check_points


@dataclass(frozen=True, eq=False)
class GaussianClasses:
    """p(x, k) = P(k) N(x; mu_k, Sigma_k): prior (K,), mean (K, D), covariance (D, D) of all classes or (K, D, D)."""

    prior: Tensor
    mean: Tensor
    covariance: Tensor

    def log_joint(self, x: Tensor) -> Tensor:
        """log p(x, k) of points x (N, D), (N, K)."""
        densities = torch.distributions.MultivariateNormal(self.mean, self.covariance, validate_args=False)
        return self.prior.log() + densities.log_prob(x[:, None])

    def posterior(self, x: Tensor) -> Tensor:
        """P(k given x) of points x (N, D), (N, K)."""
        return self.log_joint(x).softmax(1)


@checked
def gaussian_em(
    x: Tensor,
    labels: Tensor,
    classes: int,
    steps: Annotated[int, Range(0, 10**6)] = 50,
    *,
    shared: bool = True,
    floor: Weight = 0.1,
) -> tuple[GaussianClasses, list[float]]:
    """The fitted densities, and the log-likelihood per point before every step.

    The first densities are those of the labelled points alone, the covariance that of all points. Every class needs a
    labelled point.

    Args:
        x: points (N, D).
        labels: (N,), from 0 to classes - 1, or -1 where it is unknown.
        steps: of EM; 0: the densities of the labelled points.
        shared: one covariance of all classes, else one of each.
        floor: added to the variances, as a fraction of the mean variance of x; without it the likelihood never falls.

    Raises:
        ValueError: a class has no label, labels or points are out of range, or all points are equal.
    """
    check_points(x)
    check_known(labels, len(x), classes, every_class=True)
    if not x.var(0).any():
        raise ValueError(f"densities need points that differ, got {len(x):,} equal ones")
    known = labels >= 0
    given = one_hot(labels.clamp(min=0), classes).to(x)
    extra = floor * x.var(0).mean() * torch.eye(x.shape[1]).to(x)
    first = _m_step(x[known], given[known], True, extra)
    whole = torch.cov(x.T, correction=0) + extra
    model = GaussianClasses(first.prior, first.mean, whole if shared else whole.expand(classes, -1, -1))
    likelihoods = []
    for _ in range(steps):
        joint = model.log_joint(x)
        likelihoods.append(float(torch.where(known, (joint * given).sum(1), joint.logsumexp(1)).mean()))
        model = _m_step(x, torch.where(known[:, None], given, joint.softmax(1)), shared, extra)
    return model, likelihoods


def _m_step(x: Tensor, share: Tensor, shared: bool, extra: Tensor) -> GaussianClasses:
    """The densities of points x (N, D), of which class k has the share (N, K)."""
    counts = share.sum(0).clamp(min=1e-12)
    mean = share.T @ x / counts[:, None]
    centred = x[None] - mean[:, None]
    scatter = (share.T[:, :, None] * centred).mT @ centred
    covariance = scatter.sum(0) / len(x) if shared else scatter / counts[:, None, None]
    return GaussianClasses(counts / counts.sum(), mean, covariance + extra)
