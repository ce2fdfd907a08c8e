"""Characters with known generative factors: class, rotation, thickness, size and two colours, all independent.

Each character is rendered once per stroke width on a large canvas; an example is a rotated and scaled sample of the
canvas, interpolated between two stroke widths, so all factors but the class are continuous.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from string import ascii_uppercase

import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.data.images import Images
from genlab.data.resize import LUMA
from genlab.data.seeds import generator

CANVAS, FONT, STROKES = 96, 64, 6
DEGREES = 30.0
SIZES = (0.7, 1.1)
CONTRAST = 0.4  # minimal luma difference of the two colours
NAMES = {"glyphs": "0123456789", "letters": ascii_uppercase}
COUNTS = {"train": 10_000, "test": 2_000}


@lru_cache(4)
def glyphs(split: str = "train", *, name: str = "glyphs", size: int = 32, channels: int = 3, seed: int = 0) -> Images:
    """Characters with the factors class; rotation in degrees, counter-clockwise, ±30; thickness from 0 (regular)
    to 1 (boldest); size relative to the font; foreground and background (N, 3) in [0, 1]. One channel: white on black.

    Raises:
        ValueError: size is not from 16 to 64.
    """
    if not 16 <= size <= 64:
        raise ValueError(f"glyphs are drawn at sizes 16 to 64, not {size}")
    characters, n = NAMES[name], COUNTS[split]
    g = generator(name, split, seed)
    labels = (torch.arange(n) % len(characters))[torch.randperm(n, generator=g)]
    factors = {
        "class": labels,
        "rotation": (2 * torch.rand(n, generator=g) - 1) * DEGREES,
        "thickness": torch.rand(n, generator=g),
        "size": SIZES[0] + (SIZES[1] - SIZES[0]) * torch.rand(n, generator=g),
    }
    ink, paper = torch.ones(n, 3), torch.zeros(n, 3)
    if channels == 3:
        ink, paper = _colours(n, g)
    factors |= {"foreground": ink, "background": paper}
    pixels = render(characters, labels, factors["rotation"], factors["thickness"], factors["size"], ink, paper, size)
    return Images(pixels[:, :channels], labels, tuple(characters), name, factors)


def render(
    characters: str, labels: Tensor, rotation: Tensor, thickness: Tensor, scale: Tensor, ink: Tensor, paper: Tensor,
    size: int = 32,
) -> Tensor:  # fmt: skip
    """Renders images with given factors, (n,) or (n, 3) each -> uint8 (n, 3, size, size)."""
    parts = zip(*(t.split(500) for t in (labels, rotation, thickness, scale, ink, paper)), strict=True)
    return torch.cat([_render(_atlas(characters), size, *part) for part in parts])


def _render(
    atlas: Tensor, size: int, labels: Tensor, rotation: Tensor, thickness: Tensor, scale: Tensor, ink: Tensor,
    paper: Tensor,
) -> Tensor:  # fmt: skip
    level = thickness.clamp(0, 1) * (STROKES - 1)
    below = level.long().clamp(max=STROKES - 2)
    shape = torch.lerp(atlas[labels, below], atlas[labels, below + 1], (level - below).view(-1, 1, 1))
    angle = rotation * (math.pi / 180)
    cos, sin, zero = angle.cos() / scale, angle.sin() / scale, torch.zeros_like(angle)
    theta = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(-1, 2, 3)
    fine = max(2, 64 // size)  # samples per pixel and axis
    grid = F.affine_grid(theta, [len(labels), 1, fine * size, fine * size], align_corners=False)
    cover = F.avg_pool2d(F.grid_sample(shape[:, None], grid, align_corners=False), fine)
    return torch.lerp(paper[:, :, None, None], ink[:, :, None, None], cover).mul_(255).round_().to(torch.uint8)


@cache
def _atlas(characters: str) -> Tensor:
    """Ink coverage of each canvas pixel, float in [0, 1] (characters, stroke widths, CANVAS, CANVAS)."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(FONT)
    pages = []
    for character in characters:
        left, top, right, bottom = font.getbbox(character)
        corner = ((CANVAS - left - right) / 2, (CANVAS - top - bottom) / 2)
        for stroke in range(STROKES):
            page = Image.new("L", (CANVAS, CANVAS))
            ImageDraw.Draw(page).text(corner, character, fill=255, font=font, stroke_width=stroke)
            pages.append(torch.frombuffer(bytearray(page.tobytes()), dtype=torch.uint8))
    return torch.stack(pages).view(len(characters), STROKES, CANVAS, CANVAS) / 255


def _colours(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ink and paper colours (n, 3), uniform over the pairs with sufficient contrast, in steps of 1/255."""
    weights = torch.tensor(LUMA)
    pairs = torch.rand(64, n, 2, 3, generator=g)
    far = ((pairs[:, :, 0] - pairs[:, :, 1]) @ weights).abs() > CONTRAST
    first = far.int().argmax(0)
    chosen = pairs[first, torch.arange(n)]
    chosen[~far.any(0)] = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    chosen = chosen.mul(255).round().div(255)
    return chosen[:, 0], chosen[:, 1]
