"""The smallest perturbation that a budget of passes can find, in one norm: a composite of the minimal-norm attacks.

No single attack finds the smallest perturbation of every image: they end in different local minima. Several searches
are run from the image, each ends on the boundary, where its result is moved towards the image (`polish`, `sparsify` in
L0); then targeted searches follow, towards the classes whose linearised boundaries are nearest (as DeepFool chooses
them: Moosavi-Dezfooli et al. 2016, arXiv:1511.04599). The best result so far is refined with what is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from attacks.core.goal import Smallest, select
from attacks.core.minimal import (
    MinimalAttack,
    Norm,
    clearly_adversarial,
    gradients,
    judged,
    polish,
    size,
)
from attacks.core.model import Victim
from attacks.ddn import DDN
from attacks.deepfool import DeepFool, DeepFoolLinf
from attacks.fmn import FMNL1, FMNLinf
from attacks.pdgd import PDGD, PDPGD
from attacks.sigma_zero import SigmaZero
from genlab.core.ranges import Count, Range

LIKELIEST = 10  # classes whose boundaries are compared
# Shares of the budget: of the first searches, and of the searches aimed at single classes, together.
FIRST: dict[Norm, tuple[tuple[type[Any], float], ...]] = {
    "l0": ((SigmaZero, 0.6),),
    "l1": ((PDPGD, 0.55),),
    "l2": ((DeepFool, 0.08), (PDGD, 0.45)),
    "linf": ((DeepFoolLinf, 0.06), (FMNLinf, 0.5)),
}
AIMED: dict[Norm, tuple[type[Any], float]] = {
    "l0": (SigmaZero, 0.2),
    "l1": (FMNL1, 0.25),
    "l2": (DDN, 0.25),
    "linf": (FMNLinf, 0.2),
}
OVERHEAD = 30  # passes for the original, the last iterates and the nearest classes
REFINED = 0.03  # share of the budget of each refinement


@dataclass(frozen=True)
class Minimal(MinimalAttack):
    """Smallest perturbation in `norm`. passes: forward and backward passes per image; classes: aimed at, at most."""

    norm: Norm = "l2"
    passes: Annotated[int, Range(100, 10**9)] = 2000
    classes: Count = 3
    targeted: bool = False

    def search(self, f: Victim, x: Tensor, y: Tensor, start: Tensor) -> Smallest:
        best = Smallest(x)
        best.offer(
            slice(None), start, clearly_adversarial(f.query(start), y, self.targeted), size(start - x, self.norm)
        )
        for attack in self.first():
            best.merge(slice(None), self._refined(f, x, y, attack.search(f, x, y, start), self.targeted))
        if not self.targeted:
            targets = nearest_classes(f, x, y, self.norm, self.classes)
            build, share = AIMED[self.norm]
            attack = build(steps=self._steps(share / self.classes), targeted=True)
            for target in targets.unbind(1):
                found = attack.search(f, x, target, x)
                best.merge(slice(None), self._refined(f, x, target, found, True))
        return self._refined(f, x, y, best, self.targeted)

    def first(self) -> Iterator[MinimalAttack]:
        """The searches from the image."""
        for build, share in FIRST[self.norm]:
            steps = self._steps(share)
            if issubclass(build, DeepFool):
                if not self.targeted:  # it has no target
                    yield build(polish=0, steps=max(1, steps // 2))
                continue
            options: dict[str, Any] = {"polish": 0} if issubclass(build, PDGD) else {}
            options |= {"norm": self.norm} if build is PDPGD else {}
            yield build(steps=steps, targeted=self.targeted, **options)

    def _steps(self, share: float) -> int:
        return max(1, int((self.passes - OVERHEAD) * share / 2))

    def _refined(self, f: Victim, x: Tensor, y: Tensor, found: Smallest, targeted: bool) -> Smallest:
        rounds = self._steps(REFINED)
        refine = sparsify if self.norm == "l0" else polish
        refine(f, x, y, found, self.norm, rounds, targeted)
        return found


@dataclass(frozen=True)
class MinimalL0(Minimal):
    norm: Norm = "l0"


@dataclass(frozen=True)
class MinimalL1(Minimal):
    norm: Norm = "l1"


@dataclass(frozen=True)
class MinimalLinf(Minimal):
    norm: Norm = "linf"


def nearest_classes(f: Victim, x: Tensor, y: Tensor, norm: Norm, count: int) -> Tensor:
    """(N, count): the classes other than y whose boundaries, linearised at x, are nearest; of the likeliest ten."""
    logits = f(at := x.clone().requires_grad_())
    lead = logits.gather(1, y[:, None]) - logits
    likely = lead.detach().scatter(1, y[:, None], torch.inf).argsort(dim=1, stable=True)
    likely = likely[:, : min(LIKELIEST, logits.shape[1] - 1)]
    lead = lead.gather(1, likely)
    w = gradients(f, lead, at).flatten(2)
    order = {"l0": torch.inf, "l1": torch.inf, "l2": 2.0, "linf": 1.0}[norm]
    distance = lead.detach() / torch.linalg.vector_norm(w, order, dim=2).clamp_min(torch.finfo(w.dtype).tiny)
    return likely.gather(1, distance.argsort(dim=1, stable=True)[:, :count])


def sparsify(f: Victim, x: Tensor, y: Tensor, best: Smallest, norm: Norm, rounds: int, targeted: bool = False) -> None:
    """Restore entries of the adversarial examples in `best`, one per round, as long as they stay adversarial.

    Each round, one forward and one backward pass, moves the changed entries to the ends of the box along the gradient
    and restores the one that the linearised model misses least; after a failure, the next one is tried.
    """
    rows = (best.is_adv & (best.size > 1)).nonzero().squeeze(1)
    if len(rows) == 0:
        return
    x, y = x[rows], y[rows]
    at = good = best.x[rows]
    tried = torch.zeros_like(at, dtype=torch.bool)
    grad, last = torch.zeros_like(at), torch.full_like(y, -1)
    for step in range(rounds + 1):
        is_adv, loss = judged(f(at.requires_grad_()) if step < rounds else f.query(at), y, targeted)
        if step == rounds:
            best.offer(rows, at, is_adv, size(at - x, "l0"))
            return
        new = f.gradient(loss, at)
        at = at.detach()
        best.offer(rows, at, is_adv, size(at - x, "l0"))
        good, grad = select(is_adv, at, good), select(is_adv, new, grad)
        tried = select(is_adv, torch.zeros_like(tried), tried)
        changed = good != x
        ends = torch.where(changed & (grad != 0), (grad < 0).to(x.dtype), good)
        cost = (grad * (x - ends)).flatten(1)  # of restoring each entry: the rise of the loss
        free = (changed & ~tried).flatten(1)
        last = torch.where(free, cost, torch.inf).argmin(1)
        tried = tried | (torch.zeros_like(cost).scatter_(1, last[:, None], 1.0) > 0).view(x.shape)
        at = ends.flatten(1).scatter(1, last[:, None], x.flatten(1).gather(1, last[:, None])).view(x.shape)
