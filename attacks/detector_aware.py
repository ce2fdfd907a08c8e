"""Any attack on a classifier and its detector together; Carlini, Wagner 2017, arXiv:1705.07263.

The victim's last logit is an alarm (`attacks.defences.detection.Guarded`). Departure: the paper aims at one class at a
time; here the attack is untargeted, and the alarm stands for the true class: to be elsewhere is to evade both. An
attack that jumps to one boundary at a time (DeepFool) zigzags between the two; PGD and Carlini's find a way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from attacks.core.ball import Ball
from attacks.core.goal import chosen, is_adversarial
from attacks.core.model import Attack, Model, Victim


@dataclass(frozen=True)
class DetectorAware(Attack):
    """`inner`, an untargeted attack, looking for a wrong answer without alarm; the original image where it finds none.

    So a success of `inner` that is detected is not a success, whoever counts.
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
            found[rows] = self.inner(standing_for(f, label), x[rows], y[rows])
        logits = f.query(found)
        return chosen(is_adversarial(logits, y) & (logits.argmax(1) != logits.shape[1] - 1), found, x)


def standing_for(f: Model, label: int) -> Model:
    """x -> logits (N, K), those of f but the last, an alarm, which stands for `label` once another class leads.

    Before that it would only be in the way: an attack that fears to be seen on its way would not set out.
    """

    def view(x: Tensor) -> Tensor:
        logits, alarm = (both := f(x))[:, :-1], both[:, -1]
        own = logits[:, label]
        astray = logits.argmax(1) != label
        return logits.select_scatter(torch.where(astray, torch.maximum(own, alarm), own), 1, label)

    return view
