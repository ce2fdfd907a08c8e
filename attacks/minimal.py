"""The smallest perturbation that a budget of passes can find, in one norm: a composite of the minimal-norm attacks.

No single attack finds the smallest perturbation of every image: they end in different local minima. Several searches
are run from the image, each ends on the boundary, where its result is moved towards the image (`polish`, `exchange` in
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


@dataclass(frozen=True)
class Plan:
    """Shares of the budget: of the searches from the image, of those aimed at single classes, all together, of each
    refinement, and of the last one. In L0 and L1 chosen by the sizes on twelve training images under three CNNs.
    """

    first: tuple[tuple[type[Any], float], ...]
    aimed: tuple[type[Any], float]
    refined: float = 0.03
    last: float = 0.03


PLANS: dict[Norm, Plan] = {
    "l0": Plan(((SigmaZero, 0.4), (PDPGD, 0.1)), (SigmaZero, 0.1), refined=0.04, last=0.2),
    "l1": Plan(((PDPGD, 0.25), (FMNL1, 0.25)), (PDPGD, 0.2), refined=0.05, last=0.05),
    "l2": Plan(((DeepFool, 0.08), (PDGD, 0.45)), (DDN, 0.25)),
    "linf": Plan(((DeepFoolLinf, 0.06), (FMNLinf, 0.5)), (FMNLinf, 0.2)),
}
OVERHEAD = 30  # passes for the original, the last iterates and the nearest classes


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
        plan = PLANS[self.norm]
        for attack in self.first():
            found = attack.search(f, x, y, start)
            best.merge(slice(None), self._refined(f, x, y, found, plan.refined, self.targeted))
        if not self.targeted:
            build, share = plan.aimed
            attack = self._built(build, share / self.classes, targeted=True)
            for target in nearest_classes(f, x, y, self.norm, self.classes).unbind(1):
                found = attack.search(f, x, target, x)
                best.merge(slice(None), self._refined(f, x, target, found, plan.refined, True))
        return self._refined(f, x, y, best, plan.last, self.targeted)

    def first(self) -> Iterator[MinimalAttack]:
        """The searches from the image."""
        for build, share in PLANS[self.norm].first:
            if not issubclass(build, DeepFool):
                yield self._built(build, share, self.targeted)
            elif not self.targeted:  # it has no target
                yield build(polish=0, steps=max(1, self._steps(share) // 2))

    def _built(self, build: type[Any], share: float, targeted: bool) -> MinimalAttack:
        options: dict[str, Any] = {"polish": 0} if issubclass(build, PDGD | SigmaZero) else {}
        options |= {"norm": self.norm} if build is PDPGD else {}
        attack: MinimalAttack = build(steps=self._steps(share), targeted=targeted, **options)
        return attack

    def _steps(self, share: float) -> int:
        return max(1, int((self.passes - OVERHEAD) * share / 2))

    def _refined(self, f: Victim, x: Tensor, y: Tensor, found: Smallest, share: float, targeted: bool) -> Smallest:
        rounds = self._steps(share)
        if self.norm == "l0":
            halvings = min(rounds, 10)  # a forward pass each, half of a round
            polish(f, x, y, found, "l0", halvings, targeted)
            exchange(f, x, y, found, rounds - (halvings + 1) // 2, targeted)
        else:
            polish(f, x, y, found, self.norm, rounds, targeted)
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


def exchange(f: Victim, x: Tensor, y: Tensor, best: Smallest, rounds: int, targeted: bool = False) -> None:
    """Changes fewer entries of the adversarial examples in `best`; each round is one forward and one backward pass.

    In an adversarial example the entry is restored that the linearised loss misses least. If the image is not
    adversarial any more, that entry is exchanged for the unchanged one by which the loss falls most; the exchange is
    kept if the loss does fall, else the next entry is tried, until enough of it has fallen to restore another one.
    Changed entries move to the ends of the box along the gradient.
    """
    rows = (best.is_adv & (best.size > 1)).nonzero().squeeze(1)
    if len(rows) == 0:
        return
    x, y = x[rows], y[rows]
    at = point = best.x[rows]
    adversarial = torch.ones_like(y, dtype=torch.bool)  # the point, whose loss is `level`
    level, grad, tried = torch.zeros_like(at.flatten(1)[:, 0]), torch.zeros_like(at), torch.zeros_like(at).bool()
    for step in range(rounds + 1):
        last = step == rounds
        is_adv, loss = judged(f.query(at) if last else f(at.requires_grad_()), y, targeted)
        best.offer(rows, at.detach(), is_adv, size(at.detach() - x, "l0"))
        if last:
            return
        new = f.gradient(loss, at)
        at, loss = at.detach(), loss.detach().to(level.dtype)
        better = adversarial | (loss < level)
        point, grad = select(better, at, point), select(better, new, grad)
        level, adversarial = torch.where(better, loss, level), torch.where(better, is_adv, adversarial)
        tried = select(better, torch.zeros_like(tried), tried)

        ends = torch.where(grad != 0, (grad < 0).to(x.dtype), point)  # where the loss is lowest, linearised
        changed = point != x
        rise = (grad * (x - ends)).flatten(1)  # of the loss, if the entry is restored rather than at its end
        out = torch.where(changed.flatten(1), rise, torch.inf).argmin(1, keepdim=True)
        into = torch.where((changed | tried).flatten(1), -torch.inf, rise).argmax(1, keepdim=True)
        fewer = torch.where(changed, ends, point).flatten(1).scatter(1, out, x.flatten(1).gather(1, out))
        others = fewer.scatter(1, into, ends.flatten(1).gather(1, into))
        at = torch.where(adversarial[:, None], fewer, others).view_as(x)
        tried = tried.flatten(1).scatter(1, into, True).view_as(x)
