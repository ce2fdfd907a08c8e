"""The user's own data: a Dataset, a DataLoader or any iterable of batches (x, y) becomes a stream of batches.

A Dataset, also that of an ordinary DataLoader, is read once and held in memory if it fits there and returns the same
items every time; else it is read during training, by the workers of the DataLoader. Either way the lab's own Stream
draws the batches, so that a resumed training is exactly the uninterrupted one. Only a DataLoader with a sampler or
`collate_fn` of its own, or another iterable, is iterated as it is, and cannot be resumed exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

from genlab.core.ranges import checked
from genlab.data.aligned import Aligned
from genlab.data.augment import Augment
from genlab.data.catalogue import DataError
from genlab.data.example import batch_of, checked_batch
from genlab.data.folder import RESIDENT, Folder
from genlab.data.images import Images, Pair
from genlab.data.iterated import Iterated
from genlab.data.mapped import Mapped, seeded
from genlab.data.points import Points
from genlab.data.skipped import warn_once
from genlab.data.sources import Split, share
from genlab.data.stream import Stream, on_disk

Source = Images | Folder | Aligned | Mapped
PROBED = 64  # items that are read twice, to find random transforms
GREY_LEVEL = 0.01  # of 255: a float that is farther from the next 8-bit value is rounded


def as_stream(
    data: Any, batch: int, seed: int = 0, device: torch.device | str = "cpu", rank: int = 0, world: int = 1
) -> Any:
    """The batches of `data` on `device`, as `fit` needs them.

    data: a stream (an iterator with a counter `images`) is returned as it is. Images, Folder, Pair, Points, a Dataset
        and an ordinary DataLoader become a Stream; the latter has its own batch size and order (`shuffle`). Any other
        iterable of (x, y) is iterated again and again.

    Raises:
        ValueError: it is none of these, or its images or labels are not as the lab needs them.
    """
    if hasattr(data, "images") and hasattr(data, "__next__"):
        return data
    batch, shuffle = batch_size(data) or batch, not in_order(data)
    source = open_own(data).to(device)
    if isinstance(source, Iterated):
        source.world = world
        return source
    return Stream(source, batch, seed=seed, rank=rank, world=world, shuffle=shuffle)


def batch_size(data: Any) -> int | None:
    """The batch size of a DataLoader; None for other data."""
    return data.batch_size if isinstance(data, DataLoader) else None


def in_order(data: Any) -> bool:
    """Whether `data` is a DataLoader that does not shuffle."""
    return isinstance(data, DataLoader) and isinstance(data.sampler, SequentialSampler)


def open_own(data: Any) -> Any:
    """`data` as one of the lab's data sets, or as Iterated batches.

    Raises:
        ValueError: as `as_stream`.
    """
    if isinstance(data, Images | Folder | Points | Pair | Aligned | Mapped | Iterated):
        return data
    if isinstance(data, DataLoader):
        return open_set(data.dataset, data.num_workers) if _ordinary(data) else Iterated(data)
    if not isinstance(data, str | bytes | dict):
        if _is_set(data):
            return open_set(data)
        if isinstance(data, Iterable):
            return Iterated(data)
    raise ValueError(
        f"data must be a DataLoader, a Dataset or an iterable of batches (x, y), got {type(data).__name__}"
    )


def open_set(dataset: Any, workers: int = 0, resident: int = RESIDENT) -> Source:
    """A Dataset in memory, if it takes at most `resident` bytes there and has no random transforms; else as Mapped.

    Raises:
        ValueError: an item is not as the lab needs it; names the item.
    """
    name, n = type(dataset).__name__, len(dataset)
    if not n:
        raise DataError(f"{name} is empty: it holds 0 images")
    if isinstance(dataset, TensorDataset):
        return _held(*checked_batch(dataset.tensors, name), _classes(dataset), name)
    source = Mapped(dataset, torch.arange(n), _classes(dataset), name, workers)
    with seeded(0):
        first = source[0]
    if first[0].numel() * n > resident or _random(source):
        return source
    return _held(*batch_of([source[i] for i in range(n)], name), source.classes, name)


def _ordinary(loader: DataLoader[Any]) -> bool:
    """Whether a DataLoader only draws the items of a data set, in order or shuffled."""
    sampler = loader.sampler
    shuffled = isinstance(sampler, RandomSampler) and not sampler.replacement and len(sampler) == len(loader.dataset)  # type: ignore[arg-type]
    return (
        not isinstance(loader.dataset, IterableDataset)
        and type(loader.batch_sampler) is BatchSampler
        and (shuffled or type(sampler) is SequentialSampler)
        and loader.collate_fn is default_collate
    )


def _is_set(data: Any) -> bool:
    """Whether `data` is a data set of single items (a list of batches has the same interface)."""
    if isinstance(data, IterableDataset) or not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        return False
    if not isinstance(data, list | tuple) or not len(data):
        return True
    first = data[0][0] if isinstance(data[0], list | tuple) and len(data[0]) else data[0]
    return getattr(first, "ndim", 3) < 4


def _random(source: Mapped) -> bool:
    """Whether items differ from reading to reading."""
    for i in range(min(PROBED, len(source))):
        with seeded(1):
            first = source[i]
        with seeded(2 + i):
            second = source[i]
        if not all(map(torch.equal, first, second)):
            return True
    return False


def _held(x: Tensor, y: Tensor, classes: tuple[str, ...], name: str) -> Images | Aligned:
    nothing = torch.zeros(len(x), dtype=torch.int64)
    if y.ndim == 4:
        sides = [Images(_bytes(side, name), nothing, ("all",), name) for side in (x, y)]
        return Aligned(*sides)
    return Images(_bytes(x, name), y.to(x.device), classes or _numbered(y), name)


def _bytes(x: Tensor, name: str) -> Tensor:
    if x.dtype == torch.uint8:
        return x
    rounded = []
    for part in x.split(1024):
        levels = part * 255
        rounded.append(levels.round().byte())
        if (levels - rounded[-1]).abs().max() > GREY_LEVEL:
            warn_once(f"{name}: the pixels are rounded to 8 bits")
    return torch.cat(rounded)


def _classes(dataset: Any) -> tuple[str, ...]:
    """The class names of a Dataset, or of the one that it is a part of; empty if it has none."""
    found = getattr(dataset, "classes", None) or getattr(getattr(dataset, "dataset", None), "classes", None) or ()
    return tuple(map(str, found))


def _numbered(labels: Tensor) -> tuple[str, ...]:
    if int(labels.min()) < 0:
        raise ValueError(f"labels must be integers from 0, got {int(labels.min())}")
    return tuple(map(str, range(int(labels.max()) + 1)))


@dataclass(eq=False)
class OwnData:
    """The user's training and test data in place of DataOptions. Without `test`, a fixed tenth of `train` is the test
    split; with `hold_out`, another tenth is the validation split."""

    train: Any
    test: Any = None
    hold_out: bool = False
    augment: Augment = field(default_factory=Augment)

    @property
    def shuffle(self) -> bool:
        return not in_order(self.train)

    @cached_property
    def source(self) -> Any:
        found = open_own(self.train)
        if isinstance(found, Pair | Points):
            raise ValueError(f"an experiment takes one set of images, got {type(found).__name__}; `fit` takes both")
        if isinstance(found, Iterated) and (self.test is None or self.hold_out):
            raise ValueError(f"{found.name} cannot be split: give test data (test=...), and no best_by")
        if isinstance(found, Mapped) and not found.classes:
            return replace(found, classes=_numbered(found.labels))
        return found

    @cached_property
    def test_source(self) -> Any:
        if isinstance(found := open_own(self.test), Iterated):
            raise ValueError(f"test data must be a Dataset or an ordinary DataLoader, got {found.name}")
        return found

    @cached_property
    def data(self) -> str:
        """The name in config.json; data of other content have another one."""
        source = self.source
        if isinstance(source, Iterated):
            return f"python:{source.name}"
        name = f"python:{source.name}:{len(source)}"
        if on_disk(source):
            return name
        drawn = source.gather(torch.arange(min(len(source), 1024), device=source.device))
        content = b"".join(each.cpu().contiguous().numpy().tobytes() for each in drawn)
        return f"{name}:{hashlib.sha256(content).hexdigest()[:8]}"

    @checked
    def load(self, split: Split = "train", device: torch.device | str = "cpu") -> Any:
        if split == "test" and self.test is not None:
            return self.test_source.to(device)
        source = self.source
        if isinstance(source, Iterated):
            source.classes = self.test_source.classes
            return source.to(device)
        if self.test is None:
            source = share(source, "validation" if split == "test" else "train", hold_out=True)
        return (source if split == "test" else share(source, split, self.hold_out)).to(device)
