"""Is a generator's latent space regular? How evenly its images change along a line, and whether a dimension of z does
the same everywhere.

`f` maps codes z (N, latent) to features (N, d) of the images that are decoded from them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genlab.latent.walks import spherical

Map = Callable[[Tensor], Tensor]


@torch.no_grad()
def largest_step(f: Map, a: Tensor, b: Tensor, steps: int = 16) -> Tensor:
    """On the great circle from each code of a (N, latent) to that of b, in equal steps: the largest change of f in a
    step relative to the mean change, (N,); from 1 (even) to `steps` (all at once)."""
    lengths = f(spherical(a, b, steps + 1)).unflatten(0, (len(a), steps + 1)).diff(dim=1).norm(dim=2)
    return lengths.amax(1) / lengths.mean(1).clamp(min=1e-12)


@torch.no_grad()
def common_effect(f: Map, z: Tensor, reach: float = 2.0) -> tuple[float, Tensor]:
    """The change of f when one dimension of z (N, latent) goes from -reach to reach: the share of its square that is
    the same for every z, over all dimensions, and the mean square of every dimension, (latent,).

    1: a dimension does the same everywhere, as with a linear f; 0: nothing in common. N must be at least 2.
    """
    if len(z) < 2:
        raise ValueError(f"the effects at two or more codes are compared, got {len(z)}")
    common, total = [], []
    for dimension in range(z.shape[1]):
        low, high = z.clone(), z.clone()
        low[:, dimension], high[:, dimension] = -reach, reach
        change = f(high) - f(low)
        total.append(change.square().sum(1).mean())
        common.append((len(z) * change.mean(0).square().sum() - total[-1]) / (len(z) - 1))  # without bias
    return float(sum(common) / sum(total)), torch.stack(total)
