"""ROC curve of a score, the area under it, and cost-optimal thresholds; an image is flagged if score > threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from genlab.core.ranges import Share, Weight, check


def auc(clean: Tensor, attacked: Tensor) -> float:
    """Area under the ROC curve: P(attacked score > clean score), ties counted half; scores (N,) and (M,)."""
    clean, attacked = checked(clean, attacked)
    order = clean.sort().values
    below, upto = (torch.searchsorted(order, attacked, right=right) for right in (False, True))
    return (below + upto).double().mean().item() / (2 * len(clean))


class ROCCurve(NamedTuple):
    """Points (T,) of a ROC curve, from (0, 0) to (1, 1)."""

    false_positive_rate: Tensor
    """share of the clean images that are flagged"""
    true_positive_rate: Tensor
    """share of the attacked images that are flagged"""
    thresholds: Tensor


def roc(clean: Tensor, attacked: Tensor) -> ROCCurve:
    """ROC curve of scores (N,) of clean and (M,) of attacked images: a point per distinct score."""
    clean, attacked = checked(clean, attacked)
    thresholds = torch.cat([torch.cat([clean, attacked]).unique().flip(0), clean.new_tensor([-torch.inf])])

    def above(scores: Tensor) -> Tensor:
        return 1 - torch.searchsorted(scores.sort().values, thresholds, right=True).double() / len(scores)

    return ROCCurve(above(clean), above(attacked), thresholds)


@dataclass(frozen=True)
class Costs:
    """Costs of errors, and the share of the images that is attacked."""

    miss: Weight = 1.0
    """cost of an attacked image that is not flagged"""
    alarm: Weight = 1.0
    """cost of a clean image that is flagged"""
    share: Share = 0.5
    """share of attacked images, in [0, 1]"""

    def __post_init__(self) -> None:
        check(self)

    def of(self, false_positive_rate: Tensor, true_positive_rate: Tensor) -> Tensor:
        """Mean cost per image at these rates."""
        return self.share * self.miss * (1 - true_positive_rate) + (1 - self.share) * self.alarm * false_positive_rate

    @property
    def without_detector(self) -> float:
        """Mean cost per image without a detector: the better of flagging no image and flagging all."""
        return min(self.share * self.miss, (1 - self.share) * self.alarm)

    def cheapest(self, clean: Tensor, attacked: Tensor) -> float:
        """The threshold of lowest mean cost; the highest of several."""
        curve = roc(clean, attacked)
        return curve.thresholds[self.of(curve.false_positive_rate, curve.true_positive_rate).argmin()].item()

    def measure(self, clean: Tensor, attacked: Tensor, threshold: float) -> float:
        """Mean cost per image at this threshold."""
        clean, attacked = checked(clean, attacked)
        rates = ((scores > threshold).double().mean() for scores in (clean, attacked))
        return self.of(*rates).item()


def checked(clean: Tensor, attacked: Tensor) -> tuple[Tensor, Tensor]:
    """The detached scores. Raises ValueError if there are none of a kind, or NaN."""
    if min(len(clean), len(attacked)) == 0:
        raise ValueError(f"scores of both kinds are needed, got {len(clean)} clean and {len(attacked)} attacked.")
    for scores in (clean, attacked):
        if scores.isnan().any():
            raise ValueError("scores must be numbers, got nan.")
    return clean.detach(), attacked.detach()
