"""A pool of past fakes; Shrivastava et al. 2017, arXiv:1612.07828, section 2.3.

Departure: every image is swapped by a coin of its own, so about half, not exactly half, of a batch is old.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImagePool(nn.Module):
    """Keeps `size` images (or points) of `shape` on the device, in buffers: they survive a restart.

    A batch of more than `size` is a ValueError.
    """

    images: Tensor
    filled: Tensor

    def __init__(self, size: int, shape: tuple[int, ...]):
        super().__init__()
        self.batch_sizes = range(1, size + 1)
        self.register_buffer("images", torch.zeros(size, *shape))
        self.register_buffer("filled", torch.zeros(size, dtype=torch.bool))

    @torch.no_grad()
    def swap(self, new: Tensor) -> Tensor:
        """(N, *shape) -> the same, about half of them exchanged for older ones; while there is room they all enter."""
        places, room = self._places(new)
        old, leave = self.images[places], torch.rand(len(new), device=new.device).view_as(room) < 0.5
        self.images[places] = torch.where(room | leave, new.to(old.dtype), old)
        self.filled[places] = True
        return torch.where(leave & ~room, old.to(new.dtype), new)

    @torch.no_grad()
    def exchange(self, new: Tensor) -> Tensor:
        """(N, *shape) -> as many older ones, whose places the new ones take; while there is room, the new ones."""
        places, room = self._places(new)
        old = torch.where(room, new, self.images[places].to(new.dtype))
        self.images[places], self.filled[places] = new.to(self.images.dtype), True
        return old

    def _places(self, new: Tensor) -> tuple[Tensor, Tensor]:
        """N different places at random, the empty ones first; and which of them are empty, to broadcast over images."""
        if len(new) > len(self.images):
            raise ValueError(f"a pool of {len(self.images)} images cannot take a batch of {len(new)}")
        places = (torch.rand(len(self.filled), device=new.device) + ~self.filled).topk(len(new)).indices
        return places, ~self.filled[places].view(-1, *[1] * (new.ndim - 1))
