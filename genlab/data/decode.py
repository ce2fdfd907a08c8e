"""One image file -> one square of pixels, whatever its format; anything wrong with it is an Unreadable sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MEGAPIXELS = 64  # a larger picture is refused by its header, before anything of it is decoded


class Unreadable(Exception):
    """Why a file was skipped."""


def check(path: Path) -> None:
    """Reads the header only."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            _check_size(picture)
    except Image.DecompressionBombError as error:
        raise Unreadable(f"more than {MEGAPIXELS} megapixels") from error
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(_reason(error)) from error


def decode(path: Path, size: int, channels: int) -> Tensor:
    """-> uint8 (size, size, channels): the short side resized to `size`, then cut square about the centre."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as picture:
            _check_size(picture)
            picture.draft("RGB", (2 * size, 2 * size))  # JPEG alone: decode no more detail than the resize needs
            plain = _plain(ImageOps.exif_transpose(picture)).convert("RGB" if channels == 3 else "L")
            square = ImageOps.fit(plain, (size, size), Image.Resampling.BICUBIC)
    except Image.DecompressionBombError as error:
        raise Unreadable(f"more than {MEGAPIXELS} megapixels") from error
    except Unreadable:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, EOFError ...
        raise Unreadable(_reason(error)) from error
    return torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(size, size, channels)


def _check_size(picture: Picture) -> None:
    width, height = picture.size
    if width * height > MEGAPIXELS * 1_000_000:
        raise Unreadable(f"{width}x{height} is more than {MEGAPIXELS} megapixels")


def _plain(picture: Picture) -> Picture:
    """Transparency onto white, deep greys to 8 bits; every other mode converts by itself."""
    from PIL import Image

    if picture.mode == "F":
        brightest = cast(float, picture.getextrema()[1])
        return picture.point(lambda v: v * (255 if brightest <= 1 else 1) + 0).convert("L")
    if picture.mode.startswith("I"):  # 16 bits, also where Pillow reports 32
        return picture.convert("F").point(lambda v: v * (1 / 257) + 0.5).convert("L")
    if picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture


def _reason(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "not an image that Pillow can read" if "cannot identify" in text else text[:120]
