"""Extracts features, logits and some pixels of a set of images in one pass."""

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

BLOCK = 256  # samples per call of the generator; fixed, so that the samples of a seed do not depend on the batch size
KEEP = 1000  # number of images whose pixels are kept


@dataclass(frozen=True)
class FeatureSet:
    """name: of the features; features: (N, d); logits: (N, K) or None; pixels: (min(N, KEEP), C·H·W) in [0, 1]."""

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
    progress: Callable[[int], object] | None = None,
    least: int = 2,
) -> FeatureSet:
    """Features of batches of images (n, C, H, W) in [0, 1].

    Args:
        batch: maximal number of images per forward pass; affects memory and speed only.
        progress: called with the number of images of each forward pass.
        least: minimal number of images; with one image, most metrics are Undefined.

    Raises:
        ValueError: fewer images, pixels outside [0, 1], or features that are not finite (n, d).
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    found: list[Tensor] = []
    logits: list[Tensor] = []
    pixels: list[Tensor] = []
    head: Any = getattr(features, "logits", None)
    for whole in images:
        for x in whole.split(batch):
            f = features(checks.pixels(x))
            if f.ndim != 2 or len(f) != len(x):
                raise ValueError(f"features {features.name} must be (N, d), got {tuple(f.shape)} for {len(x)} images")
            found.append(f)
            if head is not None:
                logits.append(head(f))
            if (room := KEEP - sum(map(len, pixels))) > 0:
                pixels.append(x[:room].flatten(1))
            if progress is not None:
                progress(len(x))
    if (n := sum(map(len, found))) < least:
        raise ValueError(f"at least {least} images are needed, got {n}")
    table = torch.cat(found)
    checks.points(table, f"features {features.name}", least)
    return FeatureSet(features.name, table, torch.cat(logits) if logits else None, torch.cat(pixels))


@torch.no_grad()
def samples(sample: Callable[[int], Tensor], n: int, seed: int = 0) -> Iterator[Tensor]:
    """n images of a generator in blocks, each with its own seed; the global random state is restored."""
    for start in range(0, n, BLOCK):
        with torch.random.fork_rng():
            torch.manual_seed(generator("samples", seed, start).initial_seed())
            x = sample(min(BLOCK, n - start))
        if len(x) != min(BLOCK, n - start):
            raise ValueError(f"sample({min(BLOCK, n - start)}) must return as many images, got {len(x)}")
        yield x


def shuffled(images: Images | Folder, n: int | None = None, seed: int = 0, batch: int = 256) -> Iterator[Tensor]:
    """n images of a set (none: all) in random order, in batches."""
    order = torch.randperm(len(images), generator=generator("some", seed))[:n]
    return (x for x, _ in batches(images.subset(order), batch))


def sampler(method: object) -> Callable[[int], Tensor]:
    """The function n -> images of a method.

    Raises:
        ValueError: the method does not generate images.
    """
    draw = getattr(method, "sample", None)
    if draw is None:
        raise ValueError(f"{type(method).__name__} does not generate images: there is nothing to measure")
    return draw


def one_set(images: Images | Folder | Pair) -> Images | Folder:
    """Returns the set.

    Raises:
        ValueError: it is a Pair.
    """
    if isinstance(images, Pair):
        raise ValueError(f"samples are compared with one set of images, but {images.name} is two")
    return images
