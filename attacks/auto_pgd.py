"""Auto-PGD: projected gradient ascent with adaptive step sizes.

Croce & Hein 2020, arXiv:2003.01690, Algorithm 1, and the losses of equations 6 (DLR) and 7 (targeted DLR). Momentum,
rho, the initial step size of 2 eps and the checkpoints are the paper's.

In L1 (Croce & Hein 2021, arXiv:2103.01208, Algorithm 1, and the schedule of section 3.3): sparse steps without
momentum, whose sparsity is that of the best point so far divided by 1.5, projected onto ball and box together; the step
size is reduced while that sparsity stays, and reset, from the best point, when it falls. A run passes through the balls
of radius 3 eps, 2 eps and eps, each from the best point of the one before.

Departures. (1) Examples leave the batch as soon as they are misclassified (`early_stop`): the same success rate with
fewer passes. (2) A `targeted` attack does not know the true label; in the targeted DLR loss the largest logit other
than the target takes its place. (3) In L2 the first start is near the image, as that of PGD.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from attacks.core import random as noise
from attacks.core.ball import L1, Ball, scale
from attacks.core.drop import chosen, drops
from attacks.core.goal import Best, cross_entropy, is_adversarial, likeliest_wrong, margin, select
from attacks.core.model import Attack, Victim
from genlab.core.ranges import Count, Seed, Steps

TINY = 1e-12  # keeps the ratios finite if all logits are equal
ALPHA, RHO = 0.75, 0.75
SPARSER, STAYS = 1.5, 0.95  # L1: steps are sparser than the best point; a share above this is the same sparsity


def spread(logits: Tensor, against: tuple[int, ...]) -> Tensor:
    """(N,): the largest logit minus the mean of the logits with the ranks `against` (the largest has rank 1)."""
    top = logits.topk(max(against), dim=1).values
    return top[:, 0] - top[:, [rank - 1 for rank in against]].mean(1)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """(N,) in [-1, 1]: difference of logits ratio (eq. 6), invariant to shift and scale of the logits; needs K >= 3."""
    _at_least(3, logits)
    return -margin(logits, y) / (spread(logits, (3,)) + TINY)


def targeted_dlr(logits: Tensor, y: Tensor | None, target: Tensor) -> Tensor:
    """(N,): minus the logit margin of y (None: of the best other class) over `target`, as a ratio (eq. 7); K >= 4."""
    _at_least(4, logits)
    if y is None:
        difference = -margin(logits, target)
    else:
        difference = (logits.gather(1, y[:, None]) - logits.gather(1, target[:, None])).squeeze(1)
    return -difference / (spread(logits, (3, 4)) + TINY)


def _at_least(classes: int, logits: Tensor) -> None:
    if logits.shape[1] < classes:
        raise ValueError(f"this DLR loss needs at least {classes} classes, got {logits.shape[1]}.")


def checkpoints(steps: int) -> list[int]:
    """The steps at which the step size may be halved: periods that shrink from 22 % to 6 % of all steps (section 3)."""
    p = [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    return sorted({math.ceil(share * steps - 1e-9) for share in p[1:] if share < 1})


class _State:
    """The variables of Algorithm 1, one row per example that is still attacked."""

    first = 2.0  # step size in eps

    def __init__(
        self, ball: Ball, rows: Tensor | slice, x: Tensor, y: Tensor, target: Tensor | None, adv: Tensor
    ) -> None:
        self.ball = ball
        self.rows, self.x, self.y, self.target = rows, x, y, target
        self.adv = self.previous = adv  # x_k and x_(k-1)
        self.grad = self.top_grad = torch.zeros_like(adv)
        self.top_adv = adv  # x_max
        none = torch.full((len(x),), -math.inf, dtype=x.dtype, device=x.device)
        self.value, self.top, self.top_then = none, none, none  # f(x_k), f_max, f_max at the last checkpoint
        self.size = torch.full_like(none, self.first * ball.eps)
        self.steps = -1  # since the last checkpoint
        self.rises = torch.zeros_like(none)  # of the objective, since then
        self.halved = torch.zeros_like(none, dtype=torch.bool)  # at the last checkpoint

    def keep(self, rows: Tensor) -> None:
        """Keep only the examples `rows`."""
        self.rows = chosen(self.rows, rows)
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and name != "rows":
                setattr(self, name, value[rows])

    def record(self, grad: Tensor, value: Tensor) -> None:
        """Store gradient (N, ...) and objective (N,) at x_k."""
        self.steps += 1
        if self.steps:
            self.rises = self.rises + (value > self.value)
        else:
            self.top_then = value
        better = value > self.top
        self.grad, self.value, self.top = grad, value, torch.where(better, value, self.top)
        mask = better.view(-1, *[1] * (grad.ndim - 1))
        self.top_adv, self.top_grad = torch.where(mask, self.adv, self.top_adv), torch.where(mask, grad, self.top_grad)

    def checkpoint(self) -> None:
        """At a checkpoint: if condition 1 or 2 holds, halve the step size and restart from the best point."""
        stuck = (self.rises < RHO * self.steps) | (~self.halved & (self.top == self.top_then))
        self.size = torch.where(stuck, self.size / 2, self.size)
        self.adv, self.grad = select(stuck, self.top_adv, self.adv), select(stuck, self.top_grad, self.grad)
        self.value = torch.where(stuck, self.top, self.value)
        self.halved, self.top_then = stuck, self.top
        self.steps, self.rises = 0, torch.zeros_like(self.rises)

    def move(self, step: int) -> None:
        """The next iterate: a step along the gradient, with momentum after the first."""
        ahead = self.inside(self.adv + scale(self.ball.steepest(self.grad), self.size))
        if step:
            ahead = self.inside(self.adv.lerp(ahead, ALPHA).add_(self.adv - self.previous, alpha=1 - ALPHA))
        self.previous, self.adv = self.adv, ahead

    def inside(self, adv: Tensor) -> Tensor:
        return self.ball.within(self.x, adv - self.x)


class _SparseState(_State):
    """The variables in L1; support (N,): entries that the best point changes, count (N,): those that a step changes."""

    first = 1.0

    def __init__(
        self, ball: Ball, rows: Tensor | slice, x: Tensor, y: Tensor, target: Tensor | None, adv: Tensor
    ) -> None:
        super().__init__(ball, rows, x, y, target, adv)
        self.support = self.changed()
        self.count = self.support / SPARSER

    def changed(self) -> Tensor:
        return (self.top_adv != self.x).flatten(1).sum(1).to(self.size.dtype)

    def checkpoint(self) -> None:
        """A new sparsity; full steps, from the best point, if it fell, else shorter ones, down to a tenth."""
        before, self.support = self.support, self.changed()
        self.count = self.support / SPARSER
        fell, eps = self.support < STAYS * before, self.ball.eps
        self.size = torch.where(fell, eps, self.size / SPARSER).clamp_min(eps / 10)
        self.adv, self.grad = select(fell, self.top_adv, self.adv), select(fell, self.top_grad, self.grad)

    def move(self, step: int) -> None:
        """The next iterate: the signs of the `count` largest entries of the gradient, scaled to norm `size`."""
        size = self.grad.flatten(1).abs()
        last = (self.count.long() - 1).clamp(0, size.shape[1] - 1)[:, None]
        least = size.sort(dim=1, descending=True).values.gather(1, last)
        signs = self.grad.flatten(1).sign() * (size >= least)
        length = self.size / signs.abs().sum(1).clamp_min(1)
        self.adv = self.inside(self.adv + scale(signs.view_as(self.adv), length))


@dataclass(frozen=True)
class AutoPGD(Attack):
    """APGD: momentum steps; the step size is halved, restarting from the best point, if too few steps raise the loss.

    loss: "ce" (cross-entropy) or "dlr" (difference of logits ratio; needs 3 classes, 4 if targeted). restarts: runs
    from further random points, on the examples that are not misclassified yet. early_stop: misclassified examples leave
    the batch. eot: passes over which logits and gradients are averaged, for random models.
    """

    ball: Ball
    steps: Steps = 100
    loss: Literal["ce", "dlr"] = "ce"
    restarts: Steps = 1
    targeted: bool = False
    early_stop: bool = True
    seed: Seed = 0
    eot: Steps = 1

    def objective(self, logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
        """(N,), to be maximised; target (N,): target class of APGD-T, where y is the true label."""
        if target is not None:
            return targeted_dlr(logits, y, target)
        if self.loss == "dlr":
            return targeted_dlr(logits, None, y) if self.targeted else dlr(logits, y)
        loss = cross_entropy(logits, y)
        return -loss if self.targeted else loss

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best = Best(x)
        for restart in range(self.restarts):
            self.ascend(f, x, y, best, restart)
        return best.x

    def ascend(self, f: Victim, x: Tensor, y: Tensor, best: Best, draw: int, target: Tensor | None = None) -> None:
        """One run from random point number `draw`, on the examples that are not adversarial in `best` yet."""
        rows: Tensor | slice = slice(None)
        if self.early_stop and len(left := (~best.is_adv).nonzero().squeeze(1)) < len(x):
            rows, x, y, target = left, x[left], y[left], None if target is None else target[left]
        if not isinstance(self.ball, L1):
            near = self.ball.near if draw == 0 else 1.0
            start = (x + self.ball.random(x, self.seed, draw).mul_(near)).clamp_(0, 1)
            self._climb(f, _State(self.ball, rows, x, y, target, start), self.steps, checkpoints(self.steps), best)
            return
        d = noise.normal(noise.key(x, self.seed), x.shape[1:], draw).to(x.dtype)
        wide = round(0.3 * self.steps)
        for factor, steps in ((3, wide), (2, wide), (1, self.steps - 2 * wide)):
            ball = self.ball.at(factor * self.ball.eps)
            w = _SparseState(ball, rows, x, y, target, ball.within(x, d))
            every = max(1, int(0.04 * steps))
            self._climb(f, w, steps, range(every, steps, every), best if factor == 1 else None)
            if factor > 1:
                d = w.top_adv - x

    def _climb(self, f: Victim, w: _State, steps: int, checkpoints: Container[int], best: Best | None) -> None:
        """Algorithm 1 from w.adv. best: where iterates are offered; None, in a ball that is too large: nowhere."""
        for step in range(steps + (best is not None)):
            if len(w.x) == 0:
                return
            last = step == steps  # this pass only evaluates the last iterate
            logits, objective, grad = f.ascend(w.adv, partial(self.objective, y=w.y, target=w.target), self.eot, last)
            if best is not None:
                value = objective if w.target is None else -margin(logits.detach(), w.y)  # comparable across targets
                best.offer(w.rows, w.adv, is_adversarial(logits, w.y, self.targeted), value)
            if grad is None:
                return
            w.record(grad, objective.to(w.x.dtype))
            if step in checkpoints:
                w.checkpoint()
            if best is not None and self.early_stop and drops(step):
                if len(keep := (~best.is_adv[w.rows]).nonzero().squeeze(1)) < len(w.x):
                    w.keep(keep)
            w.move(step)


@dataclass(frozen=True)
class AutoPGDT(Attack):
    """APGD-T: targeted DLR loss towards each of the `classes` likeliest wrong classes; any misclassification counts."""

    ball: Ball
    steps: Steps = 100
    classes: Count = 9
    restarts: Steps = 1
    early_stop: bool = True
    seed: Seed = 0

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        apgd = AutoPGD(self.ball, self.steps, early_stop=self.early_stop, seed=self.seed)
        logits, best = f.query(x), Best(x)
        order = likeliest_wrong(logits, y)
        for restart in range(self.restarts):
            for n in range(min(self.classes, logits.shape[1] - 1)):
                apgd.ascend(f, x, y, best, restart * self.classes + n, order[:, n])
        return best.x
