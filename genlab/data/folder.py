"""Folders of image files: small ones are loaded as Images, large ones are read on demand with the same interface."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from genlab.core.registry import unknown
from genlab.data.catalogue import DataError
from genlab.data.decode import ImageDecoder, Unreadable
from genlab.data.images import Images, Index, positions, to_float
from genlab.data.listing import listed
from genlab.data.skipped import NAMED, Skipped, log, warn_once

T = TypeVar("T")
RESIDENT = 1 << 30  # bytes of decoded pixels


@dataclass(frozen=True, eq=False)
class Folder:
    """Images that are read from disk on demand. Same interface as Images; `device` is that of the batches.

    A file that turns out to be damaged when it is read is replaced by the next readable one, with that one's label.
    """

    files: tuple[Path, ...] = field(repr=False)
    labels: Tensor = field(repr=False)
    classes: tuple[str, ...]
    name: str
    decoder: ImageDecoder = field(repr=False)
    device: torch.device = torch.device("cpu")
    broken: dict[Path, str] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.decoder.channels, self.decoder.size, self.decoder.size

    @property
    def x(self) -> Tensor:
        """All images as float32 in [0, 1], read now: for subsets that fit into memory."""
        return to_float(self.gather(torch.arange(len(self)))[0])

    @property
    def factors(self) -> dict[str, Tensor]:
        """The generative factors of Images; empty for files."""
        return {}

    def to(self, device: torch.device | str) -> Folder:
        return replace(self, device=torch.device(device))

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """index int64 (n,) -> pixels uint8 (n, C, H, W) channels last, labels (n,), both on `device`."""
        found = list(pool().map(self._read, index.tolist()))
        pixels = torch.stack([pixels for _, pixels in found]).permute(0, 3, 1, 2)
        labels = self.labels[[where for where, _ in found]]
        return pixels.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def readable(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """As `gather`, of the readable ones alone: pixels (m, C, H, W) and labels (m,), m <= n."""
        found = pool().map(_caught(self.decoder), [self.files[i] for i in index.tolist()])
        pixels = [None if isinstance(result, Unreadable) else result for result in found]
        for i, result in zip(index.tolist(), pixels):
            if result is None:
                _report_late(self.broken, self.files[i], "it cannot be read")
        good = [i for i, result in enumerate(pixels) if result is not None]
        if not good:
            raise DataError(f"{self.name}: none of {len(index)} images is readable")
        kept = torch.stack([pixels[i] for i in good]).permute(0, 3, 1, 2)  # type: ignore[misc]
        return kept.to(self.device), self.labels[index[good]].to(self.device)

    def subset(self, index: Index) -> Folder:
        where = positions(index, len(self))
        return replace(self, files=tuple(self.files[i] for i in where.tolist()), labels=self.labels[where])

    def _read(self, start: int) -> tuple[int, Tensor]:
        for step in range(len(self)):
            where = (start + step) % len(self)
            try:
                return where, self.decoder(self.files[where])
            except Unreadable as reason:
                _report_late(self.broken, self.files[where], str(reason))
        raise DataError(f"{self.name}: no file is readable any more")


def open_folder(
    path: str | Path,
    split: str = "train",
    *,
    size: int = 32,
    channels: int = 3,
    device: torch.device | str = "cpu",
    resident: int = RESIDENT,
    only: str = "",
) -> Images | Folder:
    """The images in PATH as found by `genlab.data.listing`; without test folder, a tenth is the test split.

    split: "train", "test" or "all".

    Sets of at most `resident` decoded bytes are held in memory. `only`: the name of the only class to load. Classes are
    interleaved in proportion to their sizes, so that the first n images cover all classes.

    Raises:
        DataError: there is no such folder or class, or no readable image in the split.
    """
    base = Path(os.path.expanduser(path))
    name = f"folder:{path}:{only}" if only else f"folder:{path}"
    if not base.is_dir():
        raise DataError(f"{name}: {str(base)!r} is not a folder")
    listing = listed(base, name, only)
    classes, groups = listing.classes, listing.split(split)
    if only and only not in classes:
        raise DataError(unknown(only, classes, f"class of folder:{path}"))
    turns = sorted((i / len(group), k, f) for k, group in enumerate(groups) for i, f in enumerate(group))
    decoder = ImageDecoder(name, base, listing.files, size, channels)
    found = opened([f for _, _, f in turns], [k for _, k, _ in turns], classes, name, decoder, resident)
    if found is None:
        notes = f"; {listing.notes}" if listing.notes else ""
        raise DataError(f"{name}: no readable image for split {split!r} in {str(base)!r}{notes}")
    if listing.notes:
        warn_once(f"{name}: {listing.notes}")
    return found.to(device)


def opened(
    files: Sequence[Path],
    labels: Sequence[int],
    classes: tuple[str, ...],
    name: str,
    decoder: ImageDecoder,
    resident: int = RESIDENT,
) -> Images | Folder | None:
    """The readable ones of `files` as a data set, in memory if they take at most `resident` bytes; None if there are
    none. Warns about unreadable files and wide images."""
    small = len(files) * decoder.size**2 * decoder.channels <= resident
    task: Callable[[Path], Tensor | None] = decoder if small else decoder.check
    results: list[Tensor | None | Unreadable] = []
    with quiet():
        results.extend(pool().map(_caught(task), files))
    good = [i for i, r in enumerate(results) if not isinstance(r, Unreadable)]
    bad = Skipped(decoder.base)
    for file, result in zip(files, results, strict=True):
        if isinstance(result, Unreadable):
            bad.add(str(result), file)
    if len(bad):
        warn_once(f"{decoder.name}: skipped {len(bad)} of {len(files)} images: {bad}")
    if decoder.wide:
        hint = "; for two images side by side there is pairs:FOLDER" if decoder.double else ""
        warn_once(f"{decoder.name}: images are centre-cropped to squares, and some lose more than a third by it{hint}")
    if not good:
        return None
    y = torch.tensor(labels)[good]
    if not small:
        return Folder(tuple(files[i] for i in good), y, classes, name, decoder)
    pixels = torch.stack([r for r in results if isinstance(r, Tensor)])
    return Images(pixels.permute(0, 3, 1, 2), y, classes, name)


@cache
def pool() -> ThreadPoolExecutor:
    """Threads suffice, since Pillow releases the GIL while decoding."""
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="decode")


def _caught(task: Callable[[Path], T]) -> Callable[[Path], T | Unreadable]:
    def run(path: Path) -> T | Unreadable:
        try:
            return task(path)
        except Unreadable as reason:
            return reason

    return run


@contextmanager
def quiet() -> Iterator[None]:
    """Suppresses Pillow's warnings (entered in the main thread: warning filters are per process)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _report_late(broken: dict[Path, str], path: Path, reason: str) -> None:
    if path in broken:
        return
    broken[path] = reason
    if len(broken) <= NAMED:
        log.warning("skipped %r: %s", str(path), reason)
    elif len(broken) == NAMED + 1:
        log.warning("skipped further images")
