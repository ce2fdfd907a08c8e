"""Moving images whose next frame is uncertain, after Moving MNIST (Srivastava et al. 2015, arXiv:1502.04681).

An image moves through a black frame in one of four directions; then it goes straight on, or turns left or right, with
equal probability. All possible next frames are known, so that it can be measured what a predictor makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genlab.core.memory import require
from genlab.data.images import Images, Index, positions, to_float
from genlab.data.seeds import generator

DIRECTIONS = torch.tensor([[0, 1], [1, 0], [0, -1], [-1, 0]])  # (down, right); each a quarter turn from the one before
TURNS = {"straight": 0, "right": 1, "left": 3}  # quarter turns, clockwise
SHOWN = 2  # frames before the one to predict


@dataclass(frozen=True, eq=False)
class Moving:
    """Sequences of frames. `gather` returns the frames before, as channels, and the next frame.

    past: uint8 (N, SHOWN C, H, W). futures: uint8 (N, turns, C, H, W), the possible next frames in the order of TURNS.
    turned: int64 (N,), which of these came next.
    """

    past: Tensor
    futures: Tensor
    turned: Tensor
    name: str

    def __len__(self) -> int:
        return len(self.past)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a frame."""
        _, _, c, h, w = self.futures.shape
        return c, h, w

    @property
    def device(self) -> torch.device:
        return self.past.device

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """index int64 (n,) -> frames before uint8 (n, SHOWN C, H, W), next frame (n, C, H, W)."""
        return self.past[index], self.futures[index, self.turned[index]]

    def subset(self, index: Index) -> Moving:
        where = positions(index, len(self), self.device)
        return replace(self, past=self.past[where], futures=self.futures[where], turned=self.turned[where])

    def pairs(self) -> tuple[Tensor, Tensor]:
        """All frames before, and next frames, as `gather`, float32 in [0, 1]."""
        x, y = self.gather(torch.arange(len(self), device=self.device))
        return to_float(x), to_float(y)


def moving(images: Images, copies: int = 4, seed: int = 0) -> Moving:
    """`copies` sequences of every image, h x w pixels, in frames of 2h x 2w: the image is in the middle of the last
    frame before the one to predict, and a step is half of its side.

    Raises:
        ValueError: the images have a side of less than 2 pixels, or copies is less than 1, or memory is short.
    """
    c, h, w = images.shape
    if min(h, w) < 2:
        raise ValueError(f"images that move have sides of at least 2 pixels, got {h}x{w}")
    if copies < 1:
        raise ValueError(f"copies must be at least 1, got {copies}")
    n = copies * len(images)
    require(n * (SHOWN + len(TURNS)) * c * 4 * h * w, f"{n:,} sequences of {images.name}", "copies")
    g = generator("moving", seed, images.name, n)
    step = torch.tensor([h, w]) // 2
    position = step.expand(n, 2)
    direction, turned = torch.randint(4, (n,), generator=g), torch.randint(len(TURNS), (n,), generator=g)
    pixels = images.pixels.cpu().repeat_interleave(copies, 0)
    ways = [DIRECTIONS[(direction + quarter) % 4] for quarter in TURNS.values()]
    past = torch.cat([placed(pixels, position - t * step * ways[0]) for t in reversed(range(SHOWN))], 1)
    futures = torch.stack([placed(pixels, position + step * way) for way in ways], 1)
    where = images.device
    return Moving(past.to(where), futures.to(where), turned.to(where), f"moving {images.name}")


def placed(pixels: Tensor, position: Tensor) -> Tensor:
    """Images (n, C, h, w) with the upper left corner at `position` (n, 2), in black frames (n, C, 2h, 2w)."""
    n, c, h, w = pixels.shape
    frame = pixels.new_zeros(n, c, 2 * h, 2 * w)
    rows = (position[:, :1] + torch.arange(h))[:, None, :, None]
    columns = (position[:, 1:] + torch.arange(w))[:, None, None, :]
    frame[torch.arange(n).view(-1, 1, 1, 1), torch.arange(c).view(1, -1, 1, 1), rows, columns] = pixels
    return frame
