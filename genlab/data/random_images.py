"""Images of random pixels, for benchmarks."""

from __future__ import annotations

import torch

from genlab.core.distributed import device
from genlab.data.images import Images


def random_images(n: int, shape: tuple[int, int, int], classes: int = 1) -> Images:
    """n images of `shape` (C, H, W) with random pixels and labels, on the device of this process."""
    pixels = torch.randint(256, (n, *shape), dtype=torch.uint8)
    return Images(pixels, torch.randint(classes, (n,)), tuple(map(str, range(classes))), "static").to(device())
