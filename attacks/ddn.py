"""DDN, decoupled direction and norm: gradient steps whose direction and length are set separately.

Rony, Hafemann, Oliveira, Ben Ayed, Sabourin, Granger 2019, arXiv:1811.09600, Algorithm 1: the perturbation takes a step
along the unit gradient and is rescaled to the norm eps, which shrinks by 1 - gamma while the example is adversarial and
grows by 1 + gamma while it is not. The step size follows half a cosine.

Departures. (1) Pixels are not quantised. (2) Entries of the gradient that point out of the box [0, 1] are set to zero.
(3) gamma falls along the same cosine, so that the norm settles. (4) The loss is the margin of the logits, not the
cross-entropy, so that near the boundary the step aims at the nearest class alone. (5) The first norm is the distance to
the boundary of the linearised model, not 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.core.ball import L2, scale
from attacks.core.goal import Smallest
from attacks.core.minimal import MinimalAttack, clearly_adversarial, cosine, inward, judged, size
from attacks.core.model import Victim
from genlab.core.ranges import OpenShare, Steps

STEP = 0.01, 1.0  # the last and the first step size


@dataclass(frozen=True)
class DDN(MinimalAttack):
    """Smallest L2 perturbation. gamma: relative change of the norm per step, at the start."""

    steps: Steps = 100
    gamma: OpenShare = 0.05
    targeted: bool = False
    norm: ClassVar = "l2"

    def search(self, f: Victim, x: Tensor, y: Tensor, start: Tensor) -> Smallest:
        best, at, unit = Smallest(x), start.detach(), L2(0).unit
        eps, farthest = size(start - x, "l2"), size(torch.maximum(x, 1 - x), "l2")
        for step in range(self.steps):
            is_adv, loss = judged(f(at.requires_grad_()), y, self.targeted)
            grad = f.gradient(loss, at)
            at = at.detach()
            best.offer(slice(None), at, is_adv, size(at - x, "l2"))
            decay = cosine(step, self.steps)
            alpha, gamma = STEP[0] + (STEP[1] - STEP[0]) * decay, self.gamma * decay
            grad = inward(grad, at)
            linear = loss.detach().to(x.dtype) / size(grad, "l2").clamp_min(torch.finfo(x.dtype).tiny)
            eps = torch.where(eps > 0, eps * torch.where(is_adv, 1 - gamma, 1 + gamma), linear)
            eps = torch.minimum(eps.nan_to_num(0.0), farthest)
            d = at - x - alpha * unit(grad)
            at = (x + scale(unit(d), eps)).clamp(0, 1)
        best.offer(slice(None), at, clearly_adversarial(f.query(at), y, self.targeted), size(at - x, "l2"))
        return best
