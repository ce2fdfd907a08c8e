"""A parameter-free ensemble: what an attack leaves standing, the next one tries.

AutoAttack: Croce & Hein 2020, arXiv:2003.01690, section 5: APGD on cross-entropy, APGD-T on the targeted DLR loss for
the nine likeliest wrong classes, and Square, which needs no gradient and so sees through masked ones.

Departures. (1) No FAB, which finds little that APGD-T does not. (2) With fewer than four classes, where the targeted
loss has no meaning, APGD-CE from five other points takes its place. (3) What was never fooled comes back with the
smallest margin found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from attacks.auto_pgd import AutoPGD, AutoPGDT
from attacks.core.ball import L2, Ball, Linf
from attacks.core.goal import Best, is_adversarial, margin
from attacks.core.model import Attack, Victim
from attacks.square import Square
from genlab.core.ranges import Range, Seed, Steps


def in_turn(attacks: Sequence[Attack], f: Victim, x: Tensor, y: Tensor) -> Tensor:
    """Each attack on the examples that none before it fooled; the clean image counts as the first attempt."""
    best = Best(x)
    logits = f.query(x)
    best.offer(slice(None), x, is_adversarial(logits, y), -margin(logits, y))
    for attack in attacks:
        rows = (~best.hit).nonzero().squeeze(1)
        if len(rows) == 0:
            break
        adv = attack.run(f, x[rows], y[rows]).detach().clamp_(0, 1)
        logits = f.query(adv)
        best.offer(rows, adv, is_adversarial(logits, y[rows]), -margin(logits, y[rows]))
    return best.x


@dataclass(frozen=True)
class Auto(Attack):
    """Untargeted. steps: of every APGD walk; queries: of Square."""

    ball: Ball
    steps: Steps = 100
    queries: Annotated[int, Range(2, 10**12)] = 5000
    seed: Seed = 0

    def parts(self, classes: int, images: bool = True) -> list[Attack]:
        """The attacks for a model of so many classes, in their order; Square paints images only, in its two norms."""
        first = AutoPGD(self.ball, self.steps, seed=self.seed)
        again = AutoPGD(self.ball, self.steps, restarts=5, seed=self.seed + 1)
        aimed = AutoPGDT(self.ball, self.steps, seed=self.seed)
        white: list[Attack] = [first, aimed if classes >= 4 else again]
        paints = images and isinstance(self.ball, Linf | L2)
        return [*white, Square(self.ball, self.queries, seed=self.seed)] if paints else white

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        return in_turn(self.parts(f.query(x[:1]).shape[1], x.ndim == 4), f, x, y)
