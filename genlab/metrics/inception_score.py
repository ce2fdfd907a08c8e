"""Inception score with any classifier; Salimans et al. 2016, arXiv:1606.03498, section 4: exp E KL(p(y | x) || p(y)).

From 1 (the same prediction for all images) to the number of classes (confident predictions, uniform over the classes).
It does not use real images, and can be compared for the same classifier only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.metrics import checks


@torch.no_grad()
def inception_score(logits: Tensor, splits: int = 10) -> tuple[float, float]:
    """The mean and standard deviation over `splits` consecutive parts of logits (N, classes).

    Raises:
        ValueError: a part would hold fewer than two images, or a logit is NaN or infinite.
    """
    log_p = checks.points(logits, "logits").log_softmax(1)
    if not 1 <= splits <= len(log_p) // 2:
        raise ValueError(f"splits must lie between 1 and half the number of images, {len(log_p)}, got {splits}")
    scores = torch.stack([_score(part) for part in log_p.tensor_split(splits)])
    return float(scores.mean()), float(scores.std(correction=0))


def _score(log_p: Tensor) -> Tensor:
    marginal = log_p.exp().mean(0)
    return (log_p.exp() * (log_p - marginal.log().clamp(min=-1e300))).sum(1).mean().exp()
