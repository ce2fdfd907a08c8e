"""Procedural pixel-art creatures: mirror-symmetric, outlined, eight kinds, fifteen colours.

Only the right half is painted, for all creatures of a kind at once. `u` is the distance from the mirror axis and `v`
that from the top, both at pixel centres; a body part is a region of (u, v) with random dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.core.memory import require
from genlab.data.images import Images
from genlab.data.seeds import generator

SIDE = 20
COUNTS = {"train": 4_000, "test": 1_000}
SKY, LINE, WHITE, PINK, GOLD = range(5)
HUES = 5
PALETTE = torch.tensor(
    [
        [0xE8, 0xF1, 0xE4], [0x2B, 0x21, 0x3A], [0xFF, 0xFF, 0xFF], [0xFF, 0x8F, 0xA3], [0xF7, 0xC5, 0x48],
        # five hues: body, then its lighter belly
        [0xD9, 0x4F, 0x4F], [0xF2, 0x9A, 0x7E],
        [0x3F, 0xA3, 0x62], [0x9B, 0xD9, 0x7A],
        [0x3D, 0x7D, 0xC9], [0x8C, 0xC8, 0xF0],
        [0x8A, 0x55, 0xB8], [0xC9, 0x9B, 0xE6],
        [0x8C, 0x6B, 0x56], [0xCF, 0xAE, 0x8B],
    ],
    dtype=torch.uint8,
)  # fmt: skip


class Brush:
    """Paints palette indices on the right halves (n, 20, 10) of n creatures."""

    def __init__(self, n: int, g: torch.Generator) -> None:
        self.g, self.n = g, n
        self.v = torch.arange(SIDE).view(1, SIDE, 1) + 0.5
        self.u = torch.arange(SIDE // 2).view(1, 1, SIDE // 2) + 0.5
        self.cells = torch.full((n, SIDE, SIDE // 2), SKY)
        self.canvas = torch.ones(1, SIDE, SIDE // 2, dtype=torch.bool)
        hue = self.pick(HUES)
        self.hue = hue
        self.body, self.light = 5 + 2 * hue, 6 + 2 * hue
        self.other = 5 + 2 * ((hue + 1 + self.pick(HUES - 1)) % HUES)

    def pick(self, k: int) -> Tensor:
        """Random integers (n, 1, 1) from 0 to k - 1."""
        return torch.randint(k, (self.n, 1, 1), generator=self.g)

    def between(self, low: int, high: int) -> Tensor:
        return low + self.pick(high - low + 1)

    def oval(self, v: Tensor | float, rv: Tensor | float, ru: Tensor | float, u: Tensor | float = 0.0) -> Tensor:
        return ((self.u - u) / ru) ** 2 + ((self.v - v) / rv) ** 2 <= 1

    def box(self, v0: Tensor | int, v1: Tensor | int, u0: Tensor | int, u1: Tensor | int) -> Tensor:
        """Cells v0 .. v1-1 and u0 .. u1-1."""
        return (self.v > v0) & (self.v < v1) & (self.u > u0) & (self.u < u1)

    def paint(self, where: Tensor, colour: Tensor | int) -> None:
        self.cells = torch.where(where & self.canvas, torch.as_tensor(colour), self.cells)

    def outline(self) -> None:
        """Paints the outline: empty cells next to painted ones. Later painting is limited to the interior."""
        inside = self.cells != SKY
        full = (torch.cat([self.cells.flip(2), self.cells], 2) != SKY).float()[:, None]
        cross = torch.tensor([[0.0, 1, 0], [1, 1, 1], [0, 1, 0]]).view(1, 1, 3, 3)
        near = F.conv2d(full, cross, padding=1)[:, 0, :, SIDE // 2 :] > 0
        self.paint(near & ~inside, LINE)
        self.canvas = inside

    def eyes(self, v: Tensor | int, u: Tensor | int) -> None:
        """Large with one of two pupil positions, a dark dot, or closed."""
        style = self.pick(4)
        big = self.box(v, v + 2, u, u + 2)
        look = self.pick(2)
        self.paint(big & (style < 2), WHITE)
        self.paint(self.box(v + look, v + look + 1, u, u + 1) & (style < 2), LINE)
        self.paint(self.box(v, v + 2, u, u + 1) & (style == 2), LINE)
        self.paint(self.box(v + 1, v + 2, u, u + 2) & (style == 3), LINE)

    def mouth(self, v: Tensor | int) -> None:
        style = self.pick(4)
        self.paint(self.box(v, v + 1, 0, 1) & (style == 0), LINE)
        self.paint(self.box(v, v + 1, 0, 2) & (style == 1), LINE)
        self.paint((self.box(v + 1, v + 2, 0, 1) | self.box(v, v + 1, 1, 2)) & (style == 2), LINE)
        self.paint(self.box(v, v + 2, 0, 1) & (style == 3), PINK)

    def cheeks(self, v: Tensor | int, u: Tensor | int) -> None:
        self.paint(self.box(v, v + 1, u, u + 2) & (self.pick(2) == 0), PINK)


def blob(b: Brush) -> None:
    top, wide = b.between(5, 8), b.between(5, 8)
    b.paint(b.oval(14.0, 14.0 - top, wide + 0.3) & (b.v < 17), b.body)
    b.paint(b.box(17, 18, 1, wide - 1) & (b.pick(2) == 0), b.body)
    horn = b.pick(3)
    b.paint(b.box(top - 2, top + 2, 0, 1) & (horn == 1), b.light)
    b.paint(b.box(top - 1, top + 4, wide // 2, wide // 2 + 1) & (horn == 2), b.light)
    b.outline()
    b.paint(b.oval(16.5, 3.2, wide - 2.0) & (b.v < 17), b.light)
    b.eyes(top + 4, 1 + b.pick(2))
    b.mouth(top + 7)
    b.cheeks(top + 6, wide - 3)


def crab(b: Brush) -> None:
    wide, low = b.between(4, 6), b.between(12, 13)
    b.paint(b.oval(low, 3.6, wide + 0.4), b.body)
    legs = b.between(1, 2)
    b.paint(b.box(low, low + 5, 2, 3) | (b.box(low, low + 5, 4, 5) & (legs == 2)), b.body)
    b.paint(b.box(low - 1, low, wide, wide + 2), b.body)
    lift = b.between(3, 5)
    claw = b.oval(low - lift, 2.3, 1.8, 7.2) & ~b.box(low - lift - 3, low - lift, 7, 8)
    b.paint(claw | b.box(low - lift, low, 7, 8), b.body)
    stalk = b.between(1, 2)
    tall = b.between(5, 7)
    b.paint(b.box(low - tall, low, stalk, stalk + 1), b.light)
    b.outline()
    b.paint(b.box(low - tall, low - tall + 2, stalk, stalk + 1), WHITE)
    b.paint(b.box(low - tall + 1, low - tall + 2, stalk, stalk + 1), LINE)
    b.paint(b.oval(low + 2.0, 1.6, wide - 1.0), b.light)
    b.mouth(low - 1)
    b.paint(b.box(low - 2, low - 1, wide - 2, wide - 1) & (b.pick(2) == 0), b.light)


def bird(b: Brush) -> None:
    wide, top = b.between(4, 6), b.between(4, 6)
    b.paint(b.oval(11.5, 11.5 - top, wide + 0.4), b.body)
    crest = b.pick(3)
    b.paint(b.box(top - 3, top + 1, 0, 1) & (crest == 1), b.other)
    b.paint(b.box(top - 2, top + 1, 1, 2) & (crest == 2), b.other)
    wing = b.between(9, 11)
    up = b.pick(2)
    b.paint((b.u - wide + (b.v - wing) * (1 - 2 * up) < 3) & b.box(wing - 3, wing + 3, wide - 1, 9), b.other)
    b.paint(b.box(16, 19, 1, 2) | b.box(18, 19, 1, 3), GOLD)
    b.outline()
    b.paint(b.oval(14.0, 3.3, wide - 1.0), b.light)
    b.eyes(top + 2, 1 + b.pick(2))
    b.paint(b.box(top + 5, top + 6, 0, 2) | b.box(top + 6, top + 7, 0, 1), GOLD)


def robot(b: Brush) -> None:
    head, wide = b.between(3, 5), b.between(4, 6)
    neck = head + b.between(5, 6)
    b.paint(b.box(head, neck, 0, wide), b.body)
    torso = b.between(3, 5)
    b.paint(b.box(neck, 16, 0, torso), b.other)
    b.paint(b.box(neck + 1, neck + 2, torso, 8) | b.box(neck + 1, neck + 2 + b.pick(4), 7, 8), b.light)
    b.paint(b.box(16, 19, 1, 3), b.light)
    aerial = b.pick(3)
    b.paint(b.box(1, head, 0, 1) & (aerial == 0), GOLD)
    b.paint(b.box(head - 2, head, wide - 2, wide - 1) & (aerial == 1), GOLD)
    b.paint(b.box(head + 1, head + 3, wide, wide + 2) & (aerial == 2), GOLD)
    b.outline()
    visor = b.pick(2) == 0
    b.paint(b.box(head + 1, head + 4, 0, wide - 1) & visor, LINE)
    b.paint(b.box(head + 2, head + 3, 1, 2 + b.pick(2)) & visor, GOLD)
    b.paint(b.box(head + 1, head + 3, 1, 3) & ~visor, WHITE)
    b.paint(b.box(head + 2, head + 3, 1, 2) & ~visor, LINE)
    b.paint(b.box(neck - 1, neck, 0, wide), LINE)
    b.paint(b.box(neck + 1, neck + 3, 0, 1 + b.pick(2)), b.pick(3) + WHITE)


def cat(b: Brush) -> None:
    wide, top = b.between(5, 7), b.between(5, 6)
    b.paint(b.oval(top + 4.0, 4.4, wide + 0.2), b.body)
    b.paint((b.v > top - 3) & (b.v < top + 3) & ((b.u - wide + 2).abs() < (b.v - top + 3) * 0.6), b.body)
    body = b.between(3, 5)
    b.paint(b.oval(15.0, 4.4, body) & (b.v < 18), b.body)
    b.paint(b.box(17, 19, 1, 3), b.body)
    b.outline()
    b.paint(b.box(top - 1, top + 1, wide - 2, wide - 1), PINK)
    b.paint(b.box(top, top + 2, 0, 1) & (b.pick(2) == 0), b.light)
    b.paint(b.oval(15.0, 2.6, body - 2.0), b.light)
    b.eyes(top + 3, 2)
    b.paint(b.box(top + 5, top + 6, 0, 1), PINK)
    b.paint(b.box(top + 6, top + 7, 1, 2), LINE)
    b.paint(b.box(top + 5, top + 6, wide - 2, wide + 2) & (b.pick(2) == 0), LINE)
    b.paint(b.box(12, 13, 0, 9) & (b.cells != SKY) & (b.cells != LINE) & (b.v > top + 7) & (b.pick(2) == 0), b.other)


def ghost(b: Brush) -> None:
    wide, top = b.between(5, 7), b.between(2, 4)
    pale = b.pick(2) == 0
    b.paint(b.oval(top + 6.0, 6.0, wide + 0.2) | b.box(top + 6, 16, 0, wide), torch.where(pale, WHITE, b.light))
    wave = b.pick(2)
    b.paint(b.box(16, 18, 0, wide) & ((b.u.long() // 2) % 2 == wave), torch.where(pale, WHITE, b.light))
    arm = b.between(9, 12)
    b.paint(b.box(arm, arm + 2, wide, wide + 2), torch.where(pale, WHITE, b.light))
    b.outline()
    b.paint(b.box(14, 18, 0, wide) & (b.cells != LINE) & (b.cells != SKY), torch.where(pale, b.light, b.body))
    tall = b.between(2, 3)
    b.paint(b.box(top + 4, top + 4 + tall, 1, 3), LINE)
    b.paint(b.box(top + 4, top + 5, 2, 3) & (b.pick(2) == 0), torch.where(pale, b.light, WHITE))
    b.mouth(top + 8)
    b.cheeks(top + 7, 3)


def squid(b: Brush) -> None:
    wide, top = b.between(5, 7), b.between(2, 4)
    b.paint(b.oval(top + 5.0, 5.0, wide + 0.3) | b.box(top + 5, 12, 0, wide), b.body)
    arms = 2 + b.pick(2)
    for k, u in enumerate((0, 3, 6)):
        length = b.between(14, 18)
        b.paint(b.box(11, length, u, u + 2) & (arms > k - (u > 0)), b.body)
    b.paint(b.box(14, 16, 7, 9) & (b.pick(2) == 0) & (arms == 3), b.body)
    b.outline()
    b.paint(b.oval(top + 2.0, 1.0, 2.0, wide - 3.0) & (b.cells == b.body), b.light)
    b.paint(b.box(12, 18, 0, 9) & (b.cells == b.body) & ((b.v.long() % 2) == 0), b.light)
    b.eyes(top + 5, 1 + b.pick(2))
    b.mouth(top + 8)
    b.cheeks(top + 7, 4)


def mushroom(b: Brush) -> None:
    wide, top = b.between(6, 8), b.between(2, 5)
    brim = top + b.between(6, 7)
    stem = b.between(3, 5)
    b.paint(b.box(brim - 1, 18, 0, stem) & ~b.box(17, 18, stem - 1, stem), WHITE)
    b.paint(b.box(17, 19, 1, 3), GOLD)
    b.paint(b.oval(brim, brim - top, wide + 0.4) & (b.v < brim), b.body)
    b.paint(b.box(brim - 2, brim, 0, wide + 1), b.body)
    b.outline()
    b.paint(b.box(brim, brim + 1, 0, stem), LINE)
    b.paint(b.oval(top + 2.5, 1.6, 1.6, b.pick(3)) & (b.cells == b.body), WHITE)
    b.paint(b.oval(brim - 1.8, 1.3, 1.4, wide - 2.5) & (b.cells == b.body), WHITE)
    b.paint(b.box(brim - 1, brim, 0, wide + 1) & (b.cells == b.body) & (b.pick(2) == 0), b.light)
    b.paint(b.box(brim + 2, brim + 4, 1, 2), LINE)
    b.mouth(brim + 4)
    b.paint(b.box(brim + 4, brim + 5, 2, 3) & (b.pick(2) == 0), PINK)


KINDS: tuple[Callable[[Brush], None], ...] = (blob, crab, bird, robot, cat, ghost, squid, mushroom)


@lru_cache(4)
def sprites(split: str = "train", *, size: int = SIDE, seed: int = 0) -> Images:
    """Sprites; labels: the kind; factors: hue, the index of the body colour (0 to 4). Sizes that are multiples of 20
    repeat pixels; for other sizes the result is 20x20, to be resized by the caller."""
    n = COUNTS[split]
    require(8 * n * size**2, f"{n:,} sprites of {size}x{size} pixels", "--size")
    g = generator("sprites", split, seed)
    labels = (torch.arange(n) % len(KINDS))[torch.randperm(n, generator=g)]
    cells, hue = torch.empty(n, SIDE, SIDE, dtype=torch.int64), torch.empty(n, dtype=torch.int64)
    for kind, draw in enumerate(KINDS):
        mine = labels == kind
        brush = Brush(int(mine.sum()), g)
        draw(brush)
        cells[mine] = torch.cat([brush.cells.flip(2), brush.cells], 2)
        hue[mine] = brush.hue.flatten()
    names = tuple(draw.__name__ for draw in KINDS)
    if size % SIDE == 0:
        cells = cells.repeat_interleave(size // SIDE, 1).repeat_interleave(size // SIDE, 2)
    return Images(PALETTE[cells].permute(0, 3, 1, 2), labels, names, "sprites", {"hue": hue})
