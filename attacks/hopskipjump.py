"""HopSkipJump: minimal perturbation by a decision-based attack, which uses only predicted classes, no logits.

Chen, Jordan, Wainwright 2020, arXiv:1904.02144, Algorithm 2, for L2 and L-infinity: find the boundary by bisection,
estimate its normal from the predictions at random points around it, step along the normal, and return to the boundary.

Departures. Untargeted only (a targeted attack needs an image of the target class to start from). Starting points are
random noise as in the paper, but in blocks of 1, 2, 4 and 8 pixels in turn. Bisection takes the same number of rounds
for every example, log2(1 / theta), at most 20. Every example returns the best point found. Queries per example: 1 for
the original, up to `tries` for the start and `rounds` for bisection; in iteration t, `initial_probes * sqrt(t)` for the
normal, one per step tried and `rounds` for bisection. An iteration starts only if the remaining budget allows at least
one step, so no example costs more than `queries`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from attacks.core import random as noise
from attacks.core.ball import scale
from attacks.core.goal import Smallest, is_adversarial, select
from attacks.core.minimal import size
from attacks.core.model import Attack, Victim
from attacks.spsa import query_in_chunks, sum_dtype
from genlab.core.ranges import Range, Seed, Steps

PROBES = 50  # per forward pass: fixed, so that sums do not depend on the batch
BLOCK_SIZES = (1, 2, 4, 8)


@dataclass(frozen=True)
class HopSkipJump(Attack):
    """norm: to be minimised, "l2" or "linf". queries: budget per example. initial_probes: queries for the first
    estimate of the normal (B_0 in the paper). tries: random starting points at most.
    """

    norm: Literal["l2", "linf"] = "l2"
    queries: Annotated[int, Range(2, 10**12)] = 5000
    initial_probes: Annotated[int, Range(2, 10**6)] = 100
    tries: Steps = 100
    seed: Seed = 0

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best, keys = Smallest(x), noise.key(x, self.seed)
        left = torch.full((len(x),), self.queries, device=x.device)
        d = x[0].numel()
        rounds = min(20, math.ceil((1.5 if self.norm == "l2" else 2) * math.log2(max(2, d))))

        is_adv = self._misclassified(f, x, y, left, torch.arange(len(x), device=x.device))
        best.offer(slice(None), x, is_adv, torch.zeros(len(x), device=x.device))
        adv = self._start(f, x, y, keys, left, best)
        rows = (best.is_adv & (best.size > 0) & (left >= rounds)).nonzero().squeeze(1)
        adv[rows] = self._bisect(f, x[rows], y[rows], adv[rows], left, rows, rounds, best)
        iteration = 0
        while True:
            iteration += 1
            probes = int(self.initial_probes * math.sqrt(iteration))
            rows = rows[left[rows] >= probes + 1 + rounds]
            if len(rows) == 0:
                return best.x
            here, labels, origin = adv[rows], y[rows], x[rows]
            away = self._distance(here, origin)
            radius = torch.full_like(away, 0.1) if iteration == 1 else away / d
            normal = self._normal(f, here, labels, keys[rows], radius, probes, iteration)
            left[rows] -= probes
            there, moved = self._step(f, here, labels, normal, away / math.sqrt(iteration), left, rows, rounds)
            go = rows[moved]
            adv[go] = self._bisect(f, origin[moved], labels[moved], there[moved], left, go, rounds, best)

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        return size(a.to(sum_dtype(a)) - b, self.norm).to(a.dtype)

    @staticmethod
    def _misclassified(f: Victim, x: Tensor, y: Tensor, left: Tensor, rows: Tensor) -> Tensor:
        """(R,) bool: whether x is misclassified, for the examples `rows`, at one query each."""
        left[rows] -= 1
        return is_adversarial(query_in_chunks(f, x), y)

    def _start(self, f: Victim, x: Tensor, y: Tensor, keys: Tensor, left: Tensor, best: Smallest) -> Tensor:
        """A misclassified noise image per example; x itself where none was found."""
        adv = x.clone()
        for draw in range(self.tries):
            rows = (~best.is_adv & (left > 0)).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            new = _block_noise(keys[rows], x.shape[1:], draw).to(x.dtype)
            is_adv = self._misclassified(f, new, y[rows], left, rows)
            adv[rows] = select(is_adv, new, x[rows])
            best.offer(rows, new, is_adv, self._distance(new, x[rows]))
        return adv

    def _bisect(
        self, f: Victim, x: Tensor, y: Tensor, adv: Tensor, left: Tensor, rows: Tensor, rounds: int, best: Smallest
    ) -> Tensor:
        """The last adversarial point between adv (adversarial) and x: along the segment (L2) or by clipping (L-inf)."""
        if len(rows) == 0:
            return adv
        low, found = torch.zeros(len(x), dtype=x.dtype, device=x.device), adv
        high = torch.ones_like(low) if self.norm == "l2" else self._distance(adv, x)
        for _ in range(rounds):
            middle = (low + high) / 2
            if self.norm == "l2":
                new = x + scale(adv - x, middle)
            else:
                reach = middle.view(-1, *[1] * (x.ndim - 1))
                new = torch.minimum(torch.maximum(adv, x - reach), x + reach)
            is_adv = self._misclassified(f, new, y, left, rows)
            found, low, high = (
                select(is_adv, new, found),
                torch.where(is_adv, low, middle),
                torch.where(is_adv, middle, high),
            )
        best.offer(rows, found, torch.ones_like(rows, dtype=torch.bool), self._distance(found, x))
        return found

    def _normal(
        self, f: Victim, x: Tensor, y: Tensor, keys: Tensor, radius: Tensor, probes: int, iteration: int
    ) -> Tensor:
        """Estimated normal of the boundary, equations (9) and (16): of L2 norm 1, or its signs for L-inf."""
        n, d = len(x), x[0].numel()
        sums = torch.zeros(
            2, n, d, dtype=sum_dtype(x), device=x.device
        )  # of the directions, weighted by the predictions and unweighted
        predictions = torch.zeros(n, dtype=sum_dtype(x), device=x.device)
        for start in range(0, probes, PROBES):
            count = min(PROBES, probes - start)
            draw = iteration * 1_000_000 + start
            if self.norm == "l2":
                u = noise.normal(keys, (count, *x.shape[1:]), draw).to(sum_dtype(x))
            else:
                u = noise.uniform(keys, (count, *x.shape[1:]), draw).to(sum_dtype(x)) * 2 - 1
            u = u / u.flatten(2).norm(dim=2).view(n, count, *[1] * (x.ndim - 1))
            r = radius.view(-1, 1, *[1] * (x.ndim - 1))
            points = (x[:, None] + r * u.to(x.dtype)).clamp(0, 1)
            u = ((points - x[:, None]) / r).flatten(2).to(sum_dtype(x))
            sign = (
                is_adversarial(query_in_chunks(f, points.flatten(0, 1)), y.repeat_interleave(count))
                .view(n, count)
                .to(u.dtype)
                * 2
                - 1
            )
            predictions += sign.sum(1)
            sums += torch.stack([(sign[:, None] @ u).squeeze(1), u.sum(1)])
        agreed = predictions.abs() == probes
        grad = torch.where(agreed[:, None], sums[0], sums[0] - (predictions / probes)[:, None] * sums[1]).view_as(x)
        if self.norm == "linf":
            return grad.sign().to(x.dtype)
        return scale(grad, 1 / size(grad, "l2").clamp_min(torch.finfo(grad.dtype).tiny)).to(x.dtype)

    def _step(
        self, f: Victim, x: Tensor, y: Tensor, normal: Tensor, length: Tensor, left: Tensor, rows: Tensor, rounds: int
    ) -> tuple[Tensor, Tensor]:
        """Step along the normal, halved until it is adversarial or the budget is spent; the points, and (R,) bool."""
        there, moved = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        while True:
            todo = (~moved & (left[rows] > rounds)).nonzero().squeeze(1)
            if len(todo) == 0:
                return there, moved
            new = (x[todo] + scale(normal[todo], length[todo])).clamp(0, 1)
            is_adv = self._misclassified(f, new, y[todo], left, rows[todo])
            there[todo] = select(is_adv, new, there[todo])
            moved[todo] = is_adv
            length = torch.where(moved, length, length / 2)


def _block_noise(keys: Tensor, shape: tuple[int, ...], draw: int) -> Tensor:
    """(N, *shape): uniform noise; for images, constant on blocks of BLOCK_SIZES[draw % 4] pixels."""
    block = BLOCK_SIZES[draw % len(BLOCK_SIZES)]
    if len(shape) != 3 or block == 1:
        return noise.uniform(keys, shape, draw)
    c, h, w = shape
    u = noise.uniform(keys, (c, -(-h // block), -(-w // block)), draw)
    return u.repeat_interleave(block, 2).repeat_interleave(block, 3)[..., :h, :w]


@dataclass(frozen=True)
class HopSkipJumpLinf(HopSkipJump):
    """HopSkipJump in the L-infinity norm."""

    norm: Literal["l2", "linf"] = "linf"
