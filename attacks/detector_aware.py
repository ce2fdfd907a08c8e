"""Adaptive attack on a classifier with a detector; Carlini, Wagner 2017, arXiv:1705.07263.

The last class of the attacked model is the alarm (`attacks.defences.detection.GuardedClassifier`). Departure: the
paper's attack is targeted; here it is untargeted, and the alarm is merged with the true class, so leaving the true
class means evading both. Attacks that step to one boundary at a time (DeepFool) oscillate between the two boundaries;
PGD and Carlini-Wagner are better choices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from attacks.core.ball import Ball
from attacks.core.goal import is_adversarial, select
from attacks.core.model import Attack, Model, Victim


@dataclass(frozen=True)
class DetectorAware(Attack):
    """`inner`, an untargeted attack, that must also evade the detector; the original image is returned where it fails.

    Raises ValueError if `inner` is targeted.
    """

    inner: Attack

    def check_relations(self) -> None:
        if getattr(self.inner, "targeted", False):
            raise ValueError(f"DetectorAware takes an untargeted attack, got {self.inner!r}.")

    @property
    def ball(self) -> Ball | None:
        return getattr(self.inner, "ball", None)

    @property
    def steps(self) -> int | None:
        return getattr(self.inner, "steps", None)

    def at(self, eps: float) -> Self:
        return replace(self, inner=self.inner.at(eps))

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        found = x.clone()
        for label in y.unique().tolist():
            rows = y == label
            found[rows] = self.inner(merge_alarm(f, label), x[rows], y[rows])
        logits = f.query(found)
        return select(is_adversarial(logits, y) & (logits.argmax(1) != logits.shape[1] - 1), found, x)


def merge_alarm(f: Model, label: int) -> Model:
    """x -> logits (N, K) of f without the alarm; if x is misclassified, the logit of `label` is at least the alarm's.

    While x is still classified as `label` the alarm is ignored, so that it does not stop the attack at the start.
    """

    def merged(x: Tensor) -> Tensor:
        logits, alarm = (both := f(x))[:, :-1], both[:, -1]
        own = logits[:, label]
        misclassified = logits.argmax(1) != label
        return logits.select_scatter(torch.where(misclassified, torch.maximum(own, alarm), own), 1, label)

    return merged
