"""Stream: endless shuffled batches; the whole state is the seed and the number of images drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from genlab.data.aligned import Aligned
from genlab.data.augment import Augment
from genlab.data.folder import Folder
from genlab.data.images import Images, Pair, to_float
from genlab.data.mapped import Mapped
from genlab.data.moving import Moving
from genlab.data.points import Points
from genlab.data.prefetch import Prefetcher
from genlab.data.seeds import generator

Source = Images | Folder | Points | Aligned | Mapped | Moving


class Stream:
    """Endless iterator of batches (x, y): x float32 (n, C, H, W) in [0, 1], channels last, y int64 (n,). For a Pair or
    Aligned images, (x_a, x_b); for Points, x is float32 (n, D), unbounded.

    Every epoch has a new order, unless `shuffle` is false; a batch may span two epochs, so no image is left out. The
    batch at position `images` is a function of (seed, images): set `images` to resume anywhere. `batch` is the global
    batch size; rank r of `world` gets the r-th part, n = batch / world.

    Raises:
        ValueError: the batch does not divide among the ranks, or the source is empty.
    """

    def __init__(
        self,
        source: Source | Pair,
        batch: int,
        *,
        seed: int = 0,
        augment: Augment | None = None,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
    ) -> None:
        if batch < 1 or world < 1 or batch % world:
            raise ValueError(f"batch {batch} does not divide among {world} ranks")
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not one of {world} ranks")
        self.source, self.batch, self.seed, self.augment = source, batch, seed, augment
        self.rank, self.world = rank, world
        self.images = 0
        sets = (source.a, source.b) if isinstance(source, Pair) else (source,)
        self._take = [
            _reader(images, _Order(images, batch // world, seed, side, shuffle), batch, seed)
            for side, images in enumerate(sets)
        ]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        (x, y), *other = self.sides()
        return (x, other[0][0]) if other else (x, y)

    def sides(self) -> list[tuple[Tensor, Tensor]]:
        """The next batch of every set with its labels: (x, y), or those of both sides of a Pair."""
        position = self.images
        share = self.batch // self.world
        drawn = [take(position + self.rank * share) for take in self._take]
        self.images = position + self.batch
        finish = lambda values, side: self._finish(values, position, side)
        return [  # a target gets the augmentation of its input
            (finish(pixels, side), finish(y, side) if y.ndim == 4 else y) for side, (pixels, y) in enumerate(drawn)
        ]

    def _finish(self, pixels: Tensor, position: int, side: int) -> Tensor:
        if self.augment is not None:
            share = len(pixels)
            params = self.augment.draw(self.batch, generator("augment", self.seed, position, side))
            pixels = self.augment.apply(pixels, params[self.rank * share : (self.rank + 1) * share])
        return channels_last(pixels)


def _reader(images: Source, order: _Order, step: int, seed: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """A function that returns the batch at a position; a set that is not in memory is read ahead.

    `order` does not refer to it: with the last reference to a stream, its worker processes end at once.
    """
    if isinstance(images, Mapped):
        return images.reader(order.index, step, seed)
    if on_disk(images):
        return Prefetcher(order.index, images.gather, step)
    return lambda position: images.gather(order.index(position))


class _Order:
    """The order of one data set, in batches of `n`, shuffled in every epoch or not."""

    def __init__(self, images: Source, n: int, seed: int, side: int, shuffle: bool) -> None:
        if not len(images):
            raise ValueError(f"{images.name} is empty: it holds 0 images")
        self.images, self.n, self.seed, self.side, self.shuffle = images, n, seed, side, shuffle
        self.epoch = -1
        self.order = torch.empty(0, dtype=torch.int64)

    def index(self, start: int) -> Tensor:
        """The indices of images start .. start + n - 1 in the sequence of shuffled epochs."""
        parts, left = [], self.n
        while left:
            epoch, offset = divmod(start, len(self.images))
            part = self.permutation(epoch)[offset : offset + left]
            parts.append(part)
            start, left = start + len(part), left - len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def permutation(self, epoch: int) -> Tensor:
        if epoch != self.epoch:
            g = generator("epoch", self.seed, epoch, self.side)
            order = torch.randperm(len(self.images), generator=g) if self.shuffle else torch.arange(len(self.images))
            self.order = order if on_disk(self.images) else order.to(self.images.device)
            self.epoch = epoch
        return self.order


def channels_last(pixels: Tensor) -> Tensor:
    """float32 in [0, 1]; images (n, C, H, W) in channels-last memory format, points (n, D) unchanged."""
    x = to_float(pixels)
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def on_disk(images: Any) -> bool:
    """Whether positions in `images` are given on the CPU, since it is not held on a device."""
    return isinstance(images.a if isinstance(images, Aligned) else images, Folder | Mapped)


def batches(images: Images | Folder | Points | Aligned | Mapped, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass in order, for evaluation: batches (x, y) as of Stream; the last one may be smaller."""
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    where = "cpu" if on_disk(images) else images.device
    for start in range(0, len(images), batch):
        pixels, labels = images.gather(torch.arange(start, min(start + batch, len(images)), device=where))
        yield channels_last(pixels), channels_last(labels) if labels.ndim == 4 else labels
