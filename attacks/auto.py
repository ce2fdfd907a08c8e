"""AutoAttack: a parameter-free ensemble of attacks, each run on the examples that the ones before did not fool.

Croce, Hein 2020, arXiv:2003.01690, section 5: APGD on cross-entropy, APGD-T on the targeted DLR loss for the nine
likeliest wrong classes, FAB-T for the same classes, and Square, which uses no gradient and so is not affected by
gradient masking. In L1: Croce, Hein 2021, arXiv:2103.01208. The version "rand", for random models: APGD on
cross-entropy and on the DLR loss, with gradients averaged over 20 passes (EOT).

Departures. (1) With fewer than four classes, where the targeted DLR loss is undefined, APGD-T is replaced by APGD with
five restarts, on the DLR loss or, with two classes, where it is constant, on cross-entropy. (2) If every attack fails,
the example with the smallest margin found is returned. (3) The flags of the authors' implementation are warnings
(`attacks.core.flags`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from torch import Tensor

from attacks.auto_fast import fast
from attacks.auto_pgd import AutoPGD, AutoPGDT
from attacks.core import flags
from attacks.core.ball import L1, Ball
from attacks.core.goal import Best, is_adversarial, margin
from attacks.core.kept import keeper
from attacks.core.model import Attack, Victim
from attacks.fab import FABT
from attacks.square import Square
from genlab.core.ranges import Range, Seed, Steps

EOT = 20  # passes of the version "rand"


def in_turn(attacks: Sequence[Attack], f: Victim, x: Tensor, y: Tensor) -> Tensor:
    """Runs each attack on the examples that no earlier one fooled; misclassified clean images are not attacked."""
    best = Best(x)
    logits = f.query(x)
    best.offer(slice(None), x, is_adversarial(logits, y), -margin(logits, y))
    kept = keeper.get()
    for n, attack in enumerate(attacks):
        part = f"{n} {attack!r}"
        if kept and (found := kept.load(part)):
            best.x, best.is_adv, best.value = found
            continue
        rows = (~best.is_adv).nonzero().squeeze(1)
        if len(rows) == 0:
            break
        adv = attack.run(f, x[rows], y[rows]).detach().clamp_(0, 1)
        logits = f.query(adv)
        is_adv = is_adversarial(logits, y[rows])
        best.offer(rows, adv, is_adv, -margin(logits, y[rows]))
        if isinstance(attack, Square):
            flags.compare(int(is_adv.sum()), len(x))
        if kept:
            kept.save(part, best.x, best.is_adv, best.value)
    return best.x


@dataclass(frozen=True)
class Auto(Attack):
    """AutoAttack, untargeted. steps: of every APGD and FAB-T run; queries: of Square.

    version: "standard"; "fast", for which steps and queries are fixed (`attacks.auto_fast`); "rand", for random models.
    """

    ball: Ball
    steps: Steps = 100
    queries: Annotated[int, Range(2, 10**12)] = 5000
    version: Literal["standard", "rand", "fast"] = "standard"
    seed: Seed = 0

    def parts(self, classes: int, images: bool = True) -> list[Attack]:
        """The attacks in order, for a model with `classes` classes; Square only for images.

        In L1, APGD has 5 restarts and APGD-T 5 target classes (arXiv:2103.01208).
        """
        sparse = isinstance(self.ball, L1)
        first = AutoPGD(self.ball, self.steps, restarts=5 if sparse else 1, seed=self.seed)
        again = AutoPGD(self.ball, self.steps, "dlr" if classes > 2 else "ce", restarts=5, seed=self.seed + 1)
        if self.version == "rand":
            averaged = replace(first, restarts=1, eot=EOT)
            return [averaged, replace(averaged, loss="dlr") if classes > 2 else replace(again, eot=EOT)]
        aimed = AutoPGDT(self.ball, self.steps, classes=5 if sparse else 9, seed=self.seed)
        boundary = FABT(self.ball, self.steps, seed=self.seed)
        white: list[Attack] = [first, aimed if classes >= 4 else again, boundary]
        return [*white, Square(self.ball, self.queries, seed=self.seed)] if images else white

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        classes = flags.inspect(f, x, y, random=self.version == "rand")
        if self.version == "fast":
            return fast(f, x, y, self.ball, self.seed)
        return in_turn(self.parts(classes, x.ndim == 4), f, x, y)
