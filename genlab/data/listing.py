"""Finds the images of each split and class in a folder, and records the files that are skipped.

PATH/<class>/<image> or PATH/<image>; or either of them under PATH/train and PATH/test (or a validation folder).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, islice
from pathlib import Path

from genlab.data.catalogue import DataError
from genlab.data.decode import suffixes
from genlab.data.skipped import NAMED, Skipped

TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")  # the first existing one is the test split
FOREIGN = frozenset((".heic", ".heif", ".jxl", ".svg", ".exr", ".dng", ".cr2", ".nef", ".arw", ".npy", ".npz", ".eps"))
DEEP = 1000  # nested folders that are searched for ignored images

Look = Callable[[Path], tuple[list[Path], list[Path]]]  # folder -> the images and the folders in it
Groups = list[list[Path]]  # the images of each class


@dataclass(frozen=True)
class Listing:
    """The class names, and the images of each class in both splits, sorted by name; `notes`: warnings."""

    classes: tuple[str, ...]
    train: Groups
    test: Groups
    notes: str

    def split(self, name: str) -> Groups:
        """The images of each class in the split "train", "test" or "all"."""
        if name == "all":
            return [sorted({*train, *test}) for train, test in zip(self.train, self.test, strict=True)]
        return self.test if name == "test" else self.train

    @property
    def files(self) -> list[Path]:
        """The images of both splits."""
        return sorted(set(chain(*self.train, *self.test)))


def listed(base: Path, name: str, only: str = "") -> Listing:
    """The images in `base`; only those of the class `only` if it exists. `name` is for messages.

    Raises:
        DataError: `base` cannot be listed, or has a test or validation folder but no training images.
    """
    try:
        os.scandir(base).close()
    except OSError as error:
        raise DataError(f"{name}: cannot list it ({error})") from error
    passed, notes = Skipped(base), list[str]()
    look = cache(partial(scan, passed=passed))
    train, test = split_folders(base, look, name)
    if train is None:
        classes, groups = _classes([base], look, passed)
        notes += [f"{c}/ is used as a class" for c in classes if c.lower() in TRAIN + TEST]
    else:
        images, folders = look(base)
        passed.add("beside the splits", *images, *(f for f in folders if f not in (train, test) and _used(f, look)))
        classes, groups = _classes([train, test] if test else [train], look, passed)
    if only in classes:
        k = classes.index(only)
        classes, groups = (only,), [[group[k]] for group in groups]
    for folder, found in zip((train, test), groups):
        if folder and (none := [name for name, group in zip(classes, found) if not group]):
            notes.append(f"{folder.name}/ holds no image of the class{'es' * (len(none) > 1)} {_some(none)}")
    if test:
        if test.name.lower() not in ("test", "testing"):
            notes.append(f"it has no test/, so {test.name}/ is the test split")
    else:
        if train:
            notes.append(f"it has no test/ or val/, so the test split is a tenth of {train.name}/")
        groups = [[part(group, split) for group in groups[0]] for split in ("train", "test")]
        if any(groups[0]) and not any(groups[1]):
            groups[1] = groups[0]
            notes.append("too few images to hold one out, so both splits are the same")
    if len(passed):
        notes.append(f"not used: {passed}")
    return Listing(classes or ("images",), groups[0], groups[1], "; ".join(notes))


def scan(folder: Path, passed: Skipped) -> tuple[list[Path], list[Path]]:
    """The images and the folders in `folder`, sorted by name. Files are not opened; links are followed.

    Unusable images and folders are added to `passed`; hidden files and other file types are silently ignored.
    """
    images, folders = list[Path](), list[Path]()
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        passed.add(f"folders that cannot be listed: {error.strerror}", folder)
        return images, folders
    for entry in entries:
        path = folder / entry.name
        try:
            if entry.is_dir():
                if entry.is_symlink() and folder.resolve().is_relative_to(path.resolve()):
                    passed.add("links back to a folder around them", path)
                else:
                    folders.append(path)
            elif entry.is_file():
                if path.suffix.lower() in suffixes():
                    images.append(path)
                elif path.suffix.lower() in FOREIGN:
                    passed.add("of a format that is not read", path)
            else:
                passed.add("dangling links" if entry.is_symlink() else "no regular files", path)
        except OSError as error:
            passed.add(f"out of reach: {error.strerror}", path)
    return images, folders


def split_folders(base: Path, look: Look, name: str) -> tuple[Path | None, Path | None]:
    """The folders of the training and the test split; None for each that does not exist."""
    images, folders = look(base)
    train, test = (
        next((folder for name in names for folder in folders if folder.name.lower() == name), None)
        for names in (TRAIN, TEST)
    )
    classes = [folder for folder in folders if folder.name.lower() not in TRAIN + TEST and look(folder)[0]]
    if train and (test or not classes or any(look(folder)[0] for folder in look(train)[1])):
        return train, test
    if test and not train and not classes and _used(test, look):
        raise DataError(
            f"{name}: {str(base)!r} holds {test.name}/ but no train/{' for the images beside it' if images else ''}; "
            f"to use {test.name}/ alone, give its own path"
        )
    return None, None


def _used(folder: Path, look: Look) -> bool:
    """Whether there are images in `folder` or its direct subfolders."""
    images, folders = look(folder)
    return bool(images) or any(look(inner)[0] for inner in folders)


def _some(names: Sequence[str]) -> str:
    """The first of `names`, and the number of the others."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(repr, names[:NAMED])) + more


def _empty(folder: Path, look: Look) -> bool:
    """Whether `folder` contains neither images nor folders and is not named like an image file."""
    return not any(look(folder)) and folder.suffix.lower() not in suffixes()


def _classes(roots: Sequence[Path], look: Look, passed: Skipped) -> tuple[tuple[str, ...], list[Groups]]:
    """All classes of the roots, and the images per class of each root; without class folders, one unnamed class."""
    inside = [{folder.name: look(folder)[0] for folder in look(root)[1]} for root in roots]
    classes = tuple(sorted({name for found in inside for name, images in found.items() if images}))
    folders = [folder for root in roots for folder in look(root)[1]]
    passed.add("folders named like images", *(f for f in folders if f.suffix.lower() in suffixes() and not look(f)[0]))
    _name_deeper([inner for folder in folders for inner in look(folder)[1]], passed)
    if not classes:
        return (), [[look(root)[0]] for root in roots]
    passed.add("folders without images", *(f for f in folders if _empty(f, look)))
    passed.add("beside the class folders", *(image for root in roots for image in look(root)[0]))
    return classes, [[found.get(name, []) for name in classes] for found in inside]


def _name_deeper(folders: Sequence[Path], passed: Skipped) -> None:
    """Adds images in folders nested inside class folders to `passed`; at most DEEP folders, without following links."""
    walk = (place for folder in folders if not folder.is_symlink() for place in os.walk(folder))
    for place, _, names in islice(walk, DEEP):
        found = [Path(place, name) for name in sorted(names) if Path(name).suffix.lower() in suffixes()]
        passed.add("in folders inside class folders", *found)


def part(group: list[Path], split: str) -> list[Path]:
    """Splits a class: a tenth is the test split, chosen by a hash of the file names (not by their order)."""
    shuffled = sorted(group, key=lambda f: hashlib.blake2b(os.fsencode(f.name)).digest())
    n = min(max(1, round(len(group) / 10)), len(group) - 1) if group else 0
    return sorted(shuffled[:n] if split == "test" else shuffled[n:])
