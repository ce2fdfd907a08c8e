"""The one-pixel attack: differential evolution over positions and colours of a few pixels; score-based.

Su, Vargas, Sakurai 2019 (2017), arXiv:1710.08864, section III: DE/rand/1 without crossover, F = 0.5, 400 candidates,
initialised with uniform positions and normal colours (mean 0.5, standard deviation 0.5); each child competes with its
own parent, and the search stops as soon as the image is misclassified. The candidates of all images of a batch are
evaluated in one forward pass.

Departures. (1) Fitness is the log odds of the label instead of its probability: the same order, but without rounding to
0 or 1 for confident predictions. (2) Positions outside the image and colours outside [0, 1] are clipped when the image
is rendered, not in the genes. (3) If the attack fails, the best candidate is returned if it has a lower fitness than
the original image, else the original.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from attacks.core import random as noise
from attacks.core.goal import is_adversarial, select
from attacks.core.model import Attack, Victim
from attacks.core.precision import widened
from genlab.core.passes import pass_size
from genlab.core.ranges import Count, Positive, Range, Seed


def log_odds(logits: Tensor, y: Tensor) -> Tensor:
    """(N,), in float32 at least: log p / (1 - p) of the label's probability p."""
    logits = widened(logits)
    others = logits.scatter(1, y[:, None], -math.inf).logsumexp(1)
    return logits.gather(1, y[:, None]).squeeze(1) - others


def three_others(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """u (N, P, 3) uniform in [0, 1) -> for each of P >= 4 candidates the indices (N, P) of three distinct others."""
    n, p, _ = u.shape
    taken = torch.arange(p, device=u.device).expand(n, p)[..., None]
    for k in range(3):
        r = (u[..., k] * (p - 1 - k)).long().clamp_max(p - 2 - k)  # among those left
        for t in taken.sort(-1).values.unbind(-1):
            r = r + (r >= t)
        taken = torch.cat([taken, r[..., None]], -1)
    return taken[..., 1], taken[..., 2], taken[..., 3]


def paint_pixels(x: Tensor, genes: Tensor) -> Tensor:
    """x (N, C, H, W), genes (N, P, k, 2 + C), row, column and colour in [0, 1] -> images (N, P, C, H, W)."""
    n, p, k, _ = genes.shape
    _, c, h, w = x.shape
    row = (genes[..., 0] * h).floor().clamp(0, h - 1).long()
    column = (genes[..., 1] * w).floor().clamp(0, w - 1).long()
    place = row * w + column
    flat = x.flatten(2)[:, None].expand(n, p, c, h * w).clone()
    for i in range(k):  # one after the other: of two pixels at one position the later one counts
        flat.scatter_(3, place[:, :, None, None, i].expand(n, p, c, 1), genes[:, :, i, 2:, None].clamp(0, 1))
    return flat.view(n, p, c, h, w)


@dataclass(frozen=True)
class OnePixel(Attack):
    """Changes at most `pixels` pixels of x (N, C, H, W).

    population: candidates per image. generations: at most, so an image costs at most 1 + population * (generations + 1)
    queries. weight: F, the differential weight. chunk: largest batch of one forward pass; None: as fits the device.
    Raises ValueError if x is not (N, C, H, W).
    """

    pixels: Annotated[int, Range(1, 100)] = 1
    population: Annotated[int, Range(4, 10_000)] = 400
    generations: Annotated[int, Range(0, 10**6)] = 100
    weight: Positive = 0.5
    targeted: bool = False
    chunk: Count | None = None
    seed: Seed = 0

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        if x.ndim != 4:
            raise ValueError(f"OnePixel takes images (N, C, H, W), got shape {tuple(x.shape)}.")
        size = (self.population, self.pixels, 2 + x.shape[1])
        result, rows, key = x.clone(), torch.arange(len(x), device=x.device), noise.key(x, self.seed)
        genes = noise.uniform(key, size)
        genes[..., 2:] = 0.5 + 0.5 * noise.normal(key, (*size[:-1], x.shape[1]))
        genes = genes.to(x.dtype)
        fitness, is_adv = self._evaluate(f, x, y, genes)
        clean = log_odds(f.query(x), y).to(x.dtype) * (-1 if self.targeted else 1)
        for generation in range(self.generations + 1):
            solved = is_adv.any(1)
            value, best = torch.where(solved[:, None] & ~is_adv, math.inf, fitness).min(1)  # a success first
            each = torch.arange(len(rows), device=x.device)
            best_image = paint_pixels(x, genes[each, best][:, None])[:, 0]
            result[rows] = select(solved | (value < clean), best_image, x)
            keep = (~solved).nonzero().squeeze(1)
            if generation == self.generations or len(keep) == 0:
                return result
            x, y, rows, key, genes, fitness, clean = (t[keep] for t in (x, y, rows, key, genes, fitness, clean))
            a, b, c = three_others(noise.uniform(key, (self.population, 3), 1 + generation))
            of = torch.arange(len(rows), device=x.device)[:, None]
            children = genes[of, a] + self.weight * (genes[of, b] - genes[of, c])
            new, is_adv = self._evaluate(f, x, y, children)
            better = new <= fitness
            genes = torch.where(better[..., None, None], children, genes)
            fitness, is_adv = torch.where(better, new, fitness), is_adv & better
        return result

    def _evaluate(self, f: Victim, x: Tensor, y: Tensor, genes: Tensor) -> tuple[Tensor, Tensor]:
        """Fitness, to be minimised, and whether each candidate is adversarial; both (N, P)."""
        n, p = genes.shape[:2]
        flat, owner = genes.flatten(0, 1), torch.arange(n, device=x.device).repeat_interleave(p)
        fitness, hits = [], []
        size = self.chunk or pass_size(x.shape[1:], x.device)
        for part, of in zip(flat.split(size), owner.split(size), strict=True):
            logits = f.query(paint_pixels(x[of], part[:, None])[:, 0])
            odds = log_odds(logits, y[of])
            fitness.append((-odds if self.targeted else odds).to(x.dtype).nan_to_num(math.inf, math.inf, -math.inf))
            hits.append(is_adversarial(logits, y[of], self.targeted))
        return torch.cat(fitness).view(n, p), torch.cat(hits).view(n, p)
