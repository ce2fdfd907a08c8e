"""Pairs of images in a folder: side by side in one file, A left and B right, or in two folders with the same names.

PATH/<image A|B>, or below PATH/train and PATH/test (or val); PATH/A/<name> and PATH/B/<name>, PATH/train/A, ... or
PATH/trainA, trainB, testA and testB. Without test folder, a tenth is held out.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from genlab.data.aligned import Aligned
from genlab.data.catalogue import DataError
from genlab.data.decode import ImageDecoder, Unreadable
from genlab.data.folder import Folder, pool, quiet
from genlab.data.images import Images
from genlab.data.listing import TEST, TRAIN, part, scan
from genlab.data.skipped import Skipped, warn_once

SIDES = ("A", "B")
Couple = tuple[Path, Path]  # twice the same file, if both images are side by side in it


def open_pairs(
    path: str, split: str, *, size: int, channels: int, device: torch.device | str, resident: int
) -> Aligned:
    """The pairs of a split, "train" or "test".

    Raises:
        DataError: there is no such folder, or there are no readable pairs in it.
    """
    base, name = Path(os.path.expanduser(path)), f"pairs:{path}"
    if not base.is_dir():
        raise DataError(f"{name}: {str(base)!r} is not a folder")
    passed, notes = Skipped(base), list[str]()
    couples = _split(base, split, name, passed, notes)
    joined = bool(couples) and couples[0][0] == couples[0][1]
    decoders = [
        ImageDecoder(f"{name}, {side}", base, [couple[k] for couple in couples], size, channels, half)
        for k, (side, half) in enumerate(zip(SIDES, ("left", "right") if joined else ("", "")))
    ]
    small = 2 * len(couples) * size**2 * channels <= resident

    def both(couple: Couple) -> list[Tensor] | Unreadable:
        pixels = []
        for decoder, file in zip(decoders, couple):
            try:
                decoder.check(file)
                pixels += [decoder(file)] if small else []
            except Unreadable as reason:
                passed.add(str(reason), file)
                return reason
        return pixels

    with quiet():
        found = list(pool().map(both, couples))
    good = [i for i, result in enumerate(found) if not isinstance(result, Unreadable)]
    if not good:
        reasons = f"; not used: {passed}" if len(passed) else ""
        if couples:
            raise DataError(f"{name}: none of the {len(couples)} pairs for split {split!r} is readable{reasons}")
        raise DataError(
            f"{name}: no pairs for split {split!r} in {str(base)!r}: neither images A|B side by side nor folders A and "
            f"B with the same names{reasons}"
        )
    if any(decoder.wide for decoder in decoders):
        notes.append("images are centre-cropped to squares, and some lose more than a third by it")
    if len(passed):
        notes.append(f"not used: {passed}")
    if notes:
        warn_once(f"{name}: {'; '.join(notes)}")
    labels, sides = torch.zeros(len(good), dtype=torch.int64), list[Images | Folder]()
    for k, side in enumerate(SIDES):
        title = f"{name}, {side}"
        if small:
            pixels = torch.stack([found[i][k] for i in good])  # type: ignore[index]
            sides.append(Images(pixels.permute(0, 3, 1, 2), labels, (side,), title))
        else:
            sides.append(Folder(tuple(couples[i][k] for i in good), labels, (side,), title, decoders[k]))
    return Aligned(*sides).to(device)


def _split(base: Path, split: str, name: str, passed: Skipped, notes: list[str]) -> list[Couple]:
    """The pairs of files of a split."""
    images, folders = scan(base, passed)
    inside = {folder.name.lower(): folder for folder in folders}
    halves = [_half(base, inside, names, passed) for names in (TRAIN, TEST)]
    if halves[0]:
        train, test = halves
    else:
        train, test = _matched(_sides(inside), passed) or [(image, image) for image in images], []
    if not test:
        tenth = "a tenth of the pairs" if len(train) > 1 else "its only pair, which is also trained on"
        notes.append(f"it has no test images, so the test split is {tenth}")
        firsts = [a for a, _ in train]
        partners = dict(train)
        kept = part(firsts, split) or firsts
        return [(a, partners[a]) for a in kept]
    return train if split == "train" else test


def _half(base: Path, inside: dict[str, Path], names: tuple[str, ...], passed: Skipped) -> list[Couple]:
    """The pairs of the first split folder of `names`: trainA and trainB, train/A and train/B, or A|B in train."""
    for name in names:
        beside = {side.lower(): inside[f"{name}{side.lower()}"] for side in SIDES if f"{name}{side.lower()}" in inside}
        if found := _matched(_sides(beside), passed):
            return found
        if name in inside:
            images, folders = scan(inside[name], passed)
            within = {folder.name.lower(): folder for folder in folders}
            if found := _matched(_sides(within), passed) or [(image, image) for image in images]:
                return found
    return []


def _sides(inside: dict[str, Path]) -> tuple[Path, Path] | None:
    return (inside["a"], inside["b"]) if "a" in inside and "b" in inside else None


def _matched(folders: tuple[Path, Path] | None, passed: Skipped) -> list[Couple]:
    """The files with the same name, apart from the suffix, in both folders."""
    if folders is None:
        return []
    a, b = ({file.stem: file for file in scan(folder, passed)[0]} for folder in folders)
    alone = [side[stem] for side in (a, b) for stem in side if stem not in a or stem not in b]
    passed.add("without a partner of the same name", *alone)
    return [(a[stem], b[stem]) for stem in a if stem in b]
