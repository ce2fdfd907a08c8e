"""Square attack: score-based random search that changes one square at a time and keeps what lowers the margin.

Andriushchenko, Croce, Flammarion, Hein 2020, arXiv:1912.00049: Algorithm 1 with the proposals of Algorithms 2 (L-inf)
and 3 (L2). Every candidate is on the surface of the ball before it is clipped. In L1, as in AutoAttack (Croce, Hein
2021, arXiv:2103.01208, section 5), Algorithm 3 moves the L1 norm instead of the squared L2 norm, and candidates are
projected onto ball and box together.

The search minimises the margin or, if targeted, the cross-entropy of the target, as in the paper.

Departures. The original is queried first, so the result is never worse, and an example that is already misclassified
costs one query. An example stops as soon as it is adversarial; one that never is costs exactly `queries`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import pad

from attacks.core import random as noise
from attacks.core.ball import L1, L2, Ball, Linf
from attacks.core.goal import Best, cross_entropy, is_adversarial, margin, select
from attacks.core.model import Attack, Victim
from attacks.spsa import sum_dtype
from genlab.core.ranges import Range, Seed

HALVE = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10000 queries: when the share of the area is halved


@dataclass(frozen=True)
class Square(Attack):
    """queries: budget per example. share: of the image's area that the first squares cover (p in the paper); None: 0.8
    (L-inf, L1) or 0.3 (L2). Raises ValueError if x is not (N, C, H, W).
    """

    ball: Ball
    queries: Annotated[int, Range(2, 10**12)] = 5000
    share: Annotated[float, Range(0, 1, above=True)] | None = None
    targeted: bool = False
    seed: Seed = 0

    def check_relations(self) -> None:
        if not isinstance(self.ball, Linf | L2 | L1):
            raise ValueError(f"ball must be Linf, L2 or L1, got {self.ball!r}.")

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        if x.ndim != 4:
            raise ValueError(f"Square takes images (N, C, H, W), got shape {tuple(x.shape)}.")
        return self.search(f, x, y)

    def search(self, f: Victim, x: Tensor, y: Tensor, start: Tensor | None = None) -> Tensor:
        """Images x (N, C, H, W); start (N, C, H, W): points of the ball where the search begins, else at stripes."""
        best, keys, rows = Best(x), noise.key(x, self.seed), torch.arange(len(x), device=x.device)
        adv, value = x, torch.full((len(x),), -math.inf, dtype=x.dtype, device=x.device)
        for query in range(self.queries):
            if query == 0:
                new = x if start is None else start
            elif query == 1 and start is None:
                new = (x + self._start(x, keys)).clamp(0, 1)
            else:
                propose = self._repaint if isinstance(self.ball, Linf) else self._move_mass
                new = self.ball.within(x, propose(x, adv - x, keys, query))
            logits = f.query(new)
            loss, is_adv = cross_entropy(logits, y), is_adversarial(logits, y, self.targeted)
            found = (
                (-loss if self.targeted else -margin(logits, y)).to(x.dtype).nan_to_num(-math.inf, math.inf, -math.inf)
            )
            best.offer(rows, new, is_adv, -loss if self.targeted else loss)
            better = found > value
            if query == 1 and start is None:  # the search starts at the stripes, even if they do not lower the margin
                better = torch.ones_like(better)
            adv, value = select(better, new, adv), torch.where(better, found, value)
            if is_adv.any():
                keep = (~is_adv).nonzero().squeeze(1)
                x, y, keys, rows, adv, value = (v[keep] for v in (x, y, keys, rows, adv, value))
                if len(x) == 0:
                    break
        return best.x

    def _side(self, x: Tensor, query: int) -> int:
        """Side in pixels of the square at this query."""
        at = 10_000 * (query - 2) / self.queries
        share = 0.3 if isinstance(self.ball, L2) else 0.8
        share = (share if self.share is None else self.share) / 2 ** sum(at > h for h in HALVE)
        side = max(1, round(math.sqrt(share * x.shape[2] * x.shape[3])))
        if not isinstance(self.ball, Linf):
            side = max(3, side) | 1  # odd: a pair of bumps whose larger one has a centre
        return min(side, *x.shape[2:])

    def _start(self, x: Tensor, keys: Tensor) -> Tensor:
        """Initial perturbation. L-inf: vertical stripes of random sign. Else a 5 x 5 grid of pairs of bumps."""
        _, c, h, w = x.shape
        if isinstance(self.ball, Linf):
            return (signs(keys, (c, 1, w), 1).to(x.dtype) * self.ball.eps).expand_as(x)
        side = max(1, min(h, w) // 5)
        rows, columns = h // side, w // side
        each = signs(keys, (c, rows, columns), 1).repeat_interleave(side, 2).repeat_interleave(side, 3)
        grid = each.to(x.dtype) * pair(side, self._order).to(x).T.repeat(rows, columns)
        top, left = (h - rows * side) // 2, (w - columns * side) // 2
        grid = pad(grid, (left, w - columns * side - left, top, h - rows * side - top))
        return self.ball.unit(grid) * self.ball.eps

    @property
    def _order(self) -> int:
        """p of the norm whose p-th power is moved."""
        return 1 if isinstance(self.ball, L1) else 2

    def _repaint(self, x: Tensor, d: Tensor, keys: Tensor, query: int) -> Tensor:
        """Algorithm 2: a square of +-eps, one sign per channel."""
        side, (_, c, h, w) = self._side(x, query), x.shape
        top, left = corners(keys, h, w, side, 1, query).unbind(-1)  # (N, 1) each
        down, right = (torch.arange(s, device=x.device) for s in (h, w))
        inside = ((down >= top) & (down < top + side))[:, :, None] & ((right >= left) & (right < left + side))[:, None]
        paint = signs(keys, (c, 1, 1), query).to(x.dtype) * self.ball.eps
        return torch.where(inside[:, None], paint, d)

    def _move_mass(self, x: Tensor, d: Tensor, keys: Tensor, query: int) -> Tensor:
        """Algorithm 3: moves the budget of a second square, and what is unused, to a pair of bumps in the first."""
        p, side, (n, c, h, w) = self._order, self._side(x, query), x.shape
        where = corners(keys, h, w, side, 2, query)  # (N, 2, 2)
        steps, full = torch.arange(side, device=x.device), d.to(sum_dtype(d))
        one = torch.arange(n, device=x.device).view(-1, 1, 1, 1), torch.arange(c, device=x.device).view(1, -1, 1, 1)
        first, second = (
            (*one, (where[:, i, :1] + steps).view(n, 1, side, 1), (where[:, i, 1:] + steps).view(n, 1, 1, side))
            for i in (0, 1)
        )
        unused = (self.ball.eps**p - full.abs().pow(p).sum((1, 2, 3))).clamp_min(0)
        outside = full.clone()
        outside[first] = outside[second] = 0
        spent = full.abs().pow(p).sum((2, 3)) - outside.abs().pow(p).sum((2, 3))  # (N, C): in both squares
        room = (spent + unused[:, None] / c).clamp_min(0).pow(1 / p)
        upright = pair(side, p).to(full)
        turned = noise.uniform(keys, (1,), 2 * self.queries + query).view(-1, 1, 1, 1) < 0.5
        new = torch.where(turned, upright.T, upright) * signs(keys, (c, 1, 1), query).to(full.dtype)
        new = new + unit(full[first], p)
        outside[first] = unit(new, p) * room[:, :, None, None]
        return outside.to(x.dtype)


def signs(keys: Tensor, shape: tuple[int, ...], draw: int) -> Tensor:
    """(N, *shape) of -1 and 1, each with probability 1/2."""
    return torch.where(noise.uniform(keys, shape, 2 * draw) < 0.5, -1.0, 1.0)


def corners(keys: Tensor, h: int, w: int, side: int, count: int, draw: int) -> Tensor:
    """(N, count, 2) int64: random top and left of squares inside the image."""
    u = noise.uniform(keys, (count, 2), 2 * draw + 1)
    return (u * torch.tensor([h - side + 1, w - side + 1], device=u.device)).long()


def unit(d: Tensor, p: int = 2) -> Tensor:
    """Every channel (..., H, W) scaled to Lp norm 1; zero stays zero."""
    length = torch.linalg.vector_norm(d, p, (-2, -1), keepdim=True)
    return d / length.clamp_min(torch.finfo(d.dtype).tiny)


def hill(h: int, w: int, p: int = 2) -> Tensor:
    """(h, w), h >= w: values that grow towards the centre, equation (2) of the paper; of Lp norm 1.

    For p = 1 they are more peaked, with fourth powers in place of squares, as in the authors' AutoAttack.
    """
    n = h // 2
    r, s = (torch.arange(1, k + 1) for k in (h, w))
    ring = n - torch.maximum((r - h // 2 - 1).abs()[:, None], (s - w // 2 - 1).abs()[None])  # M
    power = {1: 4, 2: 2}[p]
    heights = torch.tensor([1 / (n + 1 - k) ** power for k in range(n + 1)]).cumsum(0)
    return unit(torch.where(ring >= 0, heights[ring.clamp(0, n)], 0.0), p)


def pair(side: int, p: int = 2) -> Tensor:
    """(side, side): a positive bump beside a negative one of the same Lp norm (the paper's have other norms, those of
    the authors' code the same), together of norm 1."""
    half = side // 2
    parts = [hill(side, half, p), -hill(side, side - half, p)] if half else [hill(side, side, p)]
    return unit(torch.cat(parts, 1), p)
