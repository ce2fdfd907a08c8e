"""Batches of an iterable that the lab cannot position, such as a DataLoader with a sampler of its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from genlab.data.example import checked_batch
from genlab.data.images import to_float


class Iterated:
    """Iterates `batches`, an iterable of (x, y), again and again; x becomes float32 in [0, 1] (n, C, H, W).

    Under `torchrun` every process iterates its own. Set `images` to 0 to begin again; another position cannot be
    reached, which a warning says.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches, self.name = batches, type(batches).__name__
        self.device, self.world = torch.device("cpu"), 1
        self.classes: tuple[str, ...] = ()
        self._iterator: Iterator[Any] = iter(batches)
        self._images = 0
        self._first: tuple[Tensor, Tensor] | None = None  # read ahead for `shape`
        self._shapes: tuple[torch.Size, torch.Size] | None = None  # of an image and its label

    @property
    def images(self) -> int:
        return self._images

    @images.setter
    def images(self, images: int) -> None:
        if images == self._images:
            return
        if images:
            warnings.warn(
                f"{self.name} cannot be positioned: it starts from its beginning after {images:,} images, so the "
                "resumed training differs from an uninterrupted one; a Dataset or a DataLoader without a sampler of "
                "its own resumes exactly",
                stacklevel=2,
            )
        else:
            self._iterator = iter(self.batches)
        self._images = images

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the first batch."""
        if self._first is None:
            self._first = self._read()
        c, h, w = self._first[0].shape[1:]
        return c, h, w

    @property
    def source(self) -> Any:
        raise ValueError(f"this method needs a data set, not only batches: {self.name} has no length and no order")

    def to(self, device: torch.device | str) -> Iterated:
        self.device = torch.device(device)
        return self

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        x, y = self._read() if self._first is None else self._first
        self._first = None
        self._images += len(x) * self.world
        x = to_float(x.to(self.device, non_blocking=True)).contiguous(memory_format=torch.channels_last)
        return x, y.to(self.device, non_blocking=True) if y.ndim == 1 else to_float(y.to(self.device))

    def _read(self) -> tuple[Tensor, Tensor]:
        batch = next(self._iterator, None)
        if batch is None:
            self._iterator = iter(self.batches)
            batch = next(self._iterator, None)
        if batch is None and not self._images:
            raise ValueError(f"{self.name} is empty: it holds 0 batches")
        if batch is None:
            raise ValueError(
                f"the data end after {self._images:,} images: {self.name} can be iterated only once; give a Dataset, a "
                "DataLoader or a list of batches"
            )
        x, y = checked_batch(batch, f"{self.name}: a batch")
        shapes = x.shape[1:], y.shape[1:]
        self._shapes = self._shapes or shapes
        if shapes != self._shapes:
            one, other = next((tuple(a), tuple(b)) for a, b in zip(self._shapes, shapes) if a != b)
            raise ValueError(f"{self.name}: all batches must have images of one shape, got {one} and {other}")
        return x, y
