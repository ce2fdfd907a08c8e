"""Images of random pixels, for work whose time does not depend on what they show."""

from __future__ import annotations

import torch

from genlab.core.distributed import device
from genlab.data.images import Images


def static(n: int, shape: tuple[int, int, int], classes: int = 1) -> Images:
    """n images (n, *shape) of random pixels with random labels, where this process works."""
    pixels = torch.randint(256, (n, *shape), dtype=torch.uint8)
    return Images(pixels, torch.randint(classes, (n,)), tuple(map(str, range(classes))), "static").to(device())
