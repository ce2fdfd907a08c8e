"""U-Net generator of pix2pix; Isola et al. 2017, arXiv:1611.07004, appendix 6.1.1: encoder and decoder with skip
connections; the only noise is dropout in the decoder, also after training.

The number of levels (eight in the paper, from 256x256 to 1x1) depends on the image. Images are in [0, 1], and in
[-1, 1] inside the network. Departures: instance normalisation by default (equal to the paper's batch normalisation at
its batch size of 1); no dropout in the two finest levels, where it is visible as noise in small images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from genlab.nets.dcgan import Norm, initialise

DEEPEST = 8  # levels of the paper's net
WIDEST = 8  # maximal number of channels, in multiples of `width`
DROPOUT_LEVELS, NO_DROPOUT_LEVELS = (
    3,
    2,
)  # decoder levels with dropout, the coarsest ones; and without it in any case, the finest ones


def halvings(shape: tuple[int, int, int]) -> int:
    """How often both sides of `shape` (C, H, W) are divisible by 2, at most eight times."""
    return max(n for n in range(DEEPEST + 1) if all(side % 2**n == 0 for side in shape[1:]))


class AlwaysOnDropout(nn.Module):
    """Dropout that is also active in eval mode."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, training=True)


class UNet(nn.Module):
    """x (N, C, H, W) in [0, 1] -> (N, outputs, H, W) in [0, 1].

    width: channels of the finest level, doubled in every coarser one up to 8 `width`.
    levels: number of downsamplings; none: as many as the size allows.
    noise: dropout rate in the coarsest levels of the decoder, if there are more than two; 0: deterministic.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        width: int = 64,
        levels: int | None = None,
        norm: Norm = nn.InstanceNorm2d,
        noise: float = 0.5,
    ):
        super().__init__()
        levels = halvings(shape) if levels is None else levels
        if levels < 1 or shape[1] % 2**levels or shape[2] % 2**levels:
            wanted = f"halves its sides {levels} times" if levels > 0 else "halves its sides at least once"
            raise ValueError(f"this U-Net {wanted}, which images of {shape[1]}x{shape[2]} do not allow")
        if not 0 <= noise < 1:
            raise ValueError(f"noise is a share of features in [0, 1), got {noise}")
        channels = [width * min(2**n, WIDEST) for n in range(levels)]
        self.stride = 2**levels
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for n, o in enumerate(channels):
            enter = [nn.LeakyReLU(0.2)] if n else []  # not in place: the decoder reads its input, too
            leave = [norm(o)] if 0 < n < levels - 1 else []
            self.down.append(nn.Sequential(*enter, nn.Conv2d(channels[n - 1] if n else shape[0], o, 4, 2, 1), *leave))
        for n in reversed(range(levels)):
            i = channels[n] * (1 if n == levels - 1 else 2)
            leave = [norm(channels[n - 1])] if n else []
            leave += [AlwaysOnDropout(noise)] if noise and n >= max(NO_DROPOUT_LEVELS, levels - DROPOUT_LEVELS) else []
            grow = nn.ConvTranspose2d(i, channels[n - 1] if n else outputs, 4, 2, 1)
            self.up.append(nn.Sequential(nn.ReLU(), grow, *leave))
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] % self.stride or x.shape[3] % self.stride:
            raise ValueError(
                f"this U-Net takes images whose sides are multiples of {self.stride}, got {x.shape[2]}x{x.shape[3]}"
            )
        h, skips = 2 * x - 1, []
        for down in self.down:
            h = down(h)
            skips.append(h)
        for n, up in enumerate(self.up):
            h = up(torch.cat([h, skips[-1 - n]], 1) if n else h)
        return (h.float() * 2).sigmoid()  # = (tanh + 1) / 2
