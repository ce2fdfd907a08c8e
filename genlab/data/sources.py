"""Loads data sets by name."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from genlab.core.ranges import Side, checked
from genlab.core.registry import resolve, unknown
from genlab.data.aligned import Aligned
from genlab.data.catalogue import SOURCES, DataError
from genlab.data.digits import digits
from genlab.data.domains import (
    SAME,
    disjoint,
    in_style,
    is_folder,
    of_class,
    open_sides,
    original,
    parts,
    together,
)
from genlab.data.folder import RESIDENT, Folder, open_folder
from genlab.data.glyphs import glyphs
from genlab.data.grammar import grammar
from genlab.data.images import Images, Pair
from genlab.data.mnist_5k import mnist_5k
from genlab.data.paired_folder import open_pairs
from genlab.data.resize import resized
from genlab.data.seeds import generator
from genlab.data.sprites import SIDE, sprites
from genlab.data.stacked import stacked
from genlab.data.styles import OF_GREY, STYLES
from genlab.data.vision import vision
from genlab.plugins import gather

NATIVE = {  # size, channels
    "digits": (8, 1),
    "glyphs": (32, 3),
    "letters": (32, 3),
    "sprites": (SIDE, 3),
    "grammar": (3, 1),
    "mnist": (28, 1),
    "mnist-5k": (28, 1),
    "stacked-mnist": (28, 3),
    "fashion": (28, 1),
    "cifar10": (32, 3),
}
FOLDER = (32, 3)
S = TypeVar("S", bound=Any)
Split = Literal["train", "validation", "test", "all"]


@checked
def load(
    name: str,
    split: Split = "train",
    *,
    size: Side | None = None,
    channels: int | None = None,
    root: str | Path | None = None,
    device: torch.device | str = "cpu",
    seed: int = 0,
    resident: int = RESIDENT,
    hold_out: bool = False,
) -> Images | Pair | Folder | Aligned:
    """One of SOURCES.

    Args:
        name: of the set.
        split: "train", "validation" (a fixed tenth of the training images), "test" or "all", training and test images.
        size, channels: of the images; none: the set's own.
        root: the folder of downloaded sets.
        seed: of the rendered sets.
        resident: a folder of more bytes than that is read from disk as it is needed.
        hold_out: leave the validation images out of "train".

    Raises:
        DataError: no such set, or it cannot be read.
        OutOfRange: an argument is not among the allowed values.
    """
    if channels not in (None, 1, 3):
        raise DataError(f"channels must be 1 or 3, not {channels}")
    where = {"root": root, "device": device, "seed": seed, "resident": resident}
    half = split if split in ("test", "all") else "train"  # the validation images are among those of training
    part = partial(share, split=split, hold_out=hold_out)
    kind, _, rest = name.partition(":")
    if kind not in ("unpaired", "domains", "pairs"):
        return part(_single(name, half, size, channels, **where))
    if split == "all":
        raise DataError(f"{kind} data is divided into training and test images; there is no split 'all'")
    if kind == "pairs":
        size, channels = size or FOLDER[0], channels or FOLDER[1]
        return part(open_pairs(rest, half, size=size, channels=channels, device=device, resident=resident))
    sides = parts(rest)
    if kind == "unpaired" and len(sides) == 1 and (path := _path(rest)):
        size, channels = size or FOLDER[0], channels or FOLDER[1]
        pair = open_sides(path, half, size=size, channels=channels, device=device, resident=resident)
        return replace(pair, a=part(pair.a), b=part(pair.b))
    if len(sides) < 2 or not all(sides) or (kind == "unpaired" and len(sides) > 2):
        raise DataError(
            f"{kind} data needs sets as in 'unpaired:A,B', 'unpaired:FOLDER' or 'domains:A,B,C', not {name!r}"
        )
    own = [native(side) for side in sides]
    size, channels = size or max(s for s, _ in own), channels or max(c for _, c in own)
    sets = [part(_single(side, half, size, channels, **where)) for side in sides]
    if split == "train":
        sets = disjoint(sets, sides)
    if kind == "domains":
        return together(sets, sides)
    return Pair(sets[0], sets[1], aligned=split != "train" and original(sides[0]) == original(sides[1]))


def share(images: S, split: str, hold_out: bool) -> S:
    """The images of `split`; the validation images are a tenth of the training images (at least 1, not all)."""
    if split in ("test", "all") or (split == "train" and not hold_out):
        return images
    n = len(images)
    order = torch.randperm(n, generator=generator("validation", n))
    count = min(max(1, n // 10), n - 1)
    if not count:
        raise DataError(f"{images.name}: {n} image cannot be divided into a training and a validation part")
    return images.subset((order[:count] if split == "validation" else order[count:]).sort().values.to(images.device))


def native(name: str) -> tuple[int, int]:
    """The original size and number of channels of a single data set."""
    kind, _, rest = name.partition(":")
    if kind in gather("DATA", {}):
        channels, size, _ = _plugin(kind, "test").shape
        return size, channels
    if kind in SAME:
        size, channels = native(rest)
        return size, {"grey": 1, "textured": 3}.get(kind, channels)
    if kind == "stacked":
        return native(rest)[0], 3
    return NATIVE.get(kind, FOLDER)


def _single(name: str, split: str, size: int | None, channels: int | None, **where: Any) -> Images | Folder:
    kind, _, rest = name.partition(":")
    own_size, own_channels = native(name)
    size, channels = size or own_size, channels or own_channels
    if kind == "binary":
        return binarised(_single(rest, split, size, channels, **where), generator("binary", where["seed"], split))
    if kind == "stacked" or name == "stacked-mnist":
        if channels != 3:
            raise DataError(f"{name} has 3 channels, one per image, got channels {channels}")
        if split == "all":
            return joined(*(_single(name, half, size, channels, **where) for half in ("train", "test")))
        grey = _single(rest or "mnist", split, size, 1, **where)
        if not isinstance(grey, Images):
            raise DataError(f"{grey.name} is too large to be held in memory, so it cannot be stacked")
        return stacked(grey, split, generator("stacked", where["seed"], split))
    if kind in STYLES:
        plain = _single(rest, split, size, 1 if kind in OF_GREY else channels, **where)
        return resized(in_style(kind, plain), channels=channels)
    if rest and (kind in NATIVE or kind in gather("DATA", {})):
        whole = _single(kind, split, size, channels, **where)
        assert isinstance(whole, Images)
        return of_class(whole, rest)
    return _plain(name, split, size, channels, **where)


def _plain(
    name: str,
    split: str,
    size: int,
    channels: int,
    root: str | Path | None,
    device: torch.device | str,
    seed: int,
    resident: int,
) -> Images | Folder:
    if split == "all" and not _path(name):
        halves = (_plain(name, half, size, channels, root, device, seed, resident) for half in ("train", "test"))
        return joined(*halves)
    if name == "digits":
        images = digits(split)
    elif name == "mnist-5k":
        images = mnist_5k(split)
    elif name in ("glyphs", "letters"):
        images = glyphs(split, name=name, size=size, channels=channels, seed=seed)
    elif name == "sprites":
        images = sprites(split, size=size, seed=seed)
    elif name == "grammar":
        images = grammar(split, size)
    elif name in ("mnist", "fashion", "cifar10"):
        images = vision(name, split, root)
    elif name in gather("DATA", {}):
        images = _plugin(name, split)
    elif path := _path(name):
        path, only = _class_of(path)
        return open_folder(path, split, size=size, channels=channels, device=device, resident=resident, only=only)
    elif name.startswith("python:"):
        raise DataError(
            f"the images of {name} were given in Python: give --data FOLDER, or resume in the program that has them"
        )
    elif "/" in name:
        raise DataError(f"{name!r} is not a folder")
    else:
        raise DataError(f"{unknown(name, SOURCES | gather('DATA', {}), 'data')}; that of a plugin needs --plugin FILE")
    return resized(images, size, channels).to(device)


def _plugin(name: str, split: str) -> Images:
    """A data set of a plugin.

    Raises:
        DataError: its function returns something else.
    """
    images = resolve(gather("DATA", {})[name][0])(split)
    if not isinstance(images, Images):
        raise DataError(f"the data {name} of a plugin must be Images, got {type(images).__name__}")
    return images


def joined(a: Images | Folder, b: Images | Folder) -> Images:
    """The images of two parts of one rendered or downloaded set."""
    assert isinstance(a, Images) and isinstance(b, Images)
    factors = {name: torch.cat([value, b.factors[name]]) for name, value in a.factors.items()}
    pixels, labels = torch.cat([a.pixels, b.pixels]), torch.cat([a.labels, b.labels])
    return replace(a, pixels=pixels, labels=labels, factors=factors)


def binarised(images: Images | Folder, g: torch.Generator) -> Images:
    """Binary pixels, sampled once with the brightness as probability of white (as "binarised MNIST" in Salakhutdinov &
    Murray 2008)."""
    if not isinstance(images, Images):
        raise DataError(f"{images.name} is too large to be held in memory, so it cannot be made binary")
    chance = torch.rand(images.pixels.shape, generator=g).to(images.device)
    return replace(images, pixels=(chance * 255 < images.pixels).byte() * 255, name=f"binary:{images.name}")


def _path(name: str) -> str:
    """The path of `folder:PATH`, or of an existing folder named without prefix; else empty."""
    return name.removeprefix("folder:") if name.startswith("folder:") or is_folder(_class_of(name)[0]) else ""


def _class_of(path: str) -> tuple[str, str]:
    """Splits PATH:CLASS, if PATH is a folder and the whole is not."""
    folder, _, name = path.rpartition(":")
    return (folder, name) if is_folder(folder) and not is_folder(path) else (path, "")
