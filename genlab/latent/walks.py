"""Latent traversals and interpolation.

Every function returns a batch of codes, in the row-by-row order of `genlab.reporting.grid.grid`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def plane(n: int, least: float = -3.0, most: float = 3.0) -> Tensor:
    """A regular grid of n x n codes (n², 2); the first coordinate grows to the right, the second upwards."""
    line = torch.linspace(least, most, n)
    return torch.cartesian_prod(line.flip(0), line).flip(1)


def quantiles(n: int) -> Tensor:
    """A grid of n x n codes (n², 2) at quantiles of N(0, I): cells of equal probability (Kingma & Welling 2014,
    arXiv:1312.6114, figure 4)."""
    return torch.special.ndtri(plane(n, 0.5 / n, 1 - 0.5 / n))


def traverse(z: Tensor, dimensions: tuple[int, int], values: Tensor) -> Tensor:
    """Latent traversal: the code z (latent,) with two of its `dimensions` set to `values` (n, 2) -> (n, latent)."""
    if z.ndim != 1 or len(set(dimensions)) != 2 or not all(0 <= d < len(z) for d in dimensions):
        raise ValueError(f"a traversal needs two dimensions of a code (latent,), got {dimensions} of {tuple(z.shape)}")
    codes = z.repeat(len(values), 1)
    codes[:, list(dimensions)] = values.to(z)
    return codes


def spherical(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Interpolation on great circles, as `interpolate`: every code on the way from a draw of N(0, I) to another is as
    typical of N(0, I) as they are (White 2016, arXiv:1609.04468, section 2.1)."""
    cosine = torch.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = cosine.acos().view(-1, *[1] * a.ndim)
    t = torch.linspace(0, 1, steps).to(a).view(1, steps, *[1] * (a.ndim - 1))
    return (((1 - t) * angle).sin() * a[:, None] + (t * angle).sin() * b[:, None]).div(angle.sin()).flatten(0, 1)


def interpolate(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Linear interpolation from each code of a (N, ...) to that of b, ends included -> (N steps, ...), pair by pair."""
    if a.shape != b.shape or steps < 2:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise ValueError(f"interpolation needs codes of one shape and at least 2 steps, got {shapes} and {steps} steps")
    t = torch.linspace(0, 1, steps).to(a).view(1, steps, *[1] * (a.ndim - 1))
    return torch.lerp(a[:, None], b[:, None], t).flatten(0, 1)
