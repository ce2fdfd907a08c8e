"""Gradient ascent inside a ball: FGSM, I-FGSM, MI-FGSM and PGD are four settings of one loop.

FGSM: Goodfellow, Shlens, Szegedy 2015, arXiv:1412.6572. I-FGSM (BIM): Kurakin, Goodfellow, Bengio 2017,
arXiv:1607.02533. MI-FGSM: Dong et al. 2018, arXiv:1710.06081, Algorithm 1. PGD: Madry et al. 2018, arXiv:1706.06083.

Departures. (1) The papers return the last iterate; with `keep_best` each example gets its best iterate: adversarial
ones first, then the one with the highest loss. So the loss is never below that at the start, and a success is never
lost. This costs one extra forward pass, for the last iterate. FGSM follows the paper, with a single pass, and may
overshoot. (2) Any ball, not only L-infinity. (3) `early_stop` drops examples from the batch once they are
misclassified: the same success rate with far fewer passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
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

    step_size: in the norm of the ball; None: 2.5 * eps / steps, so that any point of the ball can be reached from any
    other. `at(eps)` keeps an explicit step_size. restarts: runs from different random points, of which the best result
    is kept. early_stop: misclassified examples leave the batch. keep_best: return the best iterate, not the last. eot:
    passes over which logits and gradients are averaged, for random models.
    Raises ValueError for restarts > 1 without random_start.
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
    eot: Steps = 1
    reach: ClassVar[float] = 2.5  # total length of the default steps, in eps

    def check_relations(self) -> None:
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts must be 1 without random_start, got {self.restarts}.")

    def objective(self, logits: Tensor, y: Tensor) -> Tensor:
        """(N,), to be maximised: the cross-entropy of y, negated if targeted."""
        loss = cross_entropy(logits, y)
        return -loss if self.targeted else loss

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best = Best(x)
        for restart in range(self.restarts):
            self._walk(f, x, y, best, restart)
        return best.x

    def _walk(self, f: Victim, x: Tensor, y: Tensor, best: Best, restart: int) -> None:
        size = self.reach * self.ball.eps / self.steps if self.step_size is None else self.step_size
        track_best = self.keep_best or self.early_stop or self.restarts > 1
        rows: Tensor | slice = slice(None)  # the examples that are still attacked
        if self.early_stop:
            rows = (~best.is_adv).nonzero().squeeze(1)
            x, y = x[rows], y[rows]
        adv = (x + self.ball.random(x, self.seed, restart)).clamp_(0, 1) if self.random_start else x.clone()
        velocity = torch.zeros_like(x) if self.momentum else None

        for step in range(self.steps + track_best):
            if len(x) == 0:
                return
            last = step == self.steps  # this pass only evaluates the last iterate
            logits, objective, grad = f.ascend(adv, partial(self.objective, y=y), self.eot, last)
            is_adv = is_adversarial(logits, y, self.targeted)
            if track_best:
                best.offer(rows, adv, is_adv, objective)
            if grad is None or (self.early_stop and is_adv.all()):
                return
            if isinstance(rows, Tensor) and is_adv.any():
                keep = (~is_adv).nonzero().squeeze(1)
                x, y, adv, grad, rows = x[keep], y[keep], adv[keep], grad[keep], rows[keep]
                velocity = velocity if velocity is None else velocity[keep]
            if velocity is not None:
                length = torch.linalg.vector_norm(grad.flatten(1), 1, dim=1)
                grad = velocity.mul_(self.momentum).add_(scale(grad, torch.where(length > 0, 1 / length, 0)))
            ahead = self.ball.step(adv, grad, size)
            adv = self.ball.within(x, adv.sub_(x).add_(ahead))
        best.x[rows] = adv


@dataclass(frozen=True)
class FGSM(PGD):
    """One step of length eps from the clean image; one forward and one backward pass (Goodfellow et al. 2015)."""

    steps: Steps = 1
    random_start: bool = False
    keep_best: bool = False
    reach: ClassVar[float] = 1.0


@dataclass(frozen=True)
class IFGSM(PGD):
    """PGD that starts at the clean image instead of a random point; Kurakin et al. use steps of 1/255."""

    random_start: bool = False


@dataclass(frozen=True)
class MIFGSM(IFGSM):
    """I-FGSM with momentum: g <- momentum * g + grad / |grad|_1; steps of eps / steps, as in the paper."""

    momentum: Share = 1.0
    reach: ClassVar[float] = 1.0
