"""Auto-PGD: gradient ascent in a ball that finds its own step sizes.

Croce & Hein 2020, arXiv:2003.01690, Algorithm 1, and the losses of equations 6 (DLR) and 7 (targeted DLR). Momentum,
rho, the first step of 2 eps and the checkpoints are the paper's, and nobody needs to choose them.

Departures. (1) Examples leave the batch as soon as they are fooled (`early_stop`): same verdicts, fewer passes. (2) A
`targeted` attack knows no true label, so there the largest logit but the wanted one takes the true one's place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from attacks.core.ball import Ball, scale
from attacks.core.goal import Best, chosen, cross_entropy, is_adversarial, margin
from attacks.core.model import Attack, Victim
from genlab.core.ranges import Count, Seed, Steps

TINY = 1e-12  # keeps the ratios finite where all logits are equal
ALPHA, RHO = 0.75, 0.75


def spread(logits: Tensor, against: tuple[int, ...]) -> Tensor:
    """(N,): the largest logit minus the mean of those with the ranks `against` (the largest has rank 1)."""
    top = logits.topk(max(against), dim=1).values
    return top[:, 0] - top[:, [rank - 1 for rank in against]].mean(1)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """(N,) in [-1, 1]: difference of logits ratio (eq. 6), blind to shifts and scalings of the logits; needs K >= 3."""
    _at_least(3, logits)
    return -margin(logits, y) / (spread(logits, (3,)) + TINY)


def targeted_dlr(logits: Tensor, y: Tensor | None, target: Tensor) -> Tensor:
    """(N,): minus the lead of label y, or of any label if None, over `target`, as a ratio (eq. 7); needs K >= 4."""
    _at_least(4, logits)
    if y is None:
        lead = -margin(logits, target)
    else:
        lead = (logits.gather(1, y[:, None]) - logits.gather(1, target[:, None])).squeeze(1)
    return -lead / (spread(logits, (3, 4)) + TINY)


def _at_least(classes: int, logits: Tensor) -> None:
    if logits.shape[1] < classes:
        raise ValueError(f"this difference of logits ratio needs at least {classes} classes, got {logits.shape[1]}.")


def checkpoints(steps: int) -> list[int]:
    """The steps after which the step size is judged: shorter and shorter periods, from 22 % down to 6 % of all."""
    p = [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    return sorted({math.ceil(share * steps - 1e-9) for share in p[1:] if share < 1})


class _Walk:
    """What Algorithm 1 remembers, one row per example that is still walking."""

    def __init__(self, rows: Tensor, x: Tensor, y: Tensor, target: Tensor | None, adv: Tensor, size: float) -> None:
        self.rows, self.x, self.y, self.target = rows, x, y, target
        self.adv = self.behind = adv  # x_k and x_(k-1)
        self.grad = self.top_grad = torch.zeros_like(adv)
        self.top_adv = adv  # x_max
        none = torch.full((len(x),), -math.inf, dtype=x.dtype, device=x.device)
        self.value, self.top, self.top_then = none, none, none  # f(x_k), f_max, f_max at the last checkpoint
        self.size = torch.full_like(none, size)
        self.steps = self.rises = torch.zeros_like(none)  # since the last checkpoint
        self.halved = torch.zeros_like(rows, dtype=torch.bool)  # at the last checkpoint

    def keep(self, mask: Tensor) -> None:
        """Drop the other examples."""
        keep = mask.nonzero().squeeze(1)
        for name, value in vars(self).items():
            setattr(self, name, None if value is None else value[keep])

    def arrive(self, grad: Tensor, value: Tensor) -> None:
        """Gradient and objective at x_k."""
        first = self.value == -math.inf
        self.grad = grad
        self.rises, self.steps = self.rises + (~first & (value > self.value)), self.steps + (~first)
        better, self.value = value > self.top, value
        self.top = torch.where(better, value, self.top)
        self.top_adv, self.top_grad = chosen(better, self.adv, self.top_adv), chosen(better, grad, self.top_grad)
        self.top_then = torch.where(first, value, self.top_then)

    def judge(self) -> None:
        """At a checkpoint: conditions 1 and 2 halve the step and send the walk back to its best point."""
        stuck = (self.rises < RHO * self.steps) | (~self.halved & (self.top == self.top_then))
        self.size = torch.where(stuck, self.size / 2, self.size)
        self.adv, self.grad = chosen(stuck, self.top_adv, self.adv), chosen(stuck, self.top_grad, self.grad)
        self.value = torch.where(stuck, self.top, self.value)
        self.halved, self.top_then = stuck, self.top
        self.steps = self.rises = torch.zeros_like(self.rises)


@dataclass(frozen=True)
class AutoPGD(Attack):
    """Steps with momentum that halve, from the best point again, when too few of them raise the loss.

    loss: "ce", cross-entropy, or "dlr". restarts: walks from other random points, for examples not fooled yet.
    """

    ball: Ball
    steps: Steps = 100
    loss: Literal["ce", "dlr"] = "ce"
    restarts: Steps = 1
    targeted: bool = False
    early_stop: bool = True
    seed: Seed = 0

    def objective(self, logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
        """(N,), to be raised; `target` is a class to aim at although y is the true label."""
        if target is not None:
            return targeted_dlr(logits, y, target)
        if self.loss == "dlr":
            return targeted_dlr(logits, None, y) if self.targeted else dlr(logits, y)
        loss = cross_entropy(logits, y)
        return -loss if self.targeted else loss

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best = Best(x)
        for restart in range(self.restarts):
            self.walk(f, x, y, best, restart)
        return best.x

    def walk(self, f: Victim, x: Tensor, y: Tensor, best: Best, draw: int, target: Tensor | None = None) -> None:
        """One walk from the draw-th random point, for the examples that `best` has not seen fooled."""
        rows = (~best.hit if self.early_stop else torch.ones_like(best.hit)).nonzero().squeeze(1)
        x, y, target = x[rows], y[rows], None if target is None else target[rows]
        judged = checkpoints(self.steps)
        start = (x + self.ball.random(x, self.seed, draw)).clamp_(0, 1)
        w = _Walk(rows, x, y, target, start, 2 * self.ball.eps)
        for step in range(self.steps + 1):
            if len(w.rows) == 0:
                return
            last = step == self.steps  # this pass only judges the last iterate
            adv = w.adv.detach().requires_grad_(not last)  # x_k itself may be x_max too, which needs no gradient
            with torch.set_grad_enabled(not last):
                logits = f(adv)
                objective = self.objective(logits, w.y, w.target)
            hit = is_adversarial(logits, w.y, self.targeted)
            value = objective if w.target is None else -margin(logits, w.y)  # comparable from target to target
            best.offer(w.rows, w.adv, hit, value.detach())
            if last or (self.early_stop and hit.all()):
                return
            grad = f.gradient(objective.sum(), adv)
            w.arrive(grad, objective.detach().to(x.dtype))
            if step in judged:
                w.judge()
            if self.early_stop and hit.any():
                w.keep(~hit)
            ahead = self._inside(w.x, w.adv + scale(self.ball.steepest(w.grad), w.size))
            if step:
                ahead = self._inside(w.x, w.adv + ALPHA * (ahead - w.adv) + (1 - ALPHA) * (w.adv - w.behind))
            w.behind, w.adv = w.adv, ahead

    def _inside(self, x: Tensor, adv: Tensor) -> Tensor:
        return self.ball.project(adv - x).add_(x).clamp_(0, 1)


@dataclass(frozen=True)
class AutoPGDT(Attack):
    """APGD-T: aims with the targeted DLR at each of the `classes` likeliest wrong classes in turn; any error counts."""

    ball: Ball
    steps: Steps = 100
    classes: Count = 9
    restarts: Steps = 1
    early_stop: bool = True
    seed: Seed = 0

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        walker = AutoPGD(self.ball, self.steps, early_stop=self.early_stop, seed=self.seed)
        logits, best = f.query(x), Best(x)
        order = logits.scatter(1, y[:, None], -math.inf).argsort(dim=1, descending=True, stable=True)
        for restart in range(self.restarts):
            for n in range(min(self.classes, logits.shape[1] - 1)):
                walker.walk(f, x, y, best, restart * self.classes + n, order[:, n])
        return best.x
