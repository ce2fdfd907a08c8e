"""A folder of image files: small ones become resident Images, large ones stay on disk behind the same interface."""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from genlab.data.catalogue import DataError
from genlab.data.decode import Unreadable, check, decode
from genlab.data.images import Images, Index, positions
from genlab.names import unknown

T = TypeVar("T")
RESIDENT = 1 << 30  # bytes of decoded pixels
NAMED = 5  # skipped files that get a line of their own
log = logging.getLogger("genlab.data")


@dataclass(frozen=True, eq=False)
class Folder:
    """Images read from disk when asked for. Same interface as Images; `device` is where the batches land.

    A file that turns out to be broken only when it is read gives its place, and its label, to the next readable one.
    """

    files: tuple[Path, ...] = field(repr=False)
    labels: Tensor = field(repr=False)
    classes: tuple[str, ...]
    name: str
    size: int = 32
    channels: int = 3
    device: torch.device = torch.device("cpu")
    broken: dict[Path, str] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.size, self.size

    def to(self, device: torch.device | str) -> Folder:
        return replace(self, device=torch.device(device))

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """index int64 (n,) -> pixels uint8 (n, C, H, W) channels last, labels (n,), both on `device`."""
        found = list(_pool().map(self._read, index.tolist()))
        pixels = torch.stack([pixels for _, pixels in found]).permute(0, 3, 1, 2)
        labels = self.labels[[where for where, _ in found]]
        return pixels.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def subset(self, index: Index) -> Folder:
        where = positions(index, len(self))
        return replace(self, files=tuple(self.files[i] for i in where.tolist()), labels=self.labels[where])

    def _read(self, start: int) -> tuple[int, Tensor]:
        for step in range(len(self)):
            where = (start + step) % len(self)
            try:
                return where, decode(self.files[where], self.size, self.channels)
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
    """PATH/<class>/<image>, or PATH/<image>; PATH/train and PATH/test are used if both exist, else a tenth is the test.

    Sets of at most `resident` bytes once decoded are held in memory. `only` leaves one class, by its name.
    """
    base = Path(os.path.expanduser(path))
    name = f"folder:{path}:{only}" if only else f"folder:{path}"
    if not base.is_dir():
        raise DataError(f"{name}: {str(base)!r} is not a folder")
    try:
        files, labels, classes = _list(base, split)
    except OSError as error:
        raise DataError(f"{name}: cannot list it ({error})") from error
    if only and only not in classes:
        raise DataError(unknown(only, classes, f"class of folder:{path}"))
    if only:
        files = [f for f, label in zip(files, labels) if classes[label] == only]
        labels, classes = [0] * len(files), (only,)
    found = opened(files, labels, classes, name, size, channels, resident)
    if found is None:
        raise DataError(f"{name}: no readable image for split {split!r} in {str(base)!r}")
    return found.to(device)


def opened(
    files: Sequence[Path],
    labels: Sequence[int],
    classes: tuple[str, ...],
    name: str,
    size: int,
    channels: int,
    resident: int = RESIDENT,
) -> Images | Folder | None:
    """The readable ones of `files` as a set of images, in memory if they take at most `resident` bytes; None if there
    is none."""
    small = len(files) * size * size * channels <= resident
    task: Callable[[Path], Tensor | None] = partial(decode, size=size, channels=channels) if small else check
    results: list[Tensor | None | Unreadable] = []
    with _quiet():
        results.extend(_pool().map(_caught(task), files))
    bad = [(f, r) for f, r in zip(files, results, strict=True) if isinstance(r, Unreadable)]
    good = [i for i, r in enumerate(results) if not isinstance(r, Unreadable)]
    _report(bad)
    if not good:
        return None
    y = torch.tensor(labels)[good]
    if not small:
        return Folder(tuple(files[i] for i in good), y, classes, name, size, channels)
    pixels = torch.stack([r for r in results if isinstance(r, Tensor)])
    return Images(pixels.permute(0, 3, 1, 2), y, classes, name)


def _list(base: Path, split: str) -> tuple[list[Path], list[int], tuple[str, ...]]:
    """Files in a fixed order, their labels, and the names of the classes, the same for both splits.

    The classes take turns by their shares, so that the first n files are of all of them.
    """
    halves = [base / "train", base / "test"]
    split_on_disk = all(half.is_dir() for half in halves)
    roots = halves if split_on_disk else [base]
    classes = sorted({d.name for root in roots for d in _visible(root) if d.is_dir() and any(image_files(d))})
    wanted = base / split if split_on_disk else base
    groups = [sorted(image_files(wanted / c)) for c in classes] if classes else [sorted(image_files(wanted))]
    if not split_on_disk:
        groups = [_part(group, split) for group in groups]
    turns = sorted((i / len(group), k, f) for k, group in enumerate(groups) for i, f in enumerate(group))
    return [f for _, _, f in turns], [k for _, k, _ in turns], tuple(classes or ["images"])


def _part(group: list[Path], split: str) -> list[Path]:
    """A tenth of each class is the test split, chosen by a hash of the file names: no run of a camera stays whole."""
    shuffled = sorted(group, key=lambda f: hashlib.blake2b(os.fsencode(f.name)).digest())
    n = min(max(1, round(len(group) / 10)), len(group) - 1) if group else 0
    return sorted(shuffled[:n] if split == "test" else shuffled[n:])


def _visible(folder: Path) -> Iterator[Path]:
    return (p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else iter(())


def image_files(folder: Path) -> Iterator[Path]:
    """The pictures in `folder`, by their suffix, in no order."""
    return (p for p in _visible(folder) if p.suffix.lower() in _suffixes() and p.is_file())


@cache
def _suffixes() -> frozenset[str]:
    from PIL import Image

    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


@cache
def _pool() -> ThreadPoolExecutor:
    """Pillow decodes without holding the interpreter's lock, so threads suffice."""
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="decode")


def _caught(task: Callable[[Path], T]) -> Callable[[Path], T | Unreadable]:
    def run(path: Path) -> T | Unreadable:
        try:
            return task(path)
        except Unreadable as reason:
            return reason

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow's own warnings off (entered in the main thread: the filters belong to the process)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _report(bad: Sequence[tuple[Path, Unreadable]]) -> None:
    for path, reason in bad[:NAMED]:
        log.warning("skipped %r: %s", str(path), reason)
    if len(bad) > NAMED:
        log.warning("and %d more", len(bad) - NAMED)


def _report_late(broken: dict[Path, str], path: Path, reason: str) -> None:
    if path in broken:
        return
    broken[path] = reason
    if len(broken) <= NAMED:
        log.warning("skipped %r: %s", str(path), reason)
    elif len(broken) == NAMED + 1:
        log.warning("and more, not named")
