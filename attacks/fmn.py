"""FMN, the fast minimum-norm attack: gradient steps projected onto a ball whose radius is adapted.

Pintor, Roli, Brendel, Biggio 2021, arXiv:2102.12827, Algorithm 1: until the first success the radius is
estimated from the linearised margin; then it grows by the factor 1 + gamma while the example is not adversarial and
shrinks by 1 - gamma while it is. gamma and the step size follow a cosine schedule. Departure: entries of the gradient
that point out of the box [0, 1] are set to zero, otherwise most of a step, and of the estimate, is lost to clipping.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from attacks.core.ball import scale
from attacks.core.goal import Smallest
from attacks.core.minimal import clearly_adversarial, margin_loss, size
from attacks.core.model import Attack, Victim
from genlab.core.ranges import Positive, Range, Steps

Norm = Literal["l1", "l2", "linf"]
DUAL: dict[Norm, Norm] = {"l1": "linf", "l2": "l2", "linf": "l1"}


@dataclass(frozen=True)
class FMN(Attack):
    """Smallest perturbation in `norm` "l2", "linf" or "l1"; step_size: L2 norm of the first step."""

    steps: Steps = 100
    step_size: Positive = 1.0
    gamma: Annotated[float, Range(0, 1, above=True, below=True)] = 0.05
    norm: Norm = "l2"
    targeted: bool = False

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best = Smallest(x)
        best.offer(slice(None), x, clearly_adversarial(f.query(x), y, self.targeted), x.new_zeros(len(x)))
        rows = (~best.is_adv).nonzero().squeeze(1)
        if len(rows):
            found = self._search(f, x[rows], y[rows])
            best.offer(rows, found.x, found.is_adv, found.size)
        return best.x

    def _search(self, f: Victim, x: Tensor, y: Tensor) -> Smallest:
        best, at = Smallest(x), x.clone()
        radius = torch.full_like(best.size, math.inf)
        for step in range(self.steps + 1):
            last = step == self.steps
            with torch.set_grad_enabled(not last):
                logits = f(at.requires_grad_(not last))
            is_adv, length = clearly_adversarial(logits.detach(), y, self.targeted), size(at.detach() - x, self.norm)
            best.offer(slice(None), at.detach(), is_adv, length)
            if last:
                break
            loss = margin_loss(logits, y, self.targeted)
            grad = f.gradient(loss.sum(), at)
            at, loss = at.detach(), loss.detach().to(x.dtype).nan_to_num(0.0).clamp_min(0)
            grad = torch.where((grad > 0) & (at <= 0) | (grad < 0) & (at >= 1), 0, grad)
            decay = (1 + math.cos(math.pi * step / self.steps)) / 2
            gamma, rate = 1e-3 + (self.gamma - 1e-3) * decay, self.step_size * (0.01 + 0.99 * decay)
            dual_norm = size(grad, DUAL[self.norm]).clamp_min(torch.finfo(grad.dtype).tiny)
            grown = torch.where(best.is_adv, radius * (1 + gamma), length + loss / dual_norm)
            radius = torch.where(is_adv, torch.minimum(radius * (1 - gamma), best.size), grown)
            unit = scale(grad, 1 / size(grad, "l2").clamp_min(torch.finfo(grad.dtype).tiny))
            at = (x + project(at - scale(unit, torch.full_like(dual_norm, rate)) - x, radius, self.norm)).clamp(0, 1)
        return best


def project(d: Tensor, radius: Tensor, norm: str) -> Tensor:
    """Projection of d (N, ...) onto the ball of `radius` (N,) in "l1", "l2" or "linf".

    L1: soft thresholding at the level found by sorting (Duchi et al. 2008, "Efficient projections onto the l1-ball").
    """
    if norm == "l2":
        return scale(d, (radius / size(d, "l2").clamp_min(torch.finfo(d.dtype).tiny)).clamp_max(1))
    if norm == "linf":
        return (d.flatten(1).clamp(-radius[:, None], radius[:, None])).view(d.shape)
    flat = d.flatten(1)
    ordered = flat.abs().sort(dim=1, descending=True).values
    excess = ordered.cumsum(1) - torch.minimum(radius, size(d, "l1"))[:, None]
    level = (excess / torch.arange(1, flat.shape[1] + 1, device=d.device)).amax(1, keepdim=True).clamp_min(0)
    return (flat.sign() * (flat.abs() - level).clamp_min(0)).view(d.shape)


@dataclass(frozen=True)
class FMNLinf(FMN):
    """FMN in the L-infinity norm."""

    step_size: Positive = 10.0
    norm: Norm = "linf"


@dataclass(frozen=True)
class FMNL1(FMN):
    """FMN in the L1 norm."""

    norm: Norm = "l1"
