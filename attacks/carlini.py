"""Carlini and Wagner: minimise the perturbation norm plus c times the logit margin, in a variable confined to the box.

Carlini, Wagner 2017, arXiv:1608.04644: section V.B (objective f6, tanh, Adam), VI.A (L2), VI.B (L0), VI.C (L-infinity).

Departures. (1) The tanh is cut at `EDGE` and rescaled to reach 0 and 1, where the paper's has no gradient: a black
pixel needs tens of steps to change instead of hundreds. (2) The learning rate starts above the paper's 0.01 and decays
per example when its loss stalls; an example is finished when it stalls at a small learning rate, or when it stalls
without a success. (3) Each step of the search for c starts from the best adversarial example so far, not from the
original; c is bisected on a log scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.core.ball import scale
from attacks.core.drop import drops
from attacks.core.goal import Smallest
from attacks.core.minimal import MAX_C, ConstantSearch, Norm, clearly_adversarial, margin_loss, signed_margin, size
from attacks.core.model import Attack, Victim
from genlab.core.ranges import OpenShare, Positive, Steps, Weight

EDGE = 0.99  # largest value of tanh(w)
TOLERANCE = 1e-3  # a loss that fell by a smaller fraction has stalled
LR_DECAY, MIN_LR_RATIO = 0.3, 0.05  # factor when the loss stalls, and the smallest learning rate relative to lr

Cost = Callable[[Tensor, Tensor], Tensor]  # perturbations d (R, ...), indices of the examples (R,) -> cost (R,)


class PerExampleAdam:
    """Adam (Kingma, Ba 2015, arXiv:1412.6980) with a learning rate per example, from which examples can be dropped."""

    def __init__(self, w: Tensor, rate: Tensor) -> None:
        self.mean, self.square, self.steps = torch.zeros_like(w), torch.zeros_like(w), 0
        self.rate = rate  # (N,)

    def step(self, w: Tensor, grad: Tensor) -> None:
        """Updates w (N, ...) in place."""
        self.steps += 1
        self.mean.lerp_(grad, 0.1)
        self.square.mul_(0.999).addcmul_(grad, grad, value=0.001)
        root = math.sqrt(1 - 0.999**self.steps)
        move = self.mean / self.square.sqrt().add_(1e-8 * root)
        w.sub_(scale(move, self.rate * (root / (1 - 0.9**self.steps))))

    def keep(self, rows: Tensor) -> None:
        self.mean, self.square, self.rate = self.mean[rows], self.square[rows], self.rate[rows]


@dataclass(frozen=True)
class CarliniWagner(Attack):
    """Base of the three attacks: Adam on cost(x' - x) + c * max(margin + confidence, 0).

    steps, lr: of one minimisation. searches: minimisations with different constants. initial_c: first constant.
    confidence: logit margin to be reached. patience: steps between two tests of whether the loss has stalled.
    """

    steps: Steps = 1000
    lr: Positive = 0.05
    searches: Steps = 9
    initial_c: Positive = 0.1
    confidence: Weight = 0.0
    patience: Steps = 10
    targeted: bool = False

    def _is_adversarial(self, logits: Tensor, y: Tensor) -> Tensor:
        return clearly_adversarial(logits.detach(), y, self.targeted, self.confidence)

    def _descend(
        self, f: Victim, x: Tensor, y: Tensor, start: Tensor, c: Tensor, cost: Cost, norm: str,
        free: Tensor | None = None, enough: Tensor | None = None, lr: Tensor | None = None,
    ) -> tuple[Smallest, Tensor]:  # fmt: skip
        """The smallest adversarial example found per example, and (N,) bool: whether it was adversarial at the end.

        free (N, ...) bool: the pixels that may change. enough (N,): stop at the first success of at most this norm.
        """
        found, ended = Smallest(x), torch.zeros_like(y, dtype=torch.bool)
        rows, recent, left = torch.arange(len(x), device=x.device), ended.clone(), ~ended
        w = torch.atanh((2 * start - 1) * EDGE)
        adam = PerExampleAdam(w, torch.full_like(c, self.lr) if lr is None else lr)
        before = torch.full_like(c, math.inf)
        for step in range(self.steps):
            at = (torch.tanh(w.requires_grad_()) / EDGE + 1) / 2
            if free is not None:
                at = torch.where(free[rows], at, x)
            logits = f(at)
            loss = cost(at - x, rows) + c * margin_loss(logits, y, self.targeted, self.confidence).clamp_min(0)
            grad = f.gradient(loss, w)
            w, loss, at = w.detach(), loss.detach(), at.detach()
            is_adv, length = self._is_adversarial(logits, y), size(at - x, norm)
            found.offer(rows, at, is_adv, length)
            recent |= is_adv
            ended[rows] = recent
            if enough is not None:
                left = left & ~(is_adv & (length <= enough[rows]))
            if step % self.patience == self.patience - 1:
                stalled = loss >= (1 - TOLERANCE) * before
                adam.rate = torch.where(stalled, LR_DECAY * adam.rate, adam.rate)
                left = left & (~stalled | (recent & (adam.rate > MIN_LR_RATIO * self.lr)))
                before, recent = loss, torch.zeros_like(recent)
            if drops(step) and len(keep := left.nonzero().squeeze(1)) < len(rows):
                if len(keep) == 0:
                    break
                w, x, y, c, rows, before, grad, recent, left = (
                    v[keep] for v in (w, x, y, c, rows, before, grad, recent, left)
                )  # fmt: skip
                adam.keep(keep)
            adam.step(w, grad)
            w.clamp_(-math.atanh(EDGE), math.atanh(EDGE))
        return found, ended


@dataclass(frozen=True)
class CarliniL2(CarliniWagner):
    """min |d|_2^2 + c * max(margin + confidence, 0), with a search for the smallest successful c per example (VI.A)."""

    norm: ClassVar[Norm] = "l2"
    narrow: ClassVar[float] = 1.2  # c is searched up to this factor: any larger c ends at the boundary too

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best, search = Smallest(x), ConstantSearch(x, self.initial_c, self.narrow)
        done = self._is_adversarial(f.query(x), y)
        best.offer(slice(None), x, done, torch.zeros_like(search.c))
        for _ in range(self.searches):
            rows = (~(done | search.converged)).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            found, ended = self._minimise(f, x[rows], y[rows], best.x[rows], search.c[rows])
            best.offer(rows, found.x, found.is_adv, found.size)
            search.update(rows, ended)
        return best.x

    def _minimise(self, f: Victim, x: Tensor, y: Tensor, start: Tensor, c: Tensor) -> tuple[Smallest, Tensor]:
        """One minimisation at given c (N,): smallest adversarial examples, and (N,) bool: adversarial at the end."""
        return self._descend(f, x, y, start, c, lambda d, _: d.flatten(1).square().sum(1), "l2")


@dataclass(frozen=True)
class CarliniLinf(CarliniWagner):
    """min c * margin + sum of (|d_i| - tau)+ (VI.C); after each success tau is `shrink` times its L-infinity norm.

    The learning rate is at most tau / 4. A failure doubles c, as in the paper, and replaces shrink by its square root,
    so tau converges where the paper stops; an example is finished when shrink is above 0.98.
    """

    norm: ClassVar[Norm] = "linf"
    steps: Steps = 100
    searches: Steps = 30
    initial_c: Positive = 1.0
    shrink: OpenShare = 0.8

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best, c = Smallest(x), x.new_full((len(x),), self.initial_c)
        best.offer(slice(None), x, self._is_adversarial(f.query(x), y), torch.zeros_like(c))
        shrink = torch.full_like(c, self.shrink)
        for _ in range(self.searches):
            rows = ((best.size > 0) & (shrink < 0.98) & (c < MAX_C)).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            tau = torch.where(best.is_adv, shrink * best.size, 1.0)[rows]
            enough = torch.where(best.is_adv, (1 + shrink) / 2 * best.size, 1.0)[
                rows
            ]  # a norm half way to tau is enough
            cost: Cost = lambda d, some, tau=tau: (d.abs().flatten(1) - tau[some, None]).relu().sum(1)  # type: ignore
            found, _ = self._descend(
                f, x[rows], y[rows], best.x[rows], c[rows], cost, "linf",
                enough=enough, lr=(tau / 4).clamp_max(self.lr),
            )  # fmt: skip
            best.offer(rows, found.x, found.is_adv, found.size)
            failed, known = found.size > enough, best.is_adv[rows]
            shrink[rows] = torch.where(failed & known, shrink[rows].sqrt(), shrink[rows])
            c[rows] = torch.where(failed, c[rows] * torch.where(known, 2, 10), c[rows])
        return best.x


@dataclass(frozen=True)
class CarliniL0(CarliniWagner):
    """The L2 attack on a shrinking set of entries of x: after each success the least important are frozen (VI.B).

    Importance is |gradient of the margin * change|. The paper freezes one entry at a time; here those that make up the
    lowest `share` of the total importance, at least one. After a failure the share is halved for that example; the
    attack ends when no single entry can be frozen.
    """

    norm: ClassVar[Norm] = "l0"
    steps: Steps = 200
    searches: Steps = 60
    initial_c: Positive = 10.0
    share: OpenShare = 0.3

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best, c = Smallest(x), x.new_full((len(x),), self.initial_c)
        best.offer(slice(None), x, self._is_adversarial(f.query(x), y), torch.zeros_like(c))
        share, done = torch.full_like(c, self.share), best.is_adv
        free = torch.ones_like(x, dtype=torch.bool)
        for _ in range(self.searches):
            rows = (~done & (c < MAX_C)).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            start = torch.where(free[rows], best.x[rows], x[rows])
            found, _ = self._descend(
                f, x[rows], y[rows], start, c[rows], lambda d, _: d.flatten(1).square().sum(1), "l0",
                free=free[rows], enough=torch.full_like(c[rows], math.inf),
            )  # fmt: skip
            best.offer(rows, found.x, found.is_adv, found.size)
            known = best.is_adv[rows]
            single = (free[rows] != (best.x != x)[rows]).flatten(1).sum(1) <= 1
            done[rows] = known & ~found.is_adv & (single | (share[rows] < 1e-3))
            share[rows] = torch.where(known & ~found.is_adv, share[rows] / 2, share[rows])
            c[rows] = torch.where(known, c[rows], 10 * c[rows])
            rows = rows[known]
            if len(rows):
                free[rows] = self._important_entries(f, x[rows], y[rows], best.x[rows], share[rows])
        return best.x

    def _important_entries(self, f: Victim, x: Tensor, y: Tensor, adv: Tensor, share: Tensor) -> Tensor:
        """(N, ...) bool: the changed entries without the least important ones."""
        adv = adv.requires_grad_()
        grad = f.gradient(signed_margin(f(adv), y, self.targeted).sum(), adv)
        use = (grad * (adv.detach() - x)).abs().flatten(1)
        changed = (adv.detach() != x).flatten(1)
        use, order = torch.where(changed, use, -1.0).sort(dim=1, stable=True)
        total = use.clamp_min(0).cumsum(1)
        gone = total <= share[:, None] * total[:, -1:]
        first = changed.shape[1] - changed.sum(1)  # at least one of the changed entries is frozen
        gone.scatter_(1, first.clamp_max(changed.shape[1] - 1)[:, None], True)
        return torch.zeros_like(gone).scatter_(1, order, ~gone).view(x.shape)
