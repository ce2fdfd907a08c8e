"""Domains for translation with known ground truth: one data set in several styles, each a function of the image.

The partner of an image is the same original in the other style. Training sets of two domains share no originals: if
they are of the same data set, each gets every other image. Test sets contain all originals in the same order, so that
translations can be compared with the true partners, which were not seen in training.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from genlab.core.registry import unknown
from genlab.data.catalogue import SOURCES, DataError
from genlab.data.decode import ImageDecoder
from genlab.data.folder import Folder, opened
from genlab.data.images import Images, Pair, to_float
from genlab.data.listing import TEST, part, scan
from genlab.data.skipped import Skipped, warn_once
from genlab.data.styles import STYLES

SAME = ("binary", *STYLES)  # prefixes that change the appearance, not the originals


def in_style(style: str, images: Images | Folder) -> Images:
    """`images` (grey, if the style is one of OF_GREY) in one of STYLES."""
    if not isinstance(images, Images):
        raise DataError(f"{images.name} is too large to be held in memory, so it cannot be changed into {style!r}")
    parts = [STYLES[style](to_float(part)).mul(255).round_().byte() for part in images.pixels.split(1024)]
    return replace(images, pixels=torch.cat(parts), name=f"{style}:{images.name}")


def of_class(images: Images, name: str) -> Images:
    """The images of one class, with that single class."""
    if name not in images.classes:
        raise DataError(unknown(name, images.classes, f"class of {images.name}"))
    mine = images.subset(images.labels == images.classes.index(name))
    return replace(mine, labels=torch.zeros_like(mine.labels), classes=(name,), name=f"{images.name}:{name}")


def names(data: str) -> tuple[str, ...]:
    """The domain names of `unpaired:A,B` and `domains:A,B,...`; A and B of `unpaired:FOLDER`; else (data,)."""
    kind, _, rest = data.partition(":")
    if kind not in ("unpaired", "domains"):
        return (data,)
    found = tuple(parts(rest))
    return ("A", "B") if kind == "unpaired" and len(found) == 1 else found


def parts(text: str) -> list[str]:
    """Splits `text` at its commas, except those within the path of an existing folder."""
    words = text.split(",")
    return _known_parts(words) or words


def _known_parts(words: list[str]) -> list[str]:
    """`words` joined to names of known data sets; empty if that is impossible."""
    for n in range(1, len(words) + 1):
        if _known(name := ",".join(words[:n])):
            rest = _known_parts(words[n:])
            if rest or n == len(words):
                return [name, *rest]
    return []


def _known(name: str) -> bool:
    plain = original(name).removeprefix("folder:")
    rendered = "," not in plain and plain.partition(":")[0] in SOURCES
    return rendered or is_folder(plain) or is_folder(plain.rpartition(":")[0])


def is_folder(path: str) -> bool:
    return os.path.isdir(os.path.expanduser(path))


def original(name: str) -> str:
    """The name without style prefixes: data sets with the same one contain the same originals."""
    kind, _, rest = name.partition(":")
    return original(rest) if kind in SAME else name


def disjoint(sets: Sequence[Images | Folder], sides: Sequence[str]) -> list[Images | Folder]:
    """The sets named `sides` without common originals: k sets of one origin get every k-th image."""
    kin = [original(side) for side in sides]
    return [s.subset(slice(kin[:i].count(k), None, kin.count(k))) for i, (s, k) in enumerate(zip(sets, kin))]


def together(sets: Sequence[Images | Folder], sides: Sequence[str]) -> Images:
    """One set, labelled by domain. If all domains have the same classes, these are the factor "class"."""
    kept = [s for s in sets if isinstance(s, Images)]
    if len(kept) < len(sets):
        raise DataError(f"domains are held in memory, but one of {', '.join(sides)} is too large for that")
    labels = torch.cat([torch.full((len(s),), k, device=s.device) for k, s in enumerate(kept)])
    same = all(s.classes == kept[0].classes for s in kept)
    factors = {"class": torch.cat([s.labels for s in kept])} if same else {}
    return Images(torch.cat([s.pixels for s in kept]), labels, tuple(sides), f"domains:{','.join(sides)}", factors)


def open_sides(path: str, split: str, *, size: int, channels: int, device: torch.device | str, resident: int) -> Pair:
    """The pair in PATH/trainA, trainB, testA and testB. The test folders may also be valA and valB; without any, a
    tenth of the training images is held out.

    Raises:
        DataError: a folder is missing or has no readable images.
    """
    base, name = Path(os.path.expanduser(path)), f"unpaired:{path}"
    found: list[Images | Folder] = []
    for side, (train, test) in zip("AB", _sides(base, name)):
        files = train if split == "train" else test
        decoder = ImageDecoder(f"{name}, {side}", base, sorted({*train, *test}), size, channels)
        images = opened(files, [0] * len(files), (side,), f"{path}/{split}{side}", decoder, resident)
        if images is None:
            raise DataError(f"{name}: no readable image in {str(files[0].parent)!r}")
        found.append(images.to(device))
    return Pair(found[0], found[1])


def _sides(base: Path, name: str) -> list[tuple[list[Path], list[Path]]]:
    """The training and the test images of A and of B; `name` is for warnings."""
    passed, notes = Skipped(base), list[str]()
    inside = {folder.name: scan(folder, passed)[0] for folder in scan(base, passed)[1]}
    held_out = next((half for half in TEST if any(inside.get(f"{half}{side}") for side in "AB")), None)
    wanted = [f"{half}{side}" for half in ("train", held_out or "test") for side in "AB"]
    missing = [side for side in wanted if not inside.get(side)]
    if missing and missing != ["testA", "testB"]:
        raise DataError(f"{name} needs pictures in {', '.join(wanted)}; there are none in {', '.join(missing)}")
    if missing:
        notes.append("it has no testA and testB, so the test split is a tenth of trainA and trainB")
    elif held_out != "test":
        notes.append(f"it has no testA and testB, so {held_out}A and {held_out}B are the test split")
    passed.add("in none of these folders", *(f for side in inside if side not in wanted for f in inside[side]))
    if len(passed):
        notes.append(f"not used: {passed}")
    if notes:
        warn_once(f"{name}: {'; '.join(notes)}")
    trains = [inside[f"train{side}"] for side in "AB"]
    if missing:
        return [(part(train, "train"), part(train, "test") or train) for train in trains]
    return list(zip(trains, [inside[side] for side in wanted[2:]]))
