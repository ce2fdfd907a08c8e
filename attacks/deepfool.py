"""DeepFool: steps to the nearest decision boundary of the model linearised at the current point.

Moosavi-Dezfooli, Fawzi, Frossard 2016, arXiv:1511.04599, Algorithm 2 (L2) and section 3.3 (L-infinity).

Departures. (1) The paper ignores the box [0, 1], so clipping removes most of a step; here each step goes to the nearest
point of the linear boundary inside the box, which takes a third of the steps. (2) The overshoot is applied to each step
instead of to the sum, so every iterate can be tested. (3) After the first step only the boundaries of the `nearest`
classes are computed. (4) The end point is not the boundary point nearest to the original: `polish` rounds move it along
the boundary (`minimal.polish`); 0 is the paper's DeepFool.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from attacks.core.drop import drops
from attacks.core.goal import Smallest
from attacks.core.minimal import (
    MinimalAttack,
    clearly_adversarial,
    gradients,
    polish,
    project_to_hyperplane,
    size,
    slack,
)
from attacks.core.model import Victim
from attacks.core.precision import widened
from genlab.core.ranges import Count, Range, Steps


@dataclass(frozen=True)
class DeepFool(MinimalAttack):
    """Untargeted; smallest perturbation in `norm` "l2" or "linf".

    steps: at most. candidates: number of likeliest classes considered, the label included. nearest: classes kept after
    the first step. overshoot: of each step beyond the boundary, relative to the step. polish: rounds of refinement.
    """

    steps: Steps = 50
    candidates: Annotated[int, Range(2, 10**12)] = 10
    nearest: Count = 2
    overshoot: Annotated[float, Range(0, 100)] = 0.02
    polish: Annotated[int, Range(0, 10**6)] = 12
    norm: Literal["l2", "linf"] = "l2"

    def search(self, f: Victim, x: Tensor, y: Tensor, start: Tensor) -> Smallest:
        best = Smallest(x)
        self._walk(f, x, y, start.detach(), best)
        polish(f, x, y, best, self.norm, self.polish)
        return best

    def _walk(self, f: Victim, x: Tensor, y: Tensor, at: Tensor, best: Smallest) -> None:
        rows = torch.arange(len(x), device=x.device)
        classes = None
        for step in range(self.steps + 1):
            last = step == self.steps
            with torch.set_grad_enabled(not last):
                logits = f(at.requires_grad_(not last))
            is_adv = clearly_adversarial(logits.detach(), y, False)
            best.offer(rows, at.detach(), is_adv, size(at.detach() - x, self.norm))
            if last:
                return
            keep = (~best.is_adv[rows]).nonzero().squeeze(1) if drops(step) else None
            if keep is not None and len(keep) == 0:
                return
            clear, logits = 2 * slack(logits)[:, None], widened(logits)
            deficit = logits - logits.gather(1, y[:, None]) - clear  # (N, K): to be raised above zero
            if classes is None:
                count = min(self.candidates, logits.shape[1]) - 1
                classes = deficit.detach().scatter(1, y[:, None], -math.inf).topk(count).indices
            deficit = deficit.gather(1, classes)
            w = gradients(f, deficit, at)  # (N, R, ...)
            at, rise = at.detach(), -deficit.detach().to(x.dtype)
            if keep is not None and len(keep) < len(rows):
                x, y, rows, at, classes, rise, w = (v[keep] for v in (x, y, rows, at, classes, rise, w))
            length = size(w.flatten(0, 1), "l1" if self.norm == "linf" else "l2").view(rise.shape)
            order = (rise / length.clamp_min(torch.finfo(length.dtype).tiny)).argsort(dim=1, stable=True)
            one, near = torch.arange(len(w), device=w.device), order[:, 0]
            rise = rise[one, near] * (1 + self.overshoot)
            at = (at + project_to_hyperplane(at, w[one, near], rise, self.norm)).clamp(0, 1)
            classes = classes.gather(1, order[:, : self.nearest])


@dataclass(frozen=True)
class DeepFoolLinf(DeepFool):
    """DeepFool in the L-infinity norm (section 3.3)."""

    norm: Literal["l2", "linf"] = "linf"
