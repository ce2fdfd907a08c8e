"""Domains for translation whose truth is known: one set of images in several styles, each a function of the image.

The partner of an image is the same original in the other style. Training sets side by side share no original: of those
that come from the same set, the first takes every other image and the second the rest. Test sets show all originals in
the same order, so that a translation can be compared with the partner that it never saw.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from genlab.core.registry import unknown
from genlab.data.catalogue import SOURCES, DataError
from genlab.data.decode import Decoder
from genlab.data.folder import Folder, opened
from genlab.data.images import Images, Pair, unit
from genlab.data.listing import TEST, part, scan
from genlab.data.passed import Passed, warn_once
from genlab.data.resize import luma

MOON = torch.tensor([0.36, 0.44, 0.72])  # what night leaves of red, green and blue
DUSK = torch.tensor([0.02, 0.03, 0.12])  # and what it adds
INK = torch.tensor([1.0, 0.86, 0.35])
GROUND = torch.tensor([0.10, 0.20, 0.45])


def night(x: Tensor) -> Tensor:
    """Half of the colour gone, dim and blue, and brighter towards the moon on the right."""
    grey = luma(x)
    light = torch.linspace(0.7, 1.0, x.shape[3], device=x.device)
    return (x + grey) / 2 * light * _colour(MOON, x) + _colour(DUSK, x)


def styled(x: Tensor) -> Tensor:
    """The negative, darker on every other diagonal band of two pixels."""
    row, column = _places(x)
    band = ((row + column) // 2) % 2
    return (1 - x) * (1 - 0.45 * band)


def textured(x: Tensor) -> Tensor:
    """Grey (N, 1, H, W) -> colour (N, 3, H, W): bright parts in ink, dark ones as ground, which is a basket weave."""
    row, column = _places(x)
    weave = 0.5 + 0.5 * torch.where((row // 4 + column // 4) % 2 == 0, row % 2, column % 2)
    ground = GROUND.to(x.device).view(3, 1, 1) * (0.4 + 0.8 * weave)
    return torch.lerp(ground, INK.to(x.device).view(3, 1, 1), x.expand(-1, 3, -1, -1))


STYLES: dict[str, Callable[[Tensor], Tensor]] = {
    "grey": lambda x: x,
    "night": night,
    "styled": styled,
    "textured": textured,
}
GREY = ("grey", "textured")  # styles of grey images
SAME = ("binary", *STYLES)  # prefixes that change how an image looks, not which one it is


def in_style(style: str, images: Images | Folder) -> Images:
    """`images` (grey ones, if the style is one of GREY) in one of STYLES."""
    if not isinstance(images, Images):
        raise DataError(f"{images.name} is too large to be held in memory, so it cannot be changed into {style!r}")
    parts = [STYLES[style](unit(part)).mul(255).round_().byte() for part in images.pixels.split(1024)]
    return replace(images, pixels=torch.cat(parts), name=f"{style}:{images.name}")


def of_class(images: Images, name: str) -> Images:
    """Those of one class, which is then the only one."""
    if name not in images.classes:
        raise DataError(unknown(name, images.classes, f"class of {images.name}"))
    mine = images.subset(images.labels == images.classes.index(name))
    return replace(mine, labels=torch.zeros_like(mine.labels), classes=(name,), name=f"{images.name}:{name}")


def names(data: str) -> tuple[str, ...]:
    """The domains of `unpaired:A,B` and `domains:A,B,...`, A and B of `unpaired:FOLDER`; the name itself of one set."""
    kind, _, rest = data.partition(":")
    if kind not in ("unpaired", "domains"):
        return (data,)
    found = tuple(parts(rest))
    return ("A", "B") if kind == "unpaired" and len(found) == 1 else found


def parts(text: str) -> list[str]:
    """`text` at its commas, but not at those within the path of a folder that is there."""
    words = text.split(",")
    return _known_parts(words) or words


def _known_parts(words: list[str]) -> list[str]:
    """`words`, neighbours joined where that makes the name of a set; nothing if some belong to no set."""
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
    """The name without its styles: where two sets agree in it, they show the same images."""
    kind, _, rest = name.partition(":")
    return original(rest) if kind in SAME else name


def disjoint(sets: Sequence[Images | Folder], sides: Sequence[str]) -> list[Images | Folder]:
    """The sets named `sides` without a common original: those of one origin take turns."""
    kin = [original(side) for side in sides]
    return [s.subset(slice(kin[:i].count(k), None, kin.count(k))) for i, (s, k) in enumerate(zip(sets, kin))]


def together(sets: Sequence[Images | Folder], sides: Sequence[str]) -> Images:
    """One set, labelled by the side. If the sides have the same classes, those stay as the factor "class"."""
    kept = [s for s in sets if isinstance(s, Images)]
    if len(kept) < len(sets):
        raise DataError(f"domains are held in memory, but one of {', '.join(sides)} is too large for that")
    labels = torch.cat([torch.full((len(s),), k, device=s.device) for k, s in enumerate(kept)])
    same = all(s.classes == kept[0].classes for s in kept)
    factors = {"class": torch.cat([s.labels for s in kept])} if same else {}
    return Images(torch.cat([s.pixels for s in kept]), labels, tuple(sides), f"domains:{','.join(sides)}", factors)


def open_sides(path: str, split: str, *, size: int, channels: int, device: torch.device | str, resident: int) -> Pair:
    """PATH/trainA, trainB, testA and testB, each with pictures of any size, grey or in colour. The test sides may also
    be valA and valB; without any, a tenth of the training sides is held out."""
    base, name = Path(os.path.expanduser(path)), f"unpaired:{path}"
    found: list[Images | Folder] = []
    for side, (train, test) in zip("AB", _sides(base, name)):
        files = train if split == "train" else test
        decoder = Decoder(f"{name}, {side}", base, sorted({*train, *test}), size, channels)
        images = opened(files, [0] * len(files), (side,), f"{path}/{split}{side}", decoder, resident)
        if images is None:
            raise DataError(f"{name}: no readable image in {str(files[0].parent)!r}")
        found.append(images.to(device))
    return Pair(found[0], found[1])


def _sides(base: Path, name: str) -> list[tuple[list[Path], list[Path]]]:
    """The images to train and to test on of A and of B, which warnings call `name`."""
    passed, notes = Passed(base), list[str]()
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


def _places(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.arange(x.shape[2], device=x.device).view(-1, 1), torch.arange(x.shape[3], device=x.device)


def _colour(values: Tensor, x: Tensor) -> Tensor:
    """Three numbers (one, their mean, for grey images) for the channels of x."""
    values = values.to(x.device)
    return (values if x.shape[1] == 3 else values.mean(0, keepdim=True)).view(-1, 1, 1)
