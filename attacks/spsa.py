"""Score-based gradient estimates: finite differences along random directions, then ascent inside a ball.

SPSA: Uesato et al. 2018, arXiv:1802.05666, Algorithm 1: random signs, Adam. NES: Ilyas et al. 2018, arXiv:1804.08598,
Algorithm 1: normal directions in antithetic pairs, steps along the sign of a running mean.

Departures. Both maximise the margin loss (NES's paper: the probability of the target). Probes are clipped to [0, 1], so
every query is an image. The original and every iterate are queried, and an example stops as soon as it is adversarial.
So an example that is never adversarial costs 1 + steps * (2 * samples + 1) queries, where
steps = (queries - 1) // (2 * samples + 1), and no example costs more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from attacks.core import random as noise
from attacks.core.ball import Ball
from attacks.core.goal import Best, is_adversarial, margin
from attacks.core.model import Attack, Victim, finite
from genlab.core.passes import pass_size
from genlab.core.ranges import Count, Positive, Range, Seed

PAIRS = 16  # of probes per forward pass: fixed, so that sums do not depend on the batch


def sum_dtype(x: Tensor) -> torch.dtype:
    """dtype for sums over samples: float64 where the device supports it, else float32."""
    return torch.float32 if x.device.type == "mps" else torch.float64


def query_in_chunks(f: Victim, x: Tensor) -> Tensor:
    """Logits (N, K) of x (N, ...), in batches of bounded size."""
    return torch.cat([f.query(part) for part in x.split(pass_size(x.shape[1:], x.device))])


@dataclass(frozen=True)
class SPSA(Attack):
    """queries: budget per example. samples: pairs of probes x ± sigma * direction per step. sigma: in pixels.
    step_size: learning rate of Adam in pixels; None: eps / 10. Raises ValueError if queries < 2 * samples + 2, the cost
    of one step.
    """

    ball: Ball
    queries: Count = 5000
    samples: Count = 64
    sigma: Annotated[float, Range(0, 1, above=True)] = 0.01
    step_size: Positive | None = None
    targeted: bool = False
    seed: Seed = 0

    def check_relations(self) -> None:
        if self.queries < 2 * self.samples + 2:
            raise ValueError(f"queries must be at least 2 * samples + 2 = {2 * self.samples + 2}, got {self.queries}.")

    def directions(self, keys: Tensor, shape: tuple[int, ...], draw: int) -> Tensor:
        """(N, *shape): random signs."""
        return noise.uniform(keys, shape, draw).sub_(0.5).sign_().add_(0.5).sign_()  # exactly 0.5 becomes 1

    def ascent(self, grad: Tensor, first: Tensor, second: Tensor, step: int) -> Tensor:
        """Adam's update direction (about 1 per pixel); updates both moments, first and second, in place."""
        first.mul_(0.9).add_(grad, alpha=0.1)
        second.mul_(0.99).addcmul_(grad, grad, value=0.01)
        root = (second / (1 - 0.99 ** (step + 1))).sqrt()
        return first / (1 - 0.9 ** (step + 1)) / root.clamp_min(torch.finfo(root.dtype).tiny)

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best, keys = Best(x), noise.key(x, self.seed)
        size = self.ball.eps / 10 if self.step_size is None else self.step_size
        rows, adv = torch.arange(len(x), device=x.device), x.clone()
        first, second = torch.zeros_like(x), torch.zeros_like(x)
        for step in range((self.queries - 1) // (2 * self.samples + 1) + 1):
            if step:
                grad = self._estimate(f, adv, y, keys, step)
                adv = adv + size * self.ascent(grad, first, second, step - 1)
                adv = self.ball.within(x, adv - x)
            logits = query_in_chunks(f, adv)
            is_adv, value = is_adversarial(logits, y, self.targeted), self.objective(logits, y)
            best.offer(rows, adv, is_adv, value)
            if len(keep := (~is_adv).nonzero().squeeze(1)) < len(x):
                x, y, keys, rows, adv, first, second = (v[keep] for v in (x, y, keys, rows, adv, first, second))
                if len(x) == 0:
                    break
        return best.x

    def objective(self, logits: Tensor, y: Tensor) -> Tensor:
        """(N,), to be maximised."""
        return margin(logits, y) if self.targeted else -margin(logits, y)

    def _estimate(self, f: Victim, adv: Tensor, y: Tensor, keys: Tensor, step: int) -> Tensor:
        """(N, ...): the mean of (objective(x + sigma u) - objective(x - sigma u)) u / (2 sigma) over the samples."""
        n, total = len(adv), torch.zeros(adv.shape, dtype=sum_dtype(adv), device=adv.device).flatten(1)
        for start in range(0, self.samples, PAIRS):
            count = min(PAIRS, self.samples - start)
            u = self.directions(keys, (count, *adv.shape[1:]), step * self.samples + start).to(adv.dtype)
            probes = torch.cat([adv[:, None] + self.sigma * u, adv[:, None] - self.sigma * u], 1).clamp_(0, 1)
            logits = query_in_chunks(f, probes.flatten(0, 1))
            value = self.objective(logits, y.repeat_interleave(2 * count)).to(total.dtype).view(n, 2, count)
            derivative = finite(value[:, 0] - value[:, 1]) / (2 * self.sigma * self.samples)  # 0 if one is NaN
            total += (derivative[:, None] @ u.flatten(2).to(total.dtype)).squeeze(1)
        return total.view_as(adv).to(adv.dtype)


@dataclass(frozen=True)
class NES(SPSA):
    """Normal directions; steps along the steepest direction of the ball for a running mean of the estimates.

    momentum: of the running mean.
    """

    momentum: Annotated[float, Range(0, 1, below=True)] = 0.9

    def directions(self, keys: Tensor, shape: tuple[int, ...], draw: int) -> Tensor:
        return noise.normal(keys, shape, draw)

    def ascent(self, grad: Tensor, first: Tensor, second: Tensor, step: int) -> Tensor:
        first.mul_(self.momentum).add_(grad, alpha=1 - self.momentum)
        return self.ball.steepest(first)
