"""HopSkipJump: the smallest change by a decision-based attack, which reads predicted classes and no logits.

Chen, Jordan, Wainwright 2020, arXiv:1904.02144, Algorithm 2, for L2 and L-infinity: find the boundary by bisection,
estimate its normal from the answers at random points around, step along it, and go back to the boundary.

Departures. Untargeted only (a targeted walk needs an image of the target to start from). Starts are random noise as in
the paper, but of ever coarser grain: grains of 1, 2, 4 and 8 pixels in turn. Bisection takes the same number of rounds
for every example, log2(1 / theta), at most 20. Every example returns the best point it has met. Queries per example:
1 for the original, up to `tries` for the start, then rounds, and in iteration t `first * sqrt(t)` probes, the steps
tried and rounds; an iteration begins only if one step is affordable, so no example costs more than `queries`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from attacks.core import random as noise
from attacks.core.ball import scale
from attacks.core.goal import Smallest, chosen, is_adversarial
from attacks.core.minimal import size
from attacks.core.model import Attack, Victim
from attacks.spsa import ask, wide
from genlab.core.ranges import Range, Seed, Steps

PROBES = 50  # asked in one pass: fixed, so that sums never depend on the batch
GRAINS = (1, 2, 4, 8)


@dataclass(frozen=True)
class HopSkipJump(Attack):
    """norm: what is made small; first: probes of the first iteration; tries: random starts at most."""

    norm: Literal["l2", "linf"] = "l2"
    queries: Annotated[int, Range(2, 10**12)] = 5000
    first: Annotated[int, Range(2, 10**6)] = 100
    tries: Steps = 100
    seed: Seed = 0

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best, keys = Smallest(x), noise.key(x, self.seed)
        left = torch.full((len(x),), self.queries, device=x.device)
        d = x[0].numel()
        rounds = min(20, math.ceil((1.5 if self.norm == "l2" else 2) * math.log2(max(2, d))))

        hit = self._fools(f, x, y, left, torch.arange(len(x), device=x.device))
        best.offer(slice(None), x, hit, torch.zeros(len(x), device=x.device))
        adv = self._start(f, x, y, keys, left, best)
        rows = (best.hit & (best.size > 0) & (left >= rounds)).nonzero().squeeze(1)
        adv[rows] = self._bisect(f, x[rows], y[rows], adv[rows], left, rows, rounds, best)
        iteration = 0
        while True:
            iteration += 1
            probes = int(self.first * math.sqrt(iteration))
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
        return size(a.to(wide(a)) - b, self.norm).to(a.dtype)

    @staticmethod
    def _fools(f: Victim, x: Tensor, y: Tensor, left: Tensor, rows: Tensor) -> Tensor:
        """The answers to x for the examples `rows`, one query each."""
        left[rows] -= 1
        return is_adversarial(ask(f, x), y)

    def _start(self, f: Victim, x: Tensor, y: Tensor, keys: Tensor, left: Tensor, best: Smallest) -> Tensor:
        """Noise that fools, per example; x itself where none was found."""
        adv = x.clone()
        for draw in range(self.tries):
            rows = (~best.hit & (left > 0)).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            new = _grain(keys[rows], x.shape[1:], draw).to(x.dtype)
            hit = self._fools(f, new, y[rows], left, rows)
            adv[rows] = chosen(hit, new, x[rows])
            best.offer(rows, new, hit, self._distance(new, x[rows]))
        return adv

    def _bisect(
        self, f: Victim, x: Tensor, y: Tensor, adv: Tensor, left: Tensor, rows: Tensor, rounds: int, best: Smallest
    ) -> Tensor:
        """The last fooling point on the way from adv (fooling) to x: L2 along the segment, L-inf by clipping."""
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
            hit = self._fools(f, new, y, left, rows)
            found, low, high = chosen(hit, new, found), torch.where(hit, low, middle), torch.where(hit, middle, high)
        best.offer(rows, found, torch.ones_like(rows, dtype=torch.bool), self._distance(found, x))
        return found

    def _normal(
        self, f: Victim, x: Tensor, y: Tensor, keys: Tensor, radius: Tensor, probes: int, iteration: int
    ) -> Tensor:
        """The direction in which answers turn wrong, equations (9) and (16): of length 1, or signs for L-inf."""
        n, d = len(x), x[0].numel()
        sums = torch.zeros(2, n, d, dtype=wide(x), device=x.device)  # of the directions, weighted by answers and plain
        answers = torch.zeros(n, dtype=wide(x), device=x.device)
        for start in range(0, probes, PROBES):
            count = min(PROBES, probes - start)
            draw = iteration * 1_000_000 + start
            if self.norm == "l2":
                u = noise.normal(keys, (count, *x.shape[1:]), draw).to(wide(x))
            else:
                u = noise.uniform(keys, (count, *x.shape[1:]), draw).to(wide(x)) * 2 - 1
            u = u / u.flatten(2).norm(dim=2).view(n, count, *[1] * (x.ndim - 1))
            r = radius.view(-1, 1, *[1] * (x.ndim - 1))
            points = (x[:, None] + r * u.to(x.dtype)).clamp(0, 1)
            u = ((points - x[:, None]) / r).flatten(2).to(wide(x))
            sign = (
                is_adversarial(ask(f, points.flatten(0, 1)), y.repeat_interleave(count)).view(n, count).to(u.dtype) * 2
                - 1
            )
            answers += sign.sum(1)
            sums += torch.stack([(sign[:, None] @ u).squeeze(1), u.sum(1)])
        agreed = answers.abs() == probes
        grad = torch.where(agreed[:, None], sums[0], sums[0] - (answers / probes)[:, None] * sums[1]).view_as(x)
        if self.norm == "linf":
            return grad.sign().to(x.dtype)
        return scale(grad, 1 / size(grad, "l2").clamp_min(torch.finfo(grad.dtype).tiny)).to(x.dtype)

    def _step(
        self, f: Victim, x: Tensor, y: Tensor, normal: Tensor, length: Tensor, left: Tensor, rows: Tensor, rounds: int
    ) -> tuple[Tensor, Tensor]:
        """Along the normal, by halves until it fools or the budget ends; the points, and which ones fool."""
        there, moved = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        while True:
            todo = (~moved & (left[rows] > rounds)).nonzero().squeeze(1)
            if len(todo) == 0:
                return there, moved
            new = (x[todo] + scale(normal[todo], length[todo])).clamp(0, 1)
            hit = self._fools(f, new, y[todo], left, rows[todo])
            there[todo] = chosen(hit, new, there[todo])
            moved[todo] = hit
            length = torch.where(moved, length, length / 2)


def _grain(keys: Tensor, shape: tuple[int, ...], draw: int) -> Tensor:
    """(N, *shape): uniform noise; of images, in blocks of GRAINS[draw % 4] pixels."""
    grain = GRAINS[draw % len(GRAINS)]
    if len(shape) != 3 or grain == 1:
        return noise.uniform(keys, shape, draw)
    c, h, w = shape
    u = noise.uniform(keys, (c, -(-h // grain), -(-w // grain)), draw)
    return u.repeat_interleave(grain, 2).repeat_interleave(grain, 3)[..., :h, :w]


@dataclass(frozen=True)
class HopSkipJumpLinf(HopSkipJump):
    """HopSkipJump that makes the largest change of a pixel small."""

    norm: Literal["l2", "linf"] = "linf"
