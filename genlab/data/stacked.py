"""Stacked images: three random grey images as the channels of one; Metz et al. 2017, arXiv:1611.02163, section 3.3.1.

Ten digits make 1,000 classes, which a generator without mode collapse draws all. Numbers of images as in the protocol
of PacGAN (Lin et al. 2018, arXiv:1712.04086, section 4.2): 128,000 for training, 26,000 for the test.
"""

from __future__ import annotations

from itertools import product

import torch

from genlab.data.catalogue import DataError
from genlab.data.images import Images

IMAGES = {"train": 128_000, "test": 26_000}


def stacked(images: Images, split: str, g: torch.Generator) -> Images:
    """IMAGES[split] images (3, H, W) of grey `images`. The label of channels of the classes a, b and c, of K, is
    (a K + b) K + c.

    Raises:
        DataError: there are fewer than three images.
    """
    if len(images) < 3:
        raise DataError(f"stacked:{images.name} needs at least 3 images, got {len(images)}")
    which = torch.randint(len(images), (IMAGES[split], 3), generator=g)
    pixels = images.pixels.cpu()[which, 0]
    a, b, c = images.labels.cpu()[which].unbind(1)
    k = len(images.classes)
    classes = tuple(map("".join if k <= 10 else "-".join, product(images.classes, repeat=3)))
    return Images(pixels, (a * k + b) * k + c, classes, f"stacked:{images.name}").to(images.device)
