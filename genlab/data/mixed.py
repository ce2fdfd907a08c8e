"""A stream of real and generated images; for adversarial training see Gowal et al. 2021, arXiv:2110.09468."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from genlab.data.stream import Stream

Draw = Callable[[int], tuple[Tensor, Tensor]]  # n -> images (n, C, H, W) in [0, 1], labels (n,) int64


class Mixed:
    """The batches of `data`, with the last round(share * n) images of each replaced by samples of `draw`.

    `fit` seeds torch's global generator at every step, so resuming is exact if `draw` has no state.

    Raises:
        ValueError: share is not in [0, 1].
    """

    def __init__(self, data: Stream, draw: Draw, share: float = 0.5) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share must be in [0, 1], got {share}")
        self.data, self.draw, self.share = data, draw, share

    @property
    def images(self) -> int:
        return self.data.images

    @images.setter
    def images(self, images: int) -> None:
        self.data.images = images

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        x, y = next(self.data)
        if not (made := round(self.share * len(x))):
            return x, y
        with torch.no_grad():
            drawn, labels = self.draw(made)
        kept = len(x) - made
        return torch.cat([x[:kept], drawn.to(x)]), torch.cat([y[:kept], labels.to(y)])
