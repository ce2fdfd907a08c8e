"""FMN, the fast minimum-norm attack: gradient steps projected onto a ball whose radius is adapted.

Pintor, Roli, Brendel, Biggio 2021, arXiv:2102.12827, Algorithm 1: until the first success the radius is
estimated from the linearised margin; then it grows by the factor 1 + gamma while the example is not adversarial and
shrinks by 1 - gamma while it is; in L0 by at least one entry. gamma and the step size follow a cosine schedule.

Departure: entries of the gradient that point out of the box [0, 1] are set to zero, otherwise most of a step, and of
the estimate, is lost to clipping.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.core.ball import lengths
from attacks.core.goal import Smallest
from attacks.core.minimal import MinimalAttack, Norm, clearly_adversarial, cosine, inward, judged, project, size
from attacks.core.model import Victim
from genlab.core.ranges import OpenShare, Positive, Steps

DUAL: dict[str, str] = {"l0": "linf", "l1": "linf", "l2": "l2", "linf": "l1"}


@dataclass(frozen=True)
class FMN(MinimalAttack):
    """Smallest perturbation in `norm` "l2", "linf", "l1" or "l0"; step_size: L2 norm of the first step."""

    steps: Steps = 100
    step_size: Positive = 1.0
    gamma: OpenShare = 0.05
    norm: Norm = "l2"
    targeted: bool = False

    def search(self, f: Victim, x: Tensor, y: Tensor, start: Tensor) -> Smallest:
        best, at, tiny = Smallest(x), start.detach().clone(), torch.finfo(x.dtype).tiny
        radius = torch.full_like(best.size, math.inf)
        for step in range(self.steps):
            is_adv, loss = judged(f(at.requires_grad_()), y, self.targeted)
            grad = f.gradient(loss, at)
            at.requires_grad_(False)
            d = at - x
            length = size(d, self.norm)
            best.offer(slice(None), at, is_adv, length)
            grad = inward(grad, at)
            decay = cosine(step, self.steps)
            gamma, rate = 1e-3 + (self.gamma - 1e-3) * decay, self.step_size * (0.01 + 0.99 * decay)
            left = loss.detach().to(x.dtype).nan_to_num(0.0) / size(grad, DUAL[self.norm]).clamp_min_(tiny)
            estimate = length + left.clamp_min_(self.norm == "l0")
            radius = torch.where(
                is_adv,
                torch.minimum(self._smaller(radius, gamma), best.size),
                torch.where(best.is_adv, self._larger(radius, gamma), estimate),
            )
            d = d.sub_(grad.div_(lengths(grad, 2).clamp_min_(tiny)), alpha=rate)
            at = project(d, radius, self.norm).add_(x).clamp_(0, 1)
        best.offer(slice(None), at, clearly_adversarial(f.query(at), y, self.targeted), size(at - x, self.norm))
        return best

    def _smaller(self, radius: Tensor, gamma: float) -> Tensor:
        """The radius times 1 - gamma; in L0 rounded down, by at least one entry."""
        smaller = radius * (1 - gamma)
        return torch.minimum(smaller.floor(), radius - 1).clamp_min(1) if self.norm == "l0" else smaller

    def _larger(self, radius: Tensor, gamma: float) -> Tensor:
        """The radius times 1 + gamma; in L0 rounded up, by at least one entry."""
        larger = radius * (1 + gamma)
        return torch.maximum(larger.floor(), radius + 1) if self.norm == "l0" else larger


@dataclass(frozen=True)
class FMNLinf(FMN):
    """FMN in the L-infinity norm."""

    step_size: Positive = 10.0
    norm: Norm = "linf"


@dataclass(frozen=True)
class FMNL1(FMN):
    """FMN in the L1 norm."""

    norm: Norm = "l1"


@dataclass(frozen=True)
class FMNL0(FMN):
    """FMN in the L0 norm: the number of entries that change."""

    norm: Norm = "l0"
