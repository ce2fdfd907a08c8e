"""The one-pixel attack: differential evolution over where a few pixels are and what colour they get; only asks.

Su, Vargas, Sakurai 2019 (2017), arXiv:1710.08864, section III: DE/rand/1 without crossover, F = 0.5, 400 candidates,
places uniform and colours normal (mean 0.5, deviation 0.5) at first, each child against its own parent, and an end
as soon as the image fools the model. Candidates for all images of a batch are asked in one pass.

Departures. (1) Fitness is the log odds of the label instead of its probability: the same order, but two confident
answers do not round to one number. (2) What leaves the image or [0, 1] is clipped when it is drawn, not in the genes.
(3) An image that was never fooled comes back with its best candidate, if that is better than none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from attacks.core import random as noise
from attacks.core.goal import chosen, is_adversarial
from attacks.core.model import Attack, Victim
from attacks.core.precision import widened
from genlab.core.ranges import Count, Positive, Range, Seed


def log_odds(logits: Tensor, y: Tensor) -> Tensor:
    """(N,), in float32 at least: log p / (1 - p) of the label's probability p."""
    logits = widened(logits)
    others = logits.scatter(1, y[:, None], -math.inf).logsumexp(1)
    return logits.gather(1, y[:, None]).squeeze(1) - others


def three_others(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """u (N, P, 3) uniform in [0, 1) -> for each of P >= 4 candidates three others (N, P), all different."""
    n, p, _ = u.shape
    taken = torch.arange(p, device=u.device).expand(n, p)[..., None]
    for k in range(3):
        r = (u[..., k] * (p - 1 - k)).long().clamp_max(p - 2 - k)  # among those left
        for t in taken.sort(-1).values.unbind(-1):
            r = r + (r >= t)
        taken = torch.cat([taken, r[..., None]], -1)
    return taken[..., 1], taken[..., 2], taken[..., 3]


def draw(x: Tensor, genes: Tensor) -> Tensor:
    """x (N, C, H, W) with the pixels of genes (N, P, k, 2 + C), row, column and colour in [0, 1]: (N, P, C, H, W)."""
    n, p, k, _ = genes.shape
    _, c, h, w = x.shape
    row = (genes[..., 0] * h).floor().clamp(0, h - 1).long()
    column = (genes[..., 1] * w).floor().clamp(0, w - 1).long()
    place = row * w + column
    flat = x.flatten(2)[:, None].expand(n, p, c, h * w).clone()
    for i in range(k):  # one after the other: of two pixels at one place the later one is seen
        flat.scatter_(3, place[:, :, None, None, i].expand(n, p, c, 1), genes[:, :, i, 2:, None].clamp(0, 1))
    return flat.view(n, p, c, h, w)


@dataclass(frozen=True)
class OnePixel(Attack):
    """Changes at most `pixels` pixels. x: (N, C, H, W).

    population, generations: candidates per image, and how often each may be replaced by its child. weight: F.
    chunk: images of one pass at most, for memory.
    """

    pixels: Annotated[int, Range(1, 100)] = 1
    population: Annotated[int, Range(4, 10_000)] = 400
    generations: Annotated[int, Range(0, 10**6)] = 100
    weight: Positive = 0.5
    targeted: bool = False
    chunk: Count = 4096
    seed: Seed = 0

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        if x.ndim != 4:
            raise ValueError(f"pixels are looked for in images (N, C, H, W), got shape {tuple(x.shape)}.")
        size = (self.population, self.pixels, 2 + x.shape[1])
        result, rows, key = x.clone(), torch.arange(len(x), device=x.device), noise.key(x, self.seed)
        genes = noise.uniform(key, size)
        genes[..., 2:] = 0.5 + 0.5 * noise.normal(key, (*size[:-1], x.shape[1]))
        genes = genes.to(x.dtype)
        fitness, hit = self._ask(f, x, y, genes)
        clean = log_odds(f.query(x), y).to(x.dtype) * (-1 if self.targeted else 1)
        for generation in range(self.generations + 1):
            value, best = torch.where(hit.any(1, keepdim=True) & ~hit, math.inf, fitness).min(1)  # a success first
            each = torch.arange(len(rows), device=x.device)
            result[rows] = chosen(hit.any(1) | (value < clean), draw(x, genes[each, best][:, None])[:, 0], x)
            keep = (~hit.any(1)).nonzero().squeeze(1)
            if generation == self.generations or len(keep) == 0:
                return result
            x, y, rows, key, genes, fitness, clean = (t[keep] for t in (x, y, rows, key, genes, fitness, clean))
            a, b, c = three_others(noise.uniform(key, (self.population, 3), 1 + generation))
            of = torch.arange(len(rows), device=x.device)[:, None]
            children = genes[of, a] + self.weight * (genes[of, b] - genes[of, c])
            new, hit = self._ask(f, x, y, children)
            better = new <= fitness
            genes = torch.where(better[..., None, None], children, genes)
            fitness, hit = torch.where(better, new, fitness), hit & better
        return result

    def _ask(self, f: Victim, x: Tensor, y: Tensor, genes: Tensor) -> tuple[Tensor, Tensor]:
        """Fitness, to be lowered, and verdicts, both (N, P)."""
        n, p = genes.shape[:2]
        flat, owner = genes.flatten(0, 1), torch.arange(n, device=x.device).repeat_interleave(p)
        fitness, hits = [], []
        for part, of in zip(flat.split(self.chunk), owner.split(self.chunk), strict=True):
            logits = f.query(draw(x[of], part[:, None])[:, 0])
            odds = log_odds(logits, y[of])
            fitness.append((-odds if self.targeted else odds).to(x.dtype).nan_to_num(math.inf, math.inf, -math.inf))
            hits.append(is_adversarial(logits, y[of], self.targeted))
        return torch.cat(fitness).view(n, p), torch.cat(hits).view(n, p)
