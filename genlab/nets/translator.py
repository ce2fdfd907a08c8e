"""The residual translator of CycleGAN; Zhu et al. 2017, arXiv:1703.10593, appendix 7.2 (after Johnson et al. 2016,
arXiv:1603.08155).

Two downsamplings, 6 or 9 residual blocks, two upsamplings in the paper; fewer for small images. A condition (the domain
in StarGAN; Choi et al. 2018, arXiv:1711.09020) is concatenated as constant planes; then the first layer has no instance
normalisation, which would remove constants. Images are in [0, 1], and in [-1, 1] inside the network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.nets.dcgan import initialise


def convolution(i: int, o: int, kernel: int) -> list[nn.Module]:
    """(N, i, H, W) -> (N, o, H, W): convolution with reflection padding, and instance normalisation."""
    return [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(i, o, kernel, bias=False), nn.InstanceNorm2d(o)]


class TranslatorBlock(nn.Module):
    """Residual block of two 3x3 convolutions, (N, C, H, W) -> the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        enter, leave = convolution(channels, channels, 3), convolution(channels, channels, 3)
        self.body = nn.Sequential(*enter, nn.ReLU(inplace=True), *leave)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Translator(nn.Module):
    """x (N, C, H, W) in [0, 1], condition (N, conditions) or None -> an image of the same shape and range.

    width: channels at full resolution, doubled by every downsampling.
    blocks: residual blocks at the lowest resolution.
    levels: downsamplings; H and W must be multiples of `stride` = 2^levels, at least twice as large.
    """

    def __init__(
        self, shape: tuple[int, int, int], width: int = 64, blocks: int = 6, levels: int = 2, conditions: int = 0
    ):
        super().__init__()
        if min(width, blocks) < 1 or levels < 0:
            raise ValueError(f"width, blocks >= 1 and levels >= 0 make a translator, got {width}, {blocks}, {levels}")
        self.stride = 2**levels
        self.fits(*shape[1:])
        widths = [width * 2**n for n in range(levels + 1)]
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for fine, coarse in zip(widths, widths[1:]):
            shrink = nn.Conv2d(fine, coarse, 3, 2, 1, bias=False)
            grow = nn.ConvTranspose2d(coarse, fine, 3, 2, 1, output_padding=1, bias=False)
            down += [shrink, nn.InstanceNorm2d(coarse), nn.ReLU(inplace=True)]
            up[:0] = [grow, nn.InstanceNorm2d(fine), nn.ReLU(inplace=True)]
        enter = convolution(shape[0], width, 7)
        if conditions:
            enter = [nn.ReflectionPad2d(3), nn.Conv2d(shape[0] + conditions, width, 7)]
        self.net = nn.Sequential(
            *enter,
            nn.ReLU(inplace=True),
            *down,
            *(TranslatorBlock(widths[-1]) for _ in range(blocks)),
            *up,
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, shape[0], 7),
        )
        self.apply(initialise)

    def fits(self, h: int, w: int) -> None:
        """Raises ValueError unless outputs have the size h x w of the inputs."""
        least = max(4, 2 * self.stride)
        if h % self.stride or w % self.stride or min(h, w) < least:
            raise ValueError(
                f"this translator takes images whose sides are multiples of {self.stride} and at least {least}, "
                f"got {h}x{w}"
            )

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        self.fits(*x.shape[2:])
        h = 2 * x - 1
        if condition is not None:
            h = torch.cat([h, condition.to(h.dtype)[:, :, None, None].expand(-1, -1, *h.shape[2:])], 1)
        return (2 * self.net(h)).sigmoid().float()  # = (tanh + 1) / 2
