"""Decodes image files of any format to square tensors; every failure is reported as Unreadable."""

from __future__ import annotations

import stat
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from threading import Condition, Lock
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genlab.data.levels import Levels, ValueRange
from genlab.data.skipped import warn_once

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MEGAPIXELS = 64  # larger images are refused by their header, before decoding
SAMPLE = 1024  # files of a folder, evenly spaced, from which the value range of deep images is determined
WIDE = 1.5  # aspect ratio above which a square crop loses more than a third of the image
COMMON = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # formats that are tried first
OPAQUE = ("EPS", "ICNS", "IPTC", "MIC", "BLP", "WMF")  # excluded formats: the header does not give the decoded size
NATURAL = {"16-bit": Levels(0, 65535), "float": Levels(0, 1), "16-bit colour": Levels(0, 255)}


class Unreadable(Exception):
    """Why a file was skipped."""


class Budget:
    """A semaphore of `total` units over all threads; a request for more than `total` waits until nothing is taken."""

    def __init__(self, total: int) -> None:
        self.total, self.used = total, 0
        self.changed = Condition()

    @contextmanager
    def taken(self, n: int) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: not self.used or self.used + n <= self.total)
            self.used += n
        try:
            yield
        finally:
            with self.changed:
                self.used -= n
                self.changed.notify_all()


IN_FLIGHT = Budget(MEGAPIXELS * 1_000_000)  # pixels


