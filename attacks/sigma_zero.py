"""sigma-zero: gradient descent on a smooth count of the changed entries, with a threshold that makes it exact.

Cina, Villani, Pintor, Schoenherr, Biggio, Pelillo 2025, arXiv:2402.01879, Algorithm 1: minimise max(margin, 0) plus the
mean of d^2 / (d^2 + sigma) (eq. 4 and 6) by Adam on the gradient scaled to L-infinity norm 1; after each step, entries
below the threshold tau are set to zero. tau grows by 0.01 eta while the example is adversarial and falls while it is
not; the step size eta follows half a cosine down to a tenth.

Departure: when the search has ended, entries of the best example are restored, smallest first, as long as the example
stays adversarial (`polish`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from attacks.core.ball import Linf
from attacks.core.goal import Smallest
from attacks.core.minimal import Adam, MinimalAttack, clearly_adversarial, cosine, judged, polish, size
from attacks.core.model import Victim
from genlab.core.ranges import Positive, Range, Share, Steps

PACE = 0.01  # change of tau per step, in step sizes


@dataclass(frozen=True)
class SigmaZero(MinimalAttack):
    """Fewest changed entries (L0). step_size: eta_0; sigma: of the smooth count; tau: the first threshold; polish:
    rounds in which entries are restored at the end, one forward pass each.
    """

    steps: Steps = 200
    step_size: Positive = 1.0
    sigma: Positive = 1e-3
    tau: Share = 0.3
    polish: Annotated[int, Range(0, 10)] = 10
    targeted: bool = False
    norm: ClassVar = "l0"

    def search(self, f: Victim, x: Tensor, y: Tensor, start: Tensor) -> Smallest:
        best, at, adam = Smallest(x), start.detach(), Adam(x)
        tau = torch.full((len(x), *[1] * (x.ndim - 1)), self.tau, dtype=x.dtype, device=x.device)
        for step in range(self.steps):
            is_adv, loss = judged(f(at.requires_grad_()), y, self.targeted)
            square = (at - x).square()
            count = (square / (square + self.sigma)).flatten(1).mean(1)
            grad = f.gradient(loss.clamp_min(0) + count, at)
            at = at.detach()
            best.offer(slice(None), at, is_adv, size(at - x, "l0"))
            eta = self.step_size * (0.1 + 0.9 * cosine(step, self.steps))
            d = (at - eta * adam.step(Linf(0).unit(grad))).clamp(0, 1) - x
            tau = (tau + PACE * eta * torch.where(is_adv, 1.0, -1.0).view_as(tau)).clamp(0, 1)
            at = x + d * (d.abs() >= tau)
        best.offer(slice(None), at, clearly_adversarial(f.query(at), y, self.targeted), size(at - x, "l0"))
        polish(f, x, y, best, "l0", self.polish, self.targeted)
        return best
