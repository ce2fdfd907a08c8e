"""Image batches as a grid with labels: of rows, of columns, and under every image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from genlab.core.files import write_atomically
from genlab.core.picture import Picture, as_picture
from genlab.core.text import printable
from genlab.reporting.grid import encoded, grid

SIZE = 12  # of the letters, in pixels
LINE = 16  # height of a line of text
GAP = 4
INK, PAPER = (34, 34, 34), (255, 255, 255)


def labelled_grid(
    images: Tensor,
    columns: int | None = None,
    *,
    rows: Sequence[str] = (),
    heads: Sequence[str] = (),
    captions: Sequence[str] = (),
    tile: int = 64,
) -> Image.Image:
    """Tiles images (N, C, H, W) in [0, 1], C = 1 or 3, row by row, with labels in black on white.

    Args:
        columns: images per row; none: about sqrt(N).
        rows: labels to the left of the rows, from the first on.
        heads: labels above the columns, from the first on; columns become up to twice as wide for them.
        captions: texts under the images, from the first on, with up to two lines; lines too long for the tile are cut.
        tile: as in `grid`.

    Raises:
        ValueError: as `grid`.
    """
    columns = min(columns or math.ceil(math.sqrt(len(images))), len(images))
    tiles = [grid(image[None], 1, gap=0, tile=tile) for image in images]
    widest = max((_width(text) for text in heads[:columns]), default=0)
    width, height = max(tiles[0].width, 24, min(widest, 2 * tiles[0].width)), tiles[0].height
    left = max((_width(text) for text in rows), default=-2 * GAP) + 2 * GAP
    top = LINE if heads else 0
    lines = max((text.count("\n") + 1 for text in captions if text), default=0)
    step = height + lines * LINE + GAP
    picture = Image.new("RGB", (left + columns * (width + GAP), top + -(-len(tiles) // columns) * step), PAPER)
    draw = ImageDraw.Draw(picture)
    for i, text in enumerate(heads[:columns]):
        _write(draw, left + i * (width + GAP) + width // 2, LINE // 2, text, width)
    for i, text in enumerate(rows[: -(-len(tiles) // columns)]):
        draw.text((left - GAP, top + i * step + height // 2), printable(text), INK, _font(), anchor="rm")
    for i, each in enumerate(tiles):
        x, y = left + i % columns * (width + GAP), top + i // columns * step
        picture.paste(each, (x + (width - each.width) // 2, y))
        for line, text in enumerate(captions[i].split("\n") if i < len(captions) else ()):
            _write(draw, x + width // 2, y + height + line * LINE + LINE // 2, text, width + GAP)
    return picture


def picture_png(shown: Picture | Tensor) -> bytes:
    """A picture, with its labels if it has any, as PNG."""
    picture = as_picture(shown)
    if picture.rows or picture.heads:
        drawn = labelled_grid(picture.images, picture.columns, rows=picture.rows, heads=picture.heads)
    else:
        drawn = grid(picture.images, picture.columns)
    return encoded(drawn, "PNG")


def save_picture(shown: Picture | Tensor, path: Path) -> None:
    """Writes `picture_png(shown)` to `path`."""
    write_atomically(path, picture_png(shown))


def labelled_grid_png(images: Tensor, columns: int | None = None, **how: Any) -> bytes:
    """`labelled_grid` as PNG."""
    return encoded(labelled_grid(images, columns, **how), "PNG")


def changes(true: Tensor, predicted: Tensor, classes: Sequence[str]) -> list[str]:
    """Captions of images by their labels and a classifier's (N,): "true → predicted", or the class if both agree."""
    pairs = [(classes[a], classes[b]) for a, b in zip(true.tolist(), predicted.tolist())]
    return [a if a == b else f"{a} → {b}" for a, b in pairs]


def groups_png(groups: Mapping[str, Tensor], columns: int = 12) -> bytes:
    """A PNG of named groups of images (N, C, H, W), such as real and generated ones, in rows of `columns`.

    A group begins a new row, its name to the left; what remains of its last row is white.
    """
    shown, rows = [], []
    for name, images in groups.items():
        images = images.detach().float().cpu()
        shown += [images, images.new_ones(-len(images) % columns, *images.shape[1:])]
        rows += [name, *[""] * (-(-len(images) // columns) - 1)]
    return labelled_grid_png(torch.cat(shown), columns, rows=rows)


def _write(draw: ImageDraw.ImageDraw, x: int, y: int, text: str, most: int) -> None:
    """Writes `text` around (x, y), cut to `most` pixels."""
    text = printable(text)
    while len(text) > 1 and _width(text) > most:
        text = text[:-2] + "…"
    draw.text((x, y), text, INK, _font(), anchor="mm")


def _width(text: str) -> int:
    return math.ceil(_font().getlength(printable(text)))


@cache
def _font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and, unlike Pillow's own font, has arrows and Greek letters."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), SIZE)
