"""What methods of token sequences share: the tokens are the grey levels of an image, in raster order."""

from __future__ import annotations

from math import prod
from typing import Any

from torch import Tensor
from torch.nn.functional import one_hot

from genlab.training.method import Method


class OfTokens(Method):
    """A method of images of `shape` (C, H, W), as sequences of T = C H W tokens of a vocabulary of V = config.levels
    words."""

    config: Any

    def __init__(self, shape: tuple[int, int, int], config: Any):
        super().__init__(config)
        self.shape, self.length = shape, prod(shape)

    def tokens(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> tokens int64 (N, T).

        Raises:
            ValueError: the images have another shape than those that the model was made for.
        """
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"this model has sequences of {self.length} tokens, of images {self.shape}, got images "
                f"{tuple(x.shape[1:])}, of {prod(x.shape[1:])}"
            )
        return (x * (self.config.levels - 1)).round().long().permute(0, 2, 3, 1).flatten(1)

    def images(self, tokens: Tensor) -> Tensor:
        """Tokens int64 (N, T) -> images (N, C, H, W) in [0, 1]."""
        c, h, w = self.shape
        return tokens.view(-1, h, w, c).permute(0, 3, 1, 2) / (self.config.levels - 1)

    def one_hot(self, tokens: Tensor) -> Tensor:
        """Tokens int64 (...) -> float32 (..., V)."""
        return one_hot(tokens, self.config.levels).float()
