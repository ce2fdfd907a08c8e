"""Maps as pictures."""

from __future__ import annotations

from torch import Tensor


def shown(maps: Tensor) -> Tensor:
    """(N, H, W) -> pictures (N, 1, H, W) in [0, 1]: black where a map is not above 0, white at the highest of each."""
    return (maps.clamp(min=0) / maps.flatten(1).amax(1)[:, None, None].clamp(min=1e-12))[:, None]
