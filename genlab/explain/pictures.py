"""Attribution maps as images."""

from __future__ import annotations

from torch import Tensor


def to_images(maps: Tensor) -> Tensor:
    """(N, H, W) -> images (N, 1, H, W) in [0, 1]: negative values are 0, the maximum of each map is 1."""
    return (maps.clamp(min=0) / maps.flatten(1).amax(1)[:, None, None].clamp(min=1e-12))[:, None]
