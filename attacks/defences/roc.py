"""How well a score tells two kinds of images apart: the ROC curve, its area, and thresholds under costs.

Everywhere the rule is: an alarm where score > threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from genlab.core.ranges import Share, Weight, check


def auc(clean: Tensor, attacked: Tensor) -> float:
    """The chance that an attacked image has the higher score, ties counted half; scores (N,) and (M,)."""
    clean, attacked = checked(clean, attacked)
    order = clean.sort().values
    below, upto = (torch.searchsorted(order, attacked, right=right) for right in (False, True))
    return (below + upto).double().mean().item() / (2 * len(clean))


class Curve(NamedTuple):
    """Points of a ROC curve (T,), from no alarm at all to nothing but alarms."""

    false_alarms: Tensor
    """share of the clean images with an alarm"""
    hits: Tensor
    """share of the attacked images with an alarm"""
    thresholds: Tensor


def roc(clean: Tensor, attacked: Tensor) -> Curve:
    """The curve of scores (N,) of clean and (M,) of attacked images: a point per distinct score."""
    clean, attacked = checked(clean, attacked)
    thresholds = torch.cat([torch.cat([clean, attacked]).unique().flip(0), clean.new_tensor([-torch.inf])])

    def above(scores: Tensor) -> Tensor:
        return 1 - torch.searchsorted(scores.sort().values, thresholds, right=True).double() / len(scores)

    return Curve(above(clean), above(attacked), thresholds)


@dataclass(frozen=True)
class Costs:
    """What errors cost, when a `share` of the images is attacked."""

    miss: Weight = 1.0
    """cost of an attacked image without alarm"""
    alarm: Weight = 1.0
    """cost of an alarm at a clean image"""
    share: Share = 0.5
    """share of attacked images, in [0, 1]"""

    def __post_init__(self) -> None:
        check(self)

    def of(self, false_alarms: Tensor, hits: Tensor) -> Tensor:
        """Mean cost of an image, at these rates."""
        return self.share * self.miss * (1 - hits) + (1 - self.share) * self.alarm * false_alarms

    @property
    def blind(self) -> float:
        """Mean cost of the better of two rules that look at no image: never an alarm, or always."""
        return min(self.share * self.miss, (1 - self.share) * self.alarm)

    def cheapest(self, clean: Tensor, attacked: Tensor) -> float:
        """The threshold of the lowest mean cost; of several the highest."""
        curve = roc(clean, attacked)
        return curve.thresholds[self.of(curve.false_alarms, curve.hits).argmin()].item()

    def measure(self, clean: Tensor, attacked: Tensor, threshold: float) -> float:
        """Mean cost of an image at this threshold."""
        clean, attacked = checked(clean, attacked)
        rates = ((scores > threshold).double().mean() for scores in (clean, attacked))
        return self.of(*rates).item()


def checked(clean: Tensor, attacked: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of both kinds; refuses none and NaN."""
    if min(len(clean), len(attacked)) == 0:
        raise ValueError(f"scores of both kinds are needed, got {len(clean)} clean and {len(attacked)} attacked.")
    for scores in (clean, attacked):
        if scores.isnan().any():
            raise ValueError("scores must be numbers, got nan.")
    return clean.detach(), attacked.detach()
