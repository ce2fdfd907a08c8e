"""Stream: endless shuffled batches; the whole state is the seed and the number of images drawn."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from genlab.data.augment import Augment
from genlab.data.folder import Folder
from genlab.data.images import Images, Pair, to_float
from genlab.data.points import Points
from genlab.data.prefetch import Prefetcher
from genlab.data.seeds import generator


class Stream:
    """Endless iterator of batches (x, y): x float32 (n, C, H, W) in [0, 1], channels last, y int64 (n,). For a Pair,
    (x_a, x_b); for Points, x is float32 (n, D), unbounded.

    Every epoch has a new order; a batch may span two epochs, so no image is left out. The batch at position `images`
    is a function of (seed, images): set `images` to resume anywhere. `batch` is the global batch size; rank r of
    `world` gets the r-th part, n = batch / world.

    Raises:
        ValueError: the batch does not divide among the ranks, or the source is empty.
    """

    def __init__(
        self,
        source: Images | Folder | Points | Pair,
        batch: int,
        *,
        seed: int = 0,
        augment: Augment | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch < 1 or world < 1 or batch % world:
            raise ValueError(f"batch {batch} does not divide among {world} ranks")
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not one of {world} ranks")
        self.source, self.batch, self.seed, self.augment = source, batch, seed, augment
        self.rank, self.world = rank, world
        self.images = 0
        sets = (source.a, source.b) if isinstance(source, Pair) else (source,)
        self._sides = [_Shuffled(images, batch, batch // world, seed, side) for side, images in enumerate(sets)]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        position = self.images
        share = self.batch // self.world
        drawn = [side.take(position + self.rank * share) for side in self._sides]
        x = [self._finish(pixels, position, side) for side, (pixels, _) in enumerate(drawn)]
        self.images = position + self.batch
        return (x[0], x[1]) if len(x) == 2 else (x[0], drawn[0][1])

    def _finish(self, pixels: Tensor, position: int, side: int) -> Tensor:
        if self.augment is not None:
            share = len(pixels)
            params = self.augment.draw(self.batch, generator("augment", self.seed, position, side))
            pixels = self.augment.apply(pixels, params[self.rank * share : (self.rank + 1) * share])
        return channels_last(pixels)


class _Shuffled:
    """One data set in shuffled order; a set on disk is prefetched."""

    def __init__(self, images: Images | Folder | Points, step: int, n: int, seed: int, side: int) -> None:
        if not len(images):
            raise ValueError(f"{images.name} is empty: it holds 0 images")
        self.images, self.n, self.seed, self.side = images, n, seed, side
        self.epoch = -1
        self.order = torch.empty(0, dtype=torch.int64)
        self.prefetcher = Prefetcher(self.index, images.gather, step) if isinstance(images, Folder) else None

    def take(self, start: int) -> tuple[Tensor, Tensor]:
        return self.prefetcher(start) if self.prefetcher else self.images.gather(self.index(start))

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
            order = torch.randperm(len(self.images), generator=generator("epoch", self.seed, epoch, self.side))
            self.order = order if isinstance(self.images, Folder) else order.to(self.images.device)
            self.epoch = epoch
        return self.order


def channels_last(pixels: Tensor) -> Tensor:
    """float32 in [0, 1]; images (n, C, H, W) in channels-last memory format, points (n, D) unchanged."""
    x = to_float(pixels)
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def batches(images: Images | Folder | Points, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass in order, for evaluation: batches (x, y) as of Stream; the last one may be smaller."""
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    where = "cpu" if isinstance(images, Folder) else images.device
    for start in range(0, len(images), batch):
        pixels, labels = images.gather(torch.arange(start, min(start + batch, len(images)), device=where))
        yield channels_last(pixels), labels
