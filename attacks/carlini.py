"""Carlini and Wagner: descend on the size plus c times the lead of the label, in a variable that cannot leave the box.

Carlini, Wagner 2017, arXiv:1608.04644: section V.B (objective f6, tanh, Adam), VI.A (L2), VI.B (L0), VI.C (L-infinity).

Departures. (1) The tanh is cut at `EDGE` and stretched to reach 0 and 1, where the paper's has no gradient: a black
pixel needs tens of steps to move instead of hundreds. (2) Steps are larger than the paper's 0.01 at first and shrink
for each example whose loss stalls; it is dropped when it stalls with small steps, or at all while it fools nobody.
(3) Each search for c begins at the best success so far, not at the original; c is bisected on its logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from attacks.core.ball import scale
from attacks.core.goal import Smallest
from attacks.core.minimal import MOST, Weights, fooled, gap, lacking, size
from attacks.core.model import Attack, Victim
from genlab.core.ranges import Positive, Range, Steps, Weight

EDGE = 0.99  # tanh of the largest variable
TOLERANCE = 1e-3  # a loss that fell by a smaller part has stalled
SHRINK, LEAST = 0.3, 0.05  # of the steps when the loss stalls, and how small they get

Cost = Callable[[Tensor, Tensor], Tensor]  # d (R, ...), the examples (R,) -> (R,), what a perturbation costs


class Adam:
    """Adam (Kingma, Ba 2015, arXiv:1412.6980) with a rate per example, whose state can lose examples."""

    def __init__(self, w: Tensor, rate: Tensor) -> None:
        self.mean, self.square, self.steps = torch.zeros_like(w), torch.zeros_like(w), 0
        self.rate = rate  # (N,)

    def step(self, w: Tensor, grad: Tensor) -> None:
        """In place."""
        self.steps += 1
        self.mean.lerp_(grad, 0.1)
        self.square.mul_(0.999).addcmul_(grad, grad, value=0.001)
        root = math.sqrt(1 - 0.999**self.steps)
        move = self.mean / self.square.sqrt().add_(1e-8 * root)
        w.sub_(scale(move, self.rate * (root / (1 - 0.9**self.steps))))

    def keep(self, rows: Tensor) -> None:
        self.mean, self.square, self.rate = self.mean[rows], self.square[rows], self.rate[rows]


@dataclass(frozen=True)
class Descent(Attack):
    """What the three attacks have in common: Adam on cost(x' - x) + c * max(lead + confidence, 0).

    steps and lr are those of one descent; after every `patience` steps one looks whether the loss has stalled.
    """

    steps: Steps = 1000
    lr: Positive = 0.05
    searches: Steps = 9
    initial_c: Positive = 0.1
    confidence: Weight = 0.0
    patience: Steps = 10
    targeted: bool = False

    def _judge(self, logits: Tensor, y: Tensor) -> Tensor:
        return fooled(logits.detach(), y, self.targeted, self.confidence)

    def _descend(
        self, f: Victim, x: Tensor, y: Tensor, start: Tensor, c: Tensor, cost: Cost, norm: str,
        free: Tensor | None = None, enough: Tensor | None = None, lr: Tensor | None = None,
    ) -> tuple[Smallest, Tensor]:  # fmt: skip
        """The smallest success on each way down, and (N,) bool: was it fooled when it ended?

        Only pixels `free` (N, ...) move; an example is dropped at its first success no larger than `enough` (N,).
        """
        found, ended = Smallest(x), torch.zeros_like(y, dtype=torch.bool)
        rows, recent = torch.arange(len(x), device=x.device), ended.clone()
        w = torch.atanh((2 * start - 1) * EDGE)
        adam, before = Adam(w, torch.full_like(c, self.lr) if lr is None else lr), torch.full_like(c, math.inf)
        for step in range(self.steps):
            at = (torch.tanh(w.requires_grad_()) / EDGE + 1) / 2
            if free is not None:
                at = torch.where(free[rows], at, x)
            logits = f(at)
            loss = cost(at - x, rows) + c * lacking(logits, y, self.targeted, self.confidence).clamp_min(0)
            grad = f.gradient(loss.sum(), w)
            w, loss, at = w.detach(), loss.detach(), at.detach()
            hit, length = self._judge(logits, y), size(at - x, norm)
            found.offer(rows, at, hit, length)
            recent |= hit
            ended[rows] = recent
            keep = torch.ones_like(hit) if enough is None else ~(hit & (length <= enough[rows]))
            if step % self.patience == self.patience - 1:
                stalled = loss >= (1 - TOLERANCE) * before
                adam.rate = torch.where(stalled, SHRINK * adam.rate, adam.rate)
                keep &= ~stalled | (recent & (adam.rate > LEAST * self.lr))
                before, recent = loss, torch.zeros_like(recent)
            if (enough is not None or step % self.patience == self.patience - 1) and not keep.all():
                if not keep.any():
                    break
                w, x, y, c, rows, before, grad, recent = (
                    v[keep] for v in (w, x, y, c, rows, before, grad, recent)
                )  # fmt: skip
                adam.keep(keep)
            adam.step(w, grad)
            w.clamp_(-math.atanh(EDGE), math.atanh(EDGE))
        return found, ended


@dataclass(frozen=True)
class CarliniL2(Descent):
    """min |d|_2^2 + c * max(lead + confidence, 0), with a search for the smallest c that succeeds, per example."""

    narrow: ClassVar[float] = 1.2  # c within this factor is good enough: any larger c ends at the boundary too

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best, weights = Smallest(x), Weights(x, self.initial_c, self.narrow)
        done = self._judge(f.query(x), y)
        best.offer(slice(None), x, done, torch.zeros_like(weights.c))
        for _ in range(self.searches):
            rows = (~(done | weights.narrow)).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            found, ended = self._attempt(f, x[rows], y[rows], best.x[rows], weights.c[rows])
            best.offer(rows, found.x, found.hit, found.size)
            weights.update(rows, ended)
        return best.x

    def _attempt(self, f: Victim, x: Tensor, y: Tensor, start: Tensor, c: Tensor) -> tuple[Smallest, Tensor]:
        """One way down at given c (N,): the smallest success, and (N,) bool, was there one when it ended?"""
        return self._descend(f, x, y, start, c, lambda d, _: d.flatten(1).square().sum(1), "l2")


@dataclass(frozen=True)
class CarliniLinf(Descent):
    """min c * lead + sum of (|d_i| - tau)+, for a tau that falls to `shrink` times the size of each success.

    Steps are at most tau / 4. A failure doubles c, as in the paper, and takes the root of `shrink`, so that tau
    closes in where the paper ends; an example is finished when shrink is above 0.98.
    """

    steps: Steps = 100
    searches: Steps = 30
    initial_c: Positive = 1.0
    shrink: Annotated[float, Range(0, 1, above=True, below=True)] = 0.8

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best, c = Smallest(x), x.new_full((len(x),), self.initial_c)
        best.offer(slice(None), x, self._judge(f.query(x), y), torch.zeros_like(c))
        shrink = torch.full_like(c, self.shrink)
        for _ in range(self.searches):
            rows = ((best.size > 0) & (shrink < 0.98) & (c < MOST)).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            tau = torch.where(best.hit, shrink * best.size, 1.0)[rows]
            enough = torch.where(best.hit, (1 + shrink) / 2 * best.size, 1.0)[rows]  # half way to tau counts
            cost: Cost = lambda d, some, tau=tau: (d.abs().flatten(1) - tau[some, None]).relu().sum(1)  # type: ignore
            found, _ = self._descend(
                f, x[rows], y[rows], best.x[rows], c[rows], cost, "linf",
                enough=enough, lr=(tau / 4).clamp_max(self.lr),
            )  # fmt: skip
            best.offer(rows, found.x, found.hit, found.size)
            failed, known = found.size > enough, best.hit[rows]
            shrink[rows] = torch.where(failed & known, shrink[rows].sqrt(), shrink[rows])
            c[rows] = torch.where(failed, c[rows] * torch.where(known, 2, 10), c[rows])
        return best.x


@dataclass(frozen=True)
class CarliniL0(Descent):
    """The L2 attack on fewer and fewer entries of x: after each success the least useful ones are frozen for good.

    Useful is |gradient of the lead * change|. The paper freezes one entry at a time; here those that make up the last
    `share` of the usefulness, at least one. After a failure the share is halved, for that example, and the attack ends
    when a single entry cannot be spared.
    """

    steps: Steps = 200
    searches: Steps = 60
    initial_c: Positive = 10.0
    share: Annotated[float, Range(0, 1, above=True, below=True)] = 0.3

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best, c = Smallest(x), x.new_full((len(x),), self.initial_c)
        best.offer(slice(None), x, self._judge(f.query(x), y), torch.zeros_like(c))
        share, done = torch.full_like(c, self.share), best.hit
        free = torch.ones_like(x, dtype=torch.bool)
        for _ in range(self.searches):
            rows = (~done & (c < MOST)).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            start = torch.where(free[rows], best.x[rows], x[rows])
            found, _ = self._descend(
                f, x[rows], y[rows], start, c[rows], lambda d, _: d.flatten(1).square().sum(1), "l0",
                free=free[rows], enough=torch.full_like(c[rows], math.inf),
            )  # fmt: skip
            best.offer(rows, found.x, found.hit, found.size)
            known = best.hit[rows]
            single = (free[rows] != (best.x != x)[rows]).flatten(1).sum(1) <= 1
            done[rows] = known & ~found.hit & (single | (share[rows] < 1e-3))
            share[rows] = torch.where(known & ~found.hit, share[rows] / 2, share[rows])
            c[rows] = torch.where(known, c[rows], 10 * c[rows])
            rows = rows[known]
            if len(rows):
                free[rows] = self._spare(f, x[rows], y[rows], best.x[rows], share[rows])
        return best.x

    def _spare(self, f: Victim, x: Tensor, y: Tensor, adv: Tensor, share: Tensor) -> Tensor:
        """(N, ...) bool: the changed entries without the least useful ones."""
        adv = adv.requires_grad_()
        grad = f.gradient(gap(f(adv), y, self.targeted).sum(), adv)
        use = (grad * (adv.detach() - x)).abs().flatten(1)
        changed = (adv.detach() != x).flatten(1)
        use, order = torch.where(changed, use, -1.0).sort(dim=1, stable=True)
        total = use.clamp_min(0).cumsum(1)
        gone = total <= share[:, None] * total[:, -1:]
        first = changed.shape[1] - changed.sum(1)  # at least one of the changed entries goes
        gone.scatter_(1, first.clamp_max(changed.shape[1] - 1)[:, None], True)
        return torch.zeros_like(gone).scatter_(1, order, ~gone).view(x.shape)
