"""Image batches as a grid or an animated GIF."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, pad

from genlab.core.files import write_atomically

SMOOTH = 4  # enlargement from which on images are interpolated
FORMATS = {  # suffix -> name of the format in Pillow
    **{".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".gif": "GIF", ".bmp": "BMP"},
    **{".tif": "TIFF", ".tiff": "TIFF"},
}


def grid(images: Tensor, columns: int | None = None, *, gap: int = 1, tile: int = 64) -> Image.Image:
    """Tiles images (N, C, H, W) in [0, 1], C = 1 or 3, row by row; values outside are clipped.

    Args:
        columns: images per row; none: about sqrt(N).
        gap: white pixels between tiles, before enlarging.
        tile: small images are enlarged by the integer factor that brings their longer side closest to this many pixels:
            by repeated pixels, or, from a factor of SMOOTH on, by bicubic interpolation, without which a person sees
            squares instead of what they show.

    Raises:
        ValueError: another shape, or no images.
    """
    if images.ndim != 4 or not len(images) or images.shape[1] not in (1, 3):
        raise ValueError(f"a grid takes images (N, 1 or 3, H, W), got shape {tuple(images.shape)}")
    columns = min(columns or math.ceil(math.sqrt(len(images))), len(images))
    x = images.detach().float().cpu().nan_to_num(0).clamp(0, 1)
    factor = max(1, round(tile / max(images.shape[2:])))
    gap *= factor
    if factor >= SMOOTH:
        x = interpolate(x, scale_factor=factor, mode="bicubic").clamp(0, 1)
    else:
        x = x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    x = torch.cat([x, x.new_ones(-len(x) % columns, *x.shape[1:])])
    x = pad(x, (0, gap, 0, gap), value=1.0)
    n, c, h, w = x.shape
    x = x.view(n // columns, columns, c, h, w).permute(2, 0, 3, 1, 4).reshape(c, n // columns * h, columns * w)
    x = pad(x, (gap, 0, gap, 0), value=1.0).mul(255).round().byte()
    return Image.fromarray(x[0].numpy() if c == 1 else x.permute(1, 2, 0).contiguous().numpy())


def grid_png(images: Tensor, columns: int | None = None, **how: int) -> bytes:
    """`grid(images, columns)` as PNG."""
    return encoded(grid(images, columns, **how), "PNG")


def encoded(picture: Image.Image, kind: str) -> bytes:
    """The bytes of `picture` as a file of a format of Pillow's."""
    buffer = io.BytesIO()
    # quality: for JPEG and WebP; PNG's default level takes twice the time for files as large
    picture.save(buffer, format=kind, quality=95, compress_level=3)
    return buffer.getvalue()


def image_format(path: str | Path) -> str:
    """The Pillow format for the suffix of `path`.

    Raises:
        ValueError: the suffix is not in FORMATS.
    """
    suffix = Path(path).suffix
    if suffix.lower() not in FORMATS:
        raise ValueError(f"{path} must end in one of {', '.join(FORMATS)}, got {suffix or 'no suffix'!r}")
    return FORMATS[suffix.lower()]


def save_grid(images: Tensor, path: str | Path, columns: int | None = None, **how: int) -> Path:
    """Writes `grid(images, columns)` to `path`, in the format given by its suffix (one of FORMATS)."""
    path = Path(path)
    write_atomically(path, encoded(grid(images, columns, **how), image_format(path)))
    return path


def save_animation(frames: Sequence[Image.Image], path: str | Path, seconds: float = 0.2) -> Path:
    """Writes images as a looping GIF; seconds: per frame."""
    path, buffer = Path(path), io.BytesIO()
    frames[0].save(
        buffer, format="GIF", save_all=True, append_images=list(frames[1:]), duration=round(seconds * 1000), loop=0
    )
    write_atomically(path, buffer.getvalue())
    return path
