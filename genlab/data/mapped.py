"""A data set of the user (torch.utils.data.Dataset) that is read item by item during training."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from genlab.data.example import batch_of, example
from genlab.data.images import Index, positions
from genlab.data.seeds import generator

Drawn = tuple[int, int]  # position in the stream, index into the data set


@dataclass(frozen=True, eq=False)
class Mapped:
    """Images that a Dataset makes on demand, by random transforms perhaps. Same interface as Images.

    `device` is that of the batches; `workers` processes read them.
    """

    dataset: Any = field(repr=False)
    where: Tensor = field(repr=False)
    classes: tuple[str, ...]
    name: str
    workers: int = 0
    device: torch.device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return example(self.dataset[int(self.where[i])], f"{self.name}: item {int(self.where[i])}")

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        with seeded(0):
            c, h, w = self[0][0].shape
        return c, h, w

    @cached_property
    def labels(self) -> Tensor:
        """All labels (N,): `dataset.targets` if it has them, else every item is read; 0 if its targets are images."""
        targets = getattr(self.dataset, "targets", None)
        changed = getattr(self.dataset, "target_transform", None) is not None
        if targets is not None and len(targets) == len(self.dataset) and not changed:
            return torch.as_tensor(targets)[self.where].to(self.device, torch.int64)
        with seeded(0):
            targets = [self[i][1] for i in range(len(self))]
        return torch.tensor([int(y) if y.ndim == 0 else 0 for y in targets], device=self.device)

    @property
    def x(self) -> Tensor:
        """All images as float32 in [0, 1], read now: for subsets that fit into memory."""
        x = self.gather(torch.arange(len(self)))[0]
        return x if x.is_floating_point() else x.float().div_(255)

    @property
    def factors(self) -> dict[str, Tensor]:
        return {}

    def to(self, device: torch.device | str) -> Mapped:
        return replace(self, device=torch.device(device))

    def subset(self, index: Index) -> Mapped:
        return replace(self, where=self.where[positions(index, len(self))])

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """index int64 (n,) -> x uint8 or float32 (n, C, H, W), y (n,) or images like x, both on `device`."""
        found = []
        for i in index.tolist():
            with seeded(i):
                found.append(self[i])
        x, y = batch_of(found, self.name)
        return x.to(self.device), y.to(self.device)

    def reader(self, index: Callable[[int], Tensor], step: int, seed: int) -> Reader:
        """Calls with a position return the items `index(position)`; the next positions are read ahead by workers."""
        return Reader(self, index, step, seed)


class Reader:
    """`reader(p)` returns the items index(p); the random transforms of an item depend on (seed, its position) alone."""

    def __init__(self, source: Mapped, index: Callable[[int], Tensor], step: int, seed: int) -> None:
        self.source, self.index, self.step, self.seed = source, index, step, seed
        self.next = -1
        self.batches: Iterator[tuple[Tensor, Tensor]] = iter(())

    def __call__(self, position: int) -> tuple[Tensor, Tensor]:
        if position != self.next:
            self.batches = self._from(position)
        self.next = position + self.step
        x, y = next(self.batches)
        device = self.source.device
        return x.to(device, non_blocking=True), y.to(device, non_blocking=True)

    def _from(self, position: int) -> Iterator[tuple[Tensor, Tensor]]:
        loader = DataLoader(
            _Seeded(self.source, self.seed),
            batch_sampler=_Positions(self.index, position, self.step),
            num_workers=self.source.workers,
            collate_fn=_Collate(self.source.name),
            pin_memory=self.source.device.type == "cuda",
            generator=torch.Generator().manual_seed(0),  # none of the caller's random numbers are drawn
        )
        return iter(loader)


@dataclass
class _Positions:
    """Endless lists of (position, index), one per batch, from `start` on."""

    index: Callable[[int], Tensor]
    start: int
    step: int

    def __iter__(self) -> Iterator[list[Drawn]]:
        position = self.start
        while True:
            yield [(position + k, i) for k, i in enumerate(self.index(position).tolist())]
            position += self.step


@dataclass
class _Seeded(Dataset[tuple[Tensor, Tensor]]):
    source: Mapped
    seed: int

    def __getitem__(self, drawn: Drawn) -> tuple[Tensor, Tensor]:
        position, i = drawn
        with seeded(self.seed, position):
            return self.source[i]


@dataclass
class _Collate:
    name: str

    def __call__(self, items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return batch_of(items, self.name)


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seeds the random numbers of torch, numpy and Python by `key` within the block."""
    number = generator("item", *key).initial_seed()
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.default_generator.manual_seed(number)
    np.random.seed(number)
    random.seed(number)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
