"""A set of images as the metrics see it, gathered in one pass: features, logits, and the pixels of the first few."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.data import Folder, Images, Pair, batches
from genlab.data.seeds import generator
from genlab.metrics import checks
from genlab.metrics.features import Features

BLOCK = 256  # samples drawn at a time, always: the samples of a seed do not depend on how they are then looked at
KEEP = 1000  # images whose pixels are kept


@dataclass(frozen=True)
class Seen:
    """name: of the features; features (N, d); logits (N, classes) or None; pixels (min(N, KEEP), C·H·W) in [0, 1]."""

    name: str
    features: Tensor
    logits: Tensor | None
    pixels: Tensor

    def __len__(self) -> int:
        return len(self.features)


@torch.no_grad()
def extract_features(
    images: Iterable[Tensor],
    features: Features,
    batch: int = 256,
    tell: Callable[[int], object] | None = None,
    least: int = 2,
) -> Seen:
    """One pass over batches of images (n, C, H, W) in [0, 1].

    Args:
        batch: at most so many images pass through the features at once; it changes memory and speed only.
        tell: hears how many images were just done.
        least: images; of one alone, most figures are Undefined.

    Raises:
        ValueError: fewer images, pixels outside [0, 1], or features that are not finite (n, d).
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    found: list[Tensor] = []
    logits: list[Tensor] = []
    pixels: list[Tensor] = []
    verdict: Any = getattr(features, "logits", None)
    for whole in images:
        for x in whole.split(batch):
            f = features(checks.pixels(x))
            if f.ndim != 2 or len(f) != len(x):
                raise ValueError(f"features {features.name} must be (N, d), got {tuple(f.shape)} for {len(x)} images")
            found.append(f)
            if verdict is not None:
                logits.append(verdict(f))
            if (room := KEEP - sum(map(len, pixels))) > 0:
                pixels.append(x[:room].flatten(1))
            if tell is not None:
                tell(len(x))
    if (n := sum(map(len, found))) < least:
        raise ValueError(f"at least {least} images are needed, got {n}")
    table = torch.cat(found)
    checks.points(table, f"features {features.name}", least)
    return Seen(features.name, table, torch.cat(logits) if logits else None, torch.cat(pixels))


@torch.no_grad()
def samples(sample: Callable[[int], Tensor], n: int, seed: int = 0) -> Iterator[Tensor]:
    """n images of a generator in blocks, each from its own seed; the caller's random state is left as it was."""
    for start in range(0, n, BLOCK):
        with torch.random.fork_rng():
            torch.manual_seed(generator("samples", seed, start).initial_seed())
            x = sample(min(BLOCK, n - start))
        if len(x) != min(BLOCK, n - start):
            raise ValueError(f"sample({min(BLOCK, n - start)}) must return as many images, got {len(x)}")
        yield x


def shuffled(images: Images | Folder, n: int | None = None, seed: int = 0, batch: int = 256) -> Iterator[Tensor]:
    """n images of a set (none: all) in a random order that the seed decides, in batches."""
    order = torch.randperm(len(images), generator=generator("some", seed))[:n]
    return (x for x, _ in batches(images.subset(order), batch))


def sampler(method: object) -> Callable[[int], Tensor]:
    """What draws n images from a method.

    Raises:
        ValueError: it does not generate.
    """
    draw = getattr(method, "sample", None)
    if draw is None:
        raise ValueError(f"a {type(method).__name__} does not generate images: there is nothing to measure")
    return draw


def one_set(images: Images | Folder | Pair) -> Images | Folder:
    """The set itself, unless it is two.

    Raises:
        ValueError: it is an unpaired couple.
    """
    if isinstance(images, Pair):
        raise ValueError(f"samples are compared with one set of images, but {images.name} is two")
    return images
