"""EAD, the elastic-net attack: Carlini and Wagner's objective with an L1 term, for sparse perturbations.

Chen, Sharma, Zhang, Yi, Hsieh 2018, arXiv:1709.04114, Algorithm 1 (FISTA), equations 5-9.

Departures, as in `carlini`: per-example step sizes that decay when the loss stalls, and each search for c starts from
the best adversarial example so far. The soft threshold is beta times the step size, as in Beck and Teboulle's FISTA,
where the paper's is beta alone; so beta is the weight of the L1 term in the objective. The paper's beta = 0.01 with
steps of 0.01 corresponds to beta = 1 here; 3 gives smaller L1 norms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from attacks.carlini import LR_DECAY, MIN_LR_RATIO, TOLERANCE, CarliniL2
from attacks.core.ball import scale
from attacks.core.drop import drops
from attacks.core.goal import Smallest
from attacks.core.minimal import Norm, margin_loss, size
from attacks.core.model import Victim
from genlab.core.ranges import Positive, Steps


@dataclass(frozen=True)
class EAD(CarliniL2):
    """min |d|_2^2 + beta |d|_1 + c * max(margin + confidence, 0) by FISTA with step size lr, in the box [0, 1].

    rule: decision rule for the smallest adversarial example, "l1" or "en", the elastic net |d|_2^2 + beta |d|_1.
    """

    norm: ClassVar[Norm] = "l1"
    steps: Steps = 500
    lr: Positive = 0.02
    beta: Positive = 3.0
    rule: Literal["l1", "en"] = "l1"

    def _elastic(self, d: Tensor) -> Tensor:
        return d.flatten(1).square().sum(1) + self.beta * size(d, "l1")

    def _minimise(self, f: Victim, x: Tensor, y: Tensor, start: Tensor, c: Tensor) -> tuple[Smallest, Tensor]:
        found, ended = Smallest(x), torch.zeros_like(y, dtype=torch.bool)
        rows, recent, left = torch.arange(len(x), device=x.device), ended.clone(), ~ended
        at = slack = start  # slack: the extrapolated point, where gradients are taken
        rate, before = torch.full_like(c, self.lr), torch.full_like(c, math.inf)
        lowest = before
        for step in range(self.steps):
            logits = f(slack.requires_grad_())
            d = slack - x
            lost = c * margin_loss(logits, y, self.targeted, self.confidence).clamp_min(0)
            smooth = d.flatten(1).square().sum(1) + lost
            grad = f.gradient(smooth, slack)
            slack, d = slack.detach(), d.detach()
            is_adv = self._is_adversarial(logits, y)
            rule = self._elastic(d) if self.rule == "en" else size(d, "l1")
            found.offer(rows, slack, is_adv, rule)
            recent |= is_adv
            ended[rows] = recent
            lowest = torch.minimum(lowest, self._elastic(d) + lost.detach())
            if step % self.patience == self.patience - 1:
                stalled = lowest >= (1 - TOLERANCE) * before
                rate = torch.where(stalled, LR_DECAY * rate, rate)
                left = left & (~stalled | (recent & (rate > MIN_LR_RATIO * self.lr)))
                before, recent = lowest, torch.zeros_like(recent)
            if drops(step) and len(keep := left.nonzero().squeeze(1)) < len(rows):
                if len(keep) == 0:
                    break
                x, y, c, rows, at, slack, grad, recent, left, rate, before, lowest = (
                    v[keep] for v in (x, y, c, rows, at, slack, grad, recent, left, rate, before, lowest)
                )
            moved = slack - scale(grad, rate) - x
            limit = (self.beta * rate).view(-1, *[1] * (x.ndim - 1))
            after = (x + moved.sign() * (moved.abs() - limit).clamp_min(0)).clamp(0, 1)
            slack = (after + step / (step + 3) * (after - at)).clamp(0, 1)
            at = after
        return found, ended