class ImageDecoder:
    """Decodes the images of one folder, all with the same value range; callable from many threads.

    8-bit images are used as they are. For deeper images the value of white depends on the camera or software, so the
    range is determined from all `files` together (from SAMPLE of them, if there are more) when the first such image is
    decoded; relative brightness is preserved. A range other than the full one of the type is reported in a warning.

    All decoders together process at most MEGAPIXELS million pixels at a time, which is also the largest image that is
    read. A JPEG counts with its decoded size, about twice `size` per side, unless it is progressive.

    Attributes:
        name, base: name of the folder in warnings, and its path.
        wide: whether there was an image with an aspect ratio above WIDE; double: whether one was twice as wide as high.
        half: "left" or "right": only that half of every image is read; empty: the whole.
    """

    def __init__(self, name: str, base: Path, files: Sequence[Path], size: int, channels: int, half: str = "") -> None:
        self.name, self.base, self.files, self.size, self.channels = name, base, files, size, channels
        self.half = half
        self.wide = self.double = False
        self._levels: dict[str, Levels] | None = None
        self._lock = Lock()

    def check(self, path: Path) -> None:
        """Reads the header only.

        Raises:
            Unreadable: with the reason.
        """
        with _opened(path, self.size) as picture:
            self._measure(picture)

    def __call__(self, path: Path) -> Tensor:
        """-> uint8 (size, size, channels): the short side resized to `size`, then centre-cropped.

        Raises:
            Unreadable: with the reason.
        """
        from PIL import Image, ImageOps

        square = (self.size, self.size)
        with _opened(path, self.size, decoding=True) as picture:
            self._measure(picture)
            kind = _kind(picture)
            ImageOps.exif_transpose(picture, in_place=True)
            if kind in ("", "16-bit colour"):
                small = ImageOps.fit(self._halved(_smooth(picture)), square, Image.Resampling.BICUBIC)
            else:
                numbers = _numbers(self._halved(picture))
                ValueRange.of(numbers)
                deep = Image.fromarray(numbers.astype(np.float32))
                small = ImageOps.fit(deep, square, Image.Resampling.BICUBIC)
        if kind:
            small = Image.fromarray(self._white(kind).bytes(np.asarray(small)))
        if small.mode in ("RGBA", "RGBa", "LA", "La"):
            small = Image.alpha_composite(Image.new("RGBA", square, "white"), small.convert("RGBA"))
        pixels = bytearray(small.convert("RGB" if self.channels == 3 else "L").tobytes())
        return torch.frombuffer(pixels, dtype=torch.uint8).view(*square, self.channels)

    def _measure(self, picture: Picture) -> None:
        width, height = picture.width // 2 if self.half else picture.width, picture.height
        if self.half and picture.width <= picture.height:
            raise Unreadable("not wider than high, so not two images side by side")
        self.wide |= max(width, height) > WIDE * min(width, height)
        self.double |= width == 2 * height

    def _halved(self, picture: Picture) -> Picture:
        middle = picture.width // 2
        left = {"": 0, "left": 0, "right": picture.width - middle}[self.half]
        return picture.crop((left, 0, left + middle, picture.height)) if self.half else picture

    def _white(self, kind: str) -> Levels:
        with self._lock:
            if self._levels is None:
                self._levels = self._found()
        return self._levels.get(kind, NATURAL.get(kind, Levels(0, 65535)))

    def _found(self) -> dict[str, Levels]:
        """The black and white levels of every kind of deep image in the folder."""
        spreads = defaultdict(list)
        for path in self.files[:: max(1, -(-len(self.files) // SAMPLE))]:
            try:
                with _opened(path, self.size, decoding=True) as picture:
                    if kind := _kind(picture):
                        spreads[kind].append(ValueRange.of(_numbers(picture)))
            except Unreadable:
                continue  # reported when it is decoded
        levels = {}
        for kind, parts in spreads.items():
            spread = ValueRange.joined(parts)
            if kind == "16-bit colour":  # Pillow keeps the upper 8 bits only
                levels[kind] = Levels(0, 15 if spread.high <= 15 else 255)
            else:
                levels[kind] = Levels.known(spread) or Levels(min(spread.low, 0), spread.high)
            if levels[kind] != NATURAL.get(kind) or not levels[kind].hold(spread):
                upper = " in their upper 8 bits" if kind == "16-bit colour" else ""
                warn_once(
                    f"{self.name}: the pixels of {len(parts)} {kind} images are {spread}{upper}; they are read with "
                    f"{levels[kind]}"
                )
        return levels


@contextmanager
def _opened(path: Path, size: int, decoding: bool = False) -> Iterator[Picture]:
    """Opens an image file and reads its header; with `decoding`, waits until its pixels fit into the budget.

    Raises:
        Unreadable: in place of all exceptions of decoders, here or in the body: OSError, SyntaxError, struct.error ...
    """
    from PIL import Image

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unreadable("not a regular file")
        with open(path, "rb") as file:
            icon = _icon_pixels(file)  # Pillow decodes icons when it opens them
            with _room(icon, "an icon"), Image.open(file, formats=_formats()) as picture:
                whole = picture.width * picture.height
                picture.draft("RGB", (2 * size, 2 * size))  # JPEG: decode at reduced size
                pixels = whole if picture.info.get("progressive") else picture.width * picture.height
                with _room(pixels, f"{picture.width}x{picture.height}", decoding and not icon):
                    yield picture
    except Image.DecompressionBombError as error:
        raise Unreadable(f"more than {MEGAPIXELS} megapixels") from error
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(_reason(error)) from error


def _room(pixels: int, what: str, taken: bool = True) -> AbstractContextManager[None]:
    """Takes `pixels` from the budget, if `taken`.

    Raises:
        Unreadable: `what` has more than MEGAPIXELS million.
    """
    if pixels > MEGAPIXELS * 1_000_000:
        raise Unreadable(f"{what} is more than {MEGAPIXELS} megapixels")
    return IN_FLIGHT.taken(pixels) if taken and pixels else nullcontext()


def _icon_pixels(file: IO[bytes]) -> int:
    """The pixels of the largest image in a Windows icon, by that image's own header (the icon's header is limited to
    256x256); 0 for other files."""
    head = file.read(6)
    found = [0]
    if head[:4] == b"\0\0\1\0":
        table = file.read(16 * int.from_bytes(head[4:], "little"))
        for entry in struct.iter_unpack("<12xI", table):
            file.seek(entry[0])
            start = file.read(24)
            if start[:8] == b"\x89PNG\r\n\x1a\n":
                width, height = struct.unpack(">II", start[16:24])
            else:
                width, height = struct.unpack("<ii", start[4:12])
            found.append(abs(width * height))
    file.seek(0)
    return max(found)


@cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return (*COMMON, *(name for name in Image.ID if name not in COMMON + OPAQUE))


@cache
def suffixes() -> frozenset[str]:
    """The file suffixes of readable images."""
    from PIL import Image

    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in _formats())


def _kind(picture: Picture) -> str:
    """The pixel type of an image with more than 8 bits per channel; empty for others."""
    if picture.mode.startswith("I;16"):
        return "16-bit"
    if picture.mode in ("I", "F"):
        return {"I": "32-bit", "F": "float"}[picture.mode]
    if picture.mode == "RGB" and any("RGB;16" in str(tile[3]) for tile in getattr(picture, "tile", ())):
        return "16-bit colour"
    return ""


def _numbers(picture: Picture) -> NDArray[Any]:
    """The pixels of a deep image; unsigned 32-bit integers, which Pillow reads as signed, are restored."""
    numbers = np.asarray(picture)
    unsigned = picture.mode == "I" and getattr(picture, "tag_v2", {}).get(339) == (1,)
    return numbers.view(np.uint32) if unsigned else numbers


def _smooth(picture: Picture) -> Picture:
    """The image in a mode that can be interpolated (no palette indices, no colours of transparent pixels)."""
    if picture.mode == "PA" or "transparency" in picture.info:
        return picture.convert("RGBA")
    if picture.mode == "1":
        return picture.convert("L")
    return picture if picture.mode in ("L", "LA", "La", "RGB", "RGBA", "RGBa") else picture.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "not an image that Pillow can read" if "cannot identify" in text else text.partition(" (")[0][:120]
