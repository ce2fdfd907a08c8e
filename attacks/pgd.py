"""Gradient ascent inside a ball: FGSM, I-FGSM, MI-FGSM and PGD are four settings of one loop.

FGSM: Goodfellow, Shlens, Szegedy 2015, arXiv:1412.6572. I-FGSM (BIM): Kurakin, Goodfellow, Bengio 2017,
arXiv:1607.02533. MI-FGSM: Dong et al. 2018, arXiv:1710.06081, Algorithm 1. PGD: Madry et al. 2018, arXiv:1706.06083.

Departures. (1) The papers return the last iterate; here (`keep_best`) each example gets its best one: an iterate that
fools the model before one that does not, then the higher loss. So the loss is never below that of the walk's start, and
a success is never walked away from. It costs one forward pass for the last iterate, none for the others. FGSM keeps the
paper's letter and its single pass, so it may overshoot. (2) Any ball, not only L-infinity.
(3) `early_stop` drops examples from the batch once they are fooled: same verdicts, far fewer passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.core.ball import Ball, scale
from attacks.core.goal import Best, cross_entropy, is_adversarial
from attacks.core.model import Attack, Victim
from genlab.core.ranges import Positive, Seed, Share, Steps


@dataclass(frozen=True)
class PGD(Attack):
    """x <- project(x + step_size * steepest(gradient of the loss)).

    step_size is in the norm of the ball; None means 2.5 * eps / steps, which reaches any point of the ball from any
    other. `at(eps)` keeps an explicit step_size. restarts > 1 walks from other random points and keeps the best.
    """

    ball: Ball
    steps: Steps = 40
    step_size: Positive | None = None
    random_start: bool = True
    momentum: Share = 0.0
    restarts: Steps = 1
    targeted: bool = False
    early_stop: bool = False
    keep_best: bool = True
    seed: Seed = 0
    reach: ClassVar[float] = 2.5  # length of the default walk, in eps

    def check_relations(self) -> None:
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts must be 1 without random_start, got {self.restarts}.")

    def objective(self, logits: Tensor, y: Tensor) -> Tensor:
        """(N,), to be raised: how far each example is from its label or, if targeted, how near."""
        loss = cross_entropy(logits, y)
        return -loss if self.targeted else loss

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best = Best(x)
        for restart in range(self.restarts):
            self._walk(f, x, y, best, restart)
        return best.x

    def _walk(self, f: Victim, x: Tensor, y: Tensor, best: Best, restart: int) -> None:
        size = self.reach * self.ball.eps / self.steps if self.step_size is None else self.step_size
        judge = self.keep_best or self.early_stop or self.restarts > 1
        rows: Tensor | slice = slice(None)  # the examples that are still walking
        if self.early_stop:
            rows = (~best.hit).nonzero().squeeze(1)
            x, y = x[rows], y[rows]
        adv = (x + self.ball.random(x, self.seed, restart)).clamp_(0, 1) if self.random_start else x.clone()
        velocity = torch.zeros_like(x) if self.momentum else None

        for step in range(self.steps + judge):
            if len(x) == 0:
                return
            last = step == self.steps  # this pass only judges the last iterate
            logits = f.query(adv) if last else f(adv.requires_grad_())
            objective = self.objective(logits, y)
            hit = is_adversarial(logits, y, self.targeted)
            if judge:
                best.offer(rows, adv.detach(), hit, objective.detach())
            if last or (self.early_stop and hit.all()):
                return
            grad = f.gradient(objective.sum(), adv)
            adv = adv.detach()
            if isinstance(rows, Tensor) and hit.any():
                keep = (~hit).nonzero().squeeze(1)
                x, y, adv, grad, rows = x[keep], y[keep], adv[keep], grad[keep], rows[keep]
                velocity = velocity if velocity is None else velocity[keep]
            if velocity is not None:
                length = torch.linalg.vector_norm(grad.flatten(1), 1, dim=1)
                grad = velocity.mul_(self.momentum).add_(scale(grad, torch.where(length > 0, 1 / length, 0)))
            d = adv.sub_(x).add_(self.ball.steepest(grad), alpha=size)
            adv = self.ball.project(d).add_(x).clamp_(0, 1)
        best.x[rows] = adv


@dataclass(frozen=True)
class FGSM(PGD):
    """One step of length eps from the clean image; one forward and one backward pass."""

    steps: Steps = 1
    random_start: bool = False
    keep_best: bool = False
    reach: ClassVar[float] = 1.0


@dataclass(frozen=True)
class IFGSM(PGD):
    """PGD from the clean image instead of a random point (Kurakin et al. take steps of 1/255)."""

    random_start: bool = False


@dataclass(frozen=True)
class MIFGSM(IFGSM):
    """Along a running sum of gradients, each divided by its L1 norm: g <- momentum * g + grad / |grad|_1.

    Steps of eps / steps, the paper's.
    """

    momentum: Share = 1.0
    reach: ClassVar[float] = 1.0
