"""The L-BFGS attack: minimise the squared norm plus c times the cross-entropy by a quasi-Newton method, in the box.

Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow, Fergus 2014, arXiv:1312.6199, section 4.1. L-BFGS: Nocedal 1980,
two-loop recursion, batched; each example has its own step size, halved until the Armijo condition holds.

Departures. (1) |d|_2^2 instead of |d|. (2) The paper minimises c |d| + loss; here c multiplies the loss, and the
smallest successful c is searched as in `carlini`. (3) The box constraint is handled by projection, not by the full
L-BFGS-B: entries at a bound that are pushed outwards are left out of the direction, and trial points are clipped.
(4) The cross-entropy is between y and the best other class only, so it also serves untargeted attacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from attacks.carlini import CarliniL2
from attacks.core.ball import scale
from attacks.core.drop import drops
from attacks.core.goal import Smallest, select
from attacks.core.minimal import signed_margin, size
from attacks.core.model import Victim
from genlab.core.ranges import Positive, Range, Steps

Pair = tuple[Tensor, Tensor, Tensor]  # step, change of the gradient, 1 / <step, change> or 0


@dataclass(frozen=True)
class LBFGS(CarliniL2):
    """min |d|_2^2 + c * cross-entropy of the goal, in the box [0, 1].

    steps: forward and backward passes per search at most. memory: number of stored L-BFGS pairs. lr: largest change of
    an entry in the first step. patience: number of halvings of a step that ends a search.
    """

    steps: Steps = 100
    searches: Steps = 14
    lr: Positive = 0.1
    initial_c: Positive = 1.0
    memory: Annotated[int, Range(1, 1000)] = 8
    narrow: ClassVar[float] = 1.02  # the cross-entropy continues beyond the boundary, further for a larger c

    def _loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """(N,): the cross-entropy of the goal, between y and the best other class."""
        return softplus(signed_margin(logits, y, self.targeted))

    def _minimise(self, f: Victim, x: Tensor, y: Tensor, start: Tensor, c: Tensor) -> tuple[Smallest, Tensor]:
        found, ended = Smallest(x), torch.zeros_like(y, dtype=torch.bool)
        rows, memory = torch.arange(len(x), device=x.device), list[Pair]()
        at, value, grad = start, torch.full_like(c, torch.inf), torch.zeros_like(x)
        trial, halvings, left = start, torch.zeros_like(y), ~ended
        step = direction = torch.zeros_like(x)
        for n in range(self.steps):
            logits = f(trial.requires_grad_())
            objective = (trial - x).flatten(1).square().sum(1) + c * self._loss(logits, y)
            new_grad = f.gradient(objective, trial)
            trial, objective = trial.detach(), objective.detach().to(x.dtype)
            is_adv = self._is_adversarial(logits, y)
            found.offer(rows, trial, is_adv, size(trial - x, "l2"))
            fell = value.isinf() | (objective <= value + 1e-4 * dot(grad, trial - at))
            small = fell & (value - objective < 1e-4 * objective)
            ended[rows] = torch.where(fell, is_adv, ended[rows])
            moved, turned = trial - at, new_grad - grad
            curve = dot(moved, turned)
            good = fell & ~value.isinf() & (curve > 1e-8 * dot(turned, turned))
            memory = [*memory, (moved, turned, torch.where(good, 1 / curve, 0))][-self.memory :]
            at, grad = select(fell, trial, at), select(fell, new_grad, grad)
            value = torch.where(fell, objective, value)
            halvings = torch.where(fell, 0, halvings + 1)
            left = left & ~small & (halvings < self.patience)
            if drops(n) and len(keep := left.nonzero().squeeze(1)) < len(rows):
                if len(keep) == 0:
                    break
                rows, x, y, c, at, value, grad, halvings, left, fell, step, direction = (
                    v[keep] for v in (rows, x, y, c, at, value, grad, halvings, left, fell, step, direction)
                )
                memory = [(s[keep], t[keep], r[keep]) for s, t, r in memory]
            free = ~((at <= 0) & (grad > 0) | (at >= 1) & (grad < 0))
            direction = select(fell, self._direction(torch.where(free, grad, 0), free, memory), direction)
            step = select(fell, direction, step / 2)
            trial = (at + step).clamp(0, 1)
        return found, ended

    def _direction(self, grad: Tensor, free: Tensor, memory: list[Pair]) -> Tensor:
        """Minus the approximate inverse Hessian times the gradient; without pairs, a gradient step of L-inf norm lr."""
        q, parts, stretch = grad, [], self.lr / size(grad, "linf").clamp_min(torch.finfo(grad.dtype).tiny)
        for _, turned, inverse in memory:  # the last valid pair scales the inverse Hessian
            stretch = torch.where(inverse > 0, 1 / (inverse * dot(turned, turned)).clamp_min(1e-30), stretch)
        for moved, turned, inverse in reversed(memory):
            parts.append(inverse * dot(moved, q))
            q = q - scale(turned, parts[-1])
        q = scale(q, stretch)
        for (moved, turned, inverse), part in zip(memory, reversed(parts), strict=True):
            q = q + scale(moved, part - inverse * dot(turned, q))
        q = torch.where(free, q, 0)
        return -select(dot(q, grad) > 0, q, scale(grad, stretch))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """(N,): inner product per example."""
    return (a * b).flatten(1).sum(1)
