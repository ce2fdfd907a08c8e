"""Diffusion transformer; Peebles & Xie 2023, arXiv:2212.09748 (DiT): a vision transformer of the image's patches, whose
normalisations are scaled, shifted and gated by noise level and class (adaLN-Zero, section 3.2, figure 3).

Departure: pixels instead of the latents of an auto-encoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.nets.embedding import Embedding, starting_at_zero
from genlab.nets.multi_head import MultiHead

FREQUENCIES = 32  # of the noise level's embedding


def positions(rows: int, columns: int, features: int) -> Tensor:
    """(rows * columns, features): sines and cosines of the row and of the column, a quarter of the features each.

    features: a multiple of 4.
    """
    frequencies = 10_000 ** -(torch.arange(features // 4) / (features // 4))
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    angles = (grid[:, :, None] * frequencies).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], 1)


class Block(nn.Module):
    """(tokens (N, T, C), embedding (N, C)) -> (N, T, C): attention, then an MLP; the identity at first."""

    def __init__(self, features: int, dropout: float):
        super().__init__()
        self.modulation = starting_at_zero(nn.Linear(features, 6 * features))
        self.normalise = nn.LayerNorm(features, elementwise_affine=False)
        self.attention = MultiHead(features)
        self.mlp = nn.Sequential(
            nn.Linear(features, 4 * features),
            nn.GELU(approximate="tanh"),
            nn.Dropout(dropout),
            nn.Linear(4 * features, features),
        )

    def forward(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(embedding)[:, None].chunk(6, 2)
        tokens = tokens + gate * self.attention(self.normalise(tokens) * (1 + scale) + shift)
        return tokens + mlp_gate * self.mlp(self.normalise(tokens) * (1 + mlp_scale) + mlp_shift)


class DiT(nn.Module):
    """(x (N, C, H, W), unbounded and of order 1; noise level (N,); labels (N,) or None) -> (N, C, H, W), 0 at first.

    width: features of a token, a multiple of 4.
    blocks: transformer blocks.
    patch: side of a token's square of pixels.
    classes: of the labels; 0: no labels.

    Raises:
        ValueError: the sides are no multiples of `patch`, or the width is none of 4.
    """

    positions: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int],
        width: int = 64,
        blocks: int = 4,
        patch: int = 2,
        classes: int = 0,
        dropout: float = 0.0,
    ):
        super().__init__()
        channels, height, columns = shape
        if height % patch or columns % patch:
            raise ValueError(f"a transformer of patches of {patch}x{patch} pixels does not fit {height}x{columns}")
        if width % 4:
            raise ValueError(f"width of a transformer must be a multiple of 4, got {width}")
        self.patch, self.rows = patch, height // patch
        self.embedding = Embedding(FREQUENCIES, width, classes)
        self.enter = nn.Linear(channels * patch**2, width)
        self.register_buffer("positions", positions(self.rows, columns // patch, width), persistent=False)
        self.blocks = nn.ModuleList([Block(width, dropout) for _ in range(blocks)])
        self.modulation = starting_at_zero(nn.Linear(width, 2 * width))
        self.normalise = nn.LayerNorm(width, elementwise_affine=False)
        self.leave = starting_at_zero(nn.Linear(width, channels * patch**2))

    def forward(self, x: Tensor, level: Tensor, labels: Tensor | None = None) -> Tensor:
        embedding = self.embedding(level, labels)
        tokens = self.enter(patches(x, self.patch)) + self.positions
        for block in self.blocks:
            tokens = block(tokens, embedding)
        shift, scale = self.modulation(embedding)[:, None].chunk(2, 2)
        return image(self.leave(self.normalise(tokens) * (1 + scale) + shift), self.patch, self.rows)


def patches(x: Tensor, side: int) -> Tensor:
    """(N, C, H, W) -> (N, H W / side², C side²), row by row."""
    n, channels, height, width = x.shape
    squares = x.reshape(n, channels, height // side, side, width // side, side)
    return squares.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, channels * side**2)


def image(tokens: Tensor, side: int, rows: int) -> Tensor:
    """The inverse of `patches`, for `rows` rows of tokens."""
    squares = tokens.unflatten(2, (-1, side, side)).unflatten(1, (rows, -1))  # (N, rows, columns, C, side, side)
    return squares.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
