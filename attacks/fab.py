"""FAB-T, the fast adaptive boundary attack: minimal-norm steps to the linearised boundary of one class after another.

Croce, Hein 2020, arXiv:1907.02044, Algorithm 1, in the targeted version of AutoAttack (arXiv:2003.01690, section 4):
the current point and the original are both projected onto the linearised boundary inside the box, and the next point
is a convex combination of the two, with weight alpha = min(d / (d + d_orig), 0.1) on the original; after a success the
point is moved back towards the original by the factor beta. Overshoot eta = 1.05 and beta = 0.9 are the paper's.

Departures. (1) The ball serves only to restart and to stop: an example whose smallest perturbation lies in it leaves
the batch, as in AutoAttack. (2) No final binary search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.core.ball import Ball, scale
from attacks.core.goal import Smallest, is_adversarial, likeliest_wrong, select
from attacks.core.minimal import Norm, project_to_hyperplane, size
from attacks.core.model import Attack, Victim
from genlab.core.ranges import Count, Seed, Steps

ALPHA, BETA, ETA = 0.1, 0.9, 1.05


@dataclass(frozen=True)
class FABT(Attack):
    """Untargeted success through the boundaries of the `classes` likeliest wrong classes, `steps` steps each."""

    ball: Ball
    steps: Steps = 100
    classes: Count = 9
    restarts: Steps = 1
    seed: Seed = 0
    check_every: ClassVar[int] = 10  # steps after which finished examples leave the batch

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        logits, best = f.query(x), Smallest(x)
        best.offer(slice(None), x, is_adversarial(logits, y), x.new_zeros(len(x)))
        order = likeliest_wrong(logits, y)
        for restart in range(self.restarts):
            for n in range(min(self.classes, logits.shape[1] - 1)):
                self._walk(f, x, y, order[:, n], best, restart)
        return select(best.size <= self.ball.eps, best.x, x)

    def _walk(self, f: Victim, x: Tensor, y: Tensor, target: Tensor, best: Smallest, restart: int) -> None:
        norm: Norm = self.ball.name  # type: ignore[assignment]
        every = torch.arange(len(x), device=x.device)
        rows = every[best.size > self.ball.eps]
        at = x[rows]
        if restart:
            at = (at + self.ball.random(at, self.seed, restart) / 2).clamp(0, 1)
        for step in range(self.steps):
            if step % self.check_every == 0:
                keep = (best.size[rows] > self.ball.eps).nonzero().squeeze(1)
                rows, at = rows[keep], at[keep]
            if len(rows) == 0:
                return
            clean, label = x[rows], y[rows]
            logits = f(at.requires_grad_())
            lead = (logits.gather(1, label[:, None]) - logits.gather(1, target[rows, None])).squeeze(1)
            w = f.gradient(lead.sum(), at)
            at, lead = at.detach(), lead.detach().to(x.dtype)
            there = project_to_hyperplane(at, w, -lead, norm)
            back = project_to_hyperplane(clean, w, -lead + (w * (at - clean)).flatten(1).sum(1), norm)
            here, far = size(there, norm).clamp_min(1e-8), size(back, norm).clamp_min(1e-8)
            alpha = (here / (here + far)).clamp_max(ALPHA)
            at = scale(at + ETA * there, 1 - alpha) + scale(clean + ETA * back, alpha)
            at = at.clamp(0, 1)
            is_adv = is_adversarial(f.query(at), label)
            best.offer(rows, at, is_adv, size(at - clean, norm))
            at = select(is_adv, clean + BETA * (at - clean), at)
