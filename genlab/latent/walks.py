"""Walks through a latent space: along two of its dimensions, over the plane, from one code to another.

Every walk is a batch of codes, row by row as `genlab.reporting.grid.grid` lays out their pictures.
"""

from __future__ import annotations

import torch
from torch import Tensor


def plane(n: int, least: float = -3.0, most: float = 3.0) -> Tensor:
    """n x n codes (n², 2), evenly spaced; the first coordinate grows to the right, the second upwards."""
    line = torch.linspace(least, most, n)
    return torch.cartesian_prod(line.flip(0), line).flip(1)


def quantiles(n: int) -> Tensor:
    """The plane at n x n quantiles of N(0, I), (n², 2): cells of equal probability (Kingma & Welling 2014,
    arXiv:1312.6114, figure 4)."""
    return torch.special.ndtri(plane(n, 0.5 / n, 1 - 0.5 / n))


def traverse(z: Tensor, dimensions: tuple[int, int], places: Tensor) -> Tensor:
    """One code z (latent,) with two of its `dimensions` replaced by `places` (n, 2) -> (n, latent)."""
    if z.ndim != 1 or len(set(dimensions)) != 2 or not all(0 <= d < len(z) for d in dimensions):
        raise ValueError(f"two dimensions of one code (latent,) are swept, got {dimensions} of {tuple(z.shape)}")
    swept = z.repeat(len(places), 1)
    swept[:, list(dimensions)] = places.to(z)
    return swept


def interpolate(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """From each code of a (N, ...) straight to that of b, both included -> (N steps, ...), one walk after the other."""
    if a.shape != b.shape or steps < 2:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise ValueError(f"a walk has two ends of one shape and at least 2 steps, got {shapes} and {steps} steps")
    t = torch.linspace(0, 1, steps).to(a).view(1, steps, *[1] * (a.ndim - 1))
    return torch.lerp(a[:, None], b[:, None], t).flatten(0, 1)
