"""One image file -> one square of pixels, whatever its format; anything wrong with it is an Unreadable sentence."""

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

from genlab.data.levels import Levels, Spread
from genlab.data.passed import warn_once

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MEGAPIXELS = 64  # a larger picture is refused by its header, before anything of it is decoded
SAMPLE = 1024  # files of a folder, evenly chosen, that say which of its values are black and white
WIDE = 1.5  # sides of a greater ratio lose more than a third of the picture when it is cut square
COMMON = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # formats that a file is held against first
OPAQUE = ("EPS", "ICNS", "IPTC", "MIC", "BLP", "WMF")  # formats whose header does not say what will be decoded
NATURAL = {"16-bit": Levels(0, 65535), "float": Levels(0, 1), "16-bit colour": Levels(0, 255)}


class Unreadable(Exception):
    """Why a file was skipped."""


class Budget:
    """At most `total` units are taken at a time, over all threads; who needs more waits until nobody has any."""

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


class Decoder:
    """Decodes the pictures of one folder, all in the same way; callable from many threads.

    Pictures of 8 bits are taken as they are. In deeper ones white is whatever their maker took for it, so it is found
    from all `files` together (from SAMPLE of them, if there are more) when the first such picture comes: pictures keep
    their relation to each other. A range that is not the whole one of its type is told in one warning.

    All decoders together have at most MEGAPIXELS million pixels in flight at a time, which is also the largest picture
    that is read at all. A JPEG counts as what is decoded of it, about twice `size` each way, unless it is progressive.

    Attributes:
        name, base: what the folder is called in warnings, and where it is.
        wide: whether a picture was met whose sides have a ratio above WIDE.
    """

    def __init__(self, name: str, base: Path, files: Sequence[Path], size: int, channels: int) -> None:
        self.name, self.base, self.files, self.size, self.channels = name, base, files, size, channels
        self.wide = False
        self._levels: dict[str, Levels] | None = None
        self._lock = Lock()

    def check(self, path: Path) -> None:
        """Reads the header only.

        Raises:
            Unreadable: see the text.
        """
        with _opened(path, self.size) as picture:
            self._measure(picture)

    def __call__(self, path: Path) -> Tensor:
        """-> uint8 (size, size, channels): the short side resized to `size`, then cut square about the centre.

        Raises:
            Unreadable: see the text.
        """
        from PIL import Image, ImageOps

        square = (self.size, self.size)
        with _opened(path, self.size, decoding=True) as picture:
            self._measure(picture)
            kind = _kind(picture)
            ImageOps.exif_transpose(picture, in_place=True)
            if kind in ("", "16-bit colour"):
                small = ImageOps.fit(_smooth(picture), square, Image.Resampling.BICUBIC)
            else:
                numbers = _numbers(picture)
                Spread.of(numbers)
                deep = Image.fromarray(numbers.astype(np.float32))
                small = ImageOps.fit(deep, square, Image.Resampling.BICUBIC)
        if kind:
            small = Image.fromarray(self._white(kind).bytes(np.asarray(small)))
        if small.mode in ("RGBA", "RGBa", "LA", "La"):
            small = Image.alpha_composite(Image.new("RGBA", square, "white"), small.convert("RGBA"))
        pixels = bytearray(small.convert("RGB" if self.channels == 3 else "L").tobytes())
        return torch.frombuffer(pixels, dtype=torch.uint8).view(*square, self.channels)

    def _measure(self, picture: Picture) -> None:
        self.wide |= max(picture.size) > WIDE * min(picture.size)

    def _white(self, kind: str) -> Levels:
        with self._lock:
            if self._levels is None:
                self._levels = self._found()
        return self._levels.get(kind, NATURAL.get(kind, Levels(0, 65535)))

    def _found(self) -> dict[str, Levels]:
        """The levels of every kind of deep picture in the folder."""
        spreads = defaultdict(list)
        for path in self.files[:: max(1, -(-len(self.files) // SAMPLE))]:
            try:
                with _opened(path, self.size, decoding=True) as picture:
                    if kind := _kind(picture):
                        spreads[kind].append(Spread.of(_numbers(picture)))
            except Unreadable:
                continue  # it is named where it is asked for
        levels = {}
        for kind, parts in spreads.items():
            spread = Spread.joined(parts)
            if kind == "16-bit colour":  # only the upper 8 bits of each number are there
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
    """The picture in a file, its header read; for `decoding`, once there is room for its pixels.

    Raises:
        Unreadable: in place of all that decoders raise, here or in the body: OSError, SyntaxError, struct.error ...
    """
    from PIL import Image

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unreadable("not a regular file")
        with open(path, "rb") as file:
            icon = _icon_pixels(file)  # Pillow decodes icons already when it opens them
            with _room(icon, "an icon"), Image.open(file, formats=_formats()) as picture:
                whole = picture.width * picture.height
                picture.draft("RGB", (2 * size, 2 * size))  # JPEG alone: decode no more detail than the resize needs
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
    """Room for so many pixels in flight, if they are to be `taken` and any."""
    if pixels > MEGAPIXELS * 1_000_000:
        raise Unreadable(f"{what} is more than {MEGAPIXELS} megapixels")
    return IN_FLIGHT.taken(pixels) if taken and pixels else nullcontext()


def _icon_pixels(file: IO[bytes]) -> int:
    """Of the largest picture in a Windows icon, by its own header, for that of the icon says at most 256x256; 0 for
    other files."""
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
    """Of the files that are taken for pictures."""
    from PIL import Image

    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in _formats())


def _kind(picture: Picture) -> str:
    """What is deeper than 8 bits in a picture; nothing if it is not."""
    if picture.mode.startswith("I;16"):
        return "16-bit"
    if picture.mode in ("I", "F"):
        return {"I": "32-bit", "F": "float"}[picture.mode]
    if picture.mode == "RGB" and any("RGB;16" in str(tile[3]) for tile in getattr(picture, "tile", ())):
        return "16-bit colour"
    return ""


def _numbers(picture: Picture) -> NDArray[Any]:
    """The pixels of a deep picture; Pillow reads unsigned integers of 32 bits as if they were signed."""
    numbers = np.asarray(picture)
    unsigned = picture.mode == "I" and getattr(picture, "tag_v2", {}).get(339) == (1,)
    return numbers.view(np.uint32) if unsigned else numbers


def _smooth(picture: Picture) -> Picture:
    """In a mode that can be resized without mixing indices or hidden colours."""
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
