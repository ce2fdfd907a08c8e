"""U-Net that predicts from a noisy image, its noise level and its class; Ho et al. 2020, arXiv:2006.11239, appendix B,
with the residual blocks of Dhariwal & Nichol 2021, arXiv:2105.05233, section 3 (the embedding scales and shifts what is
normalised).

Departures, for small images: one skip connection per level instead of one per block; attention at the coarse levels
only (sides of at most 8 pixels, but not at the finest level); average pooling and nearest neighbours for resizing.
With `patch` the finest level sees squares of pixels as channels: Luhman & Luhman 2022, arXiv:2207.04316, Hoogeboom et
al. 2023, arXiv:2301.11093.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pixel_shuffle, pixel_unshuffle, silu

from genlab.nets.embedding import Embedding, starting_at_zero
from genlab.nets.multi_head import MultiHead
from genlab.nets.unet import halvings

WIDEST = 4  # maximal number of channels, in multiples of `width`
ATTENTION_SIDE = 8  # largest side with attention, in pixels


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, 8), channels)


class EmbeddedBlock(nn.Module):
    """(x (N, i, H, W), embedding (N, features)) -> (N, o, H, W): a residual block, the identity at first if i = o."""

    def __init__(self, i: int, o: int, features: int, dropout: float):
        super().__init__()
        self.enter, self.first = norm(i), nn.Conv2d(i, o, 3, padding=1)
        self.normalise = norm(o)
        self.scale_and_shift = starting_at_zero(nn.Linear(features, 2 * o))
        self.dropout = nn.Dropout(dropout)
        self.second = starting_at_zero(nn.Conv2d(o, o, 3, padding=1))
        self.skip = nn.Conv2d(i, o, 1) if i != o else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift(embedding)[:, :, None, None].chunk(2, 1)
        h = self.normalise(self.first(silu(self.enter(x))))
        return self.skip(x) + self.second(self.dropout(silu(h * (1 + scale) + shift)))


class Attention(nn.Module):
    """x (N, C, H, W) -> x plus multi-head attention over all positions; the identity at first."""

    def __init__(self, channels: int):
        super().__init__()
        self.enter = norm(channels)
        self.attention = MultiHead(channels)
        starting_at_zero(self.attention.leave)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.enter(x).flatten(2).mT  # (N, H W, C)
        return x + self.attention(tokens).mT.unflatten(2, x.shape[2:])


class Level(nn.Module):
    """`blocks` residual blocks at one resolution, with attention after each if the level has it."""

    def __init__(self, i: int, o: int, blocks: int, features: int, attention: bool, dropout: float):
        super().__init__()
        self.blocks = nn.ModuleList([EmbeddedBlock(i if n == 0 else o, o, features, dropout) for n in range(blocks)])
        self.attention = nn.ModuleList([Attention(o) if attention else nn.Identity() for _ in range(blocks)])

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for block, attention in zip(self.blocks, self.attention):
            x = attention(block(x, embedding))
        return x


class DiffusionUNet(nn.Module):
    """(x (N, C, H, W), unbounded and of order 1; noise level (N,); labels (N,) or None) -> (N, C, H, W), 0 at first.

    width: channels of the finest level, doubled at every coarser one up to 4 `width`.
    blocks: residual blocks per level and direction.
    levels: number of halvings of the sides; none: down to 4 to 7 positions.
    classes: of the labels; 0: no labels.
    patch: side of the squares of pixels that are the channels of the finest level; 1: every pixel is a position.

    Raises:
        ValueError: the sides are no multiples of `patch`, or what is left cannot be halved so often, or not at all.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        width: int = 32,
        blocks: int = 1,
        levels: int | None = None,
        classes: int = 0,
        dropout: float = 0.0,
        patch: int = 1,
    ):
        super().__init__()
        if any(side % patch for side in shape[1:]):
            raise ValueError(f"a U-Net of patches of {patch}x{patch} pixels does not fit {shape[1]}x{shape[2]}")
        self.patch = patch
        pixels, shape = shape[0] * patch**2, (shape[0], shape[1] // patch, shape[2] // patch)
        most, side = halvings(shape), min(shape[1:])
        if levels is None:
            levels = sum(side // 2**n >= ATTENTION_SIDE for n in range(most))
        if not 1 <= levels <= most or side // 2**levels < 2:
            wanted = f"halves its sides {levels} times" if levels > 0 else "halves its sides, of at least 8 positions"
            raise ValueError(f"this U-Net {wanted}, and {shape[1]}x{shape[2]} positions do not allow it")
        channels = [width * min(2**n, WIDEST) for n in range(levels + 1)]
        attention = [n > 0 and side // 2**n <= ATTENTION_SIDE for n in range(levels + 1)]
        features = 4 * width
        self.embedding = Embedding(width, features, classes)
        self.enter = nn.Conv2d(pixels, width, 3, padding=1)
        inputs = [width, *channels]
        self.down = nn.ModuleList(
            [Level(inputs[n], channels[n], blocks, features, attention[n], dropout) for n in range(levels + 1)]
        )
        self.up = nn.ModuleList(
            [
                Level(channels[n + 1] + channels[n], channels[n], blocks, features, attention[n], dropout)
                for n in reversed(range(levels))
            ]
        )
        self.leave = nn.Sequential(norm(width), nn.SiLU(), starting_at_zero(nn.Conv2d(width, pixels, 3, padding=1)))

    def forward(self, x: Tensor, level: Tensor, labels: Tensor | None = None) -> Tensor:
        embedding = self.embedding(level, labels)
        h, skips = self.enter(pixel_unshuffle(x, self.patch)), []
        for n, down in enumerate(self.down):
            h = down(avg_pool2d(h, 2) if n else h, embedding)
            skips.append(h)
        skips.pop()
        for up in self.up:
            h = up(torch.cat([interpolate(h, scale_factor=2.0), skips.pop()], 1), embedding)
        return pixel_shuffle(self.leave(h), self.patch)
