"""Encoders and decoders of two domains with a shared latent space; UNIT, Liu et al. 2017, arXiv:1703.00848, section 3.

Codes are feature maps of 1 / 2^levels of the image size, a quarter in the paper. The layers next to the pixels are
separate for each domain; those next to the code may be shared. Departure: smaller than in the paper, with the residual
block of CycleGAN.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from genlab.nets.translator import TranslatorBlock, convolution


def widths(width: int, levels: int) -> list[int]:
    """Channels of every level, those next to the pixels first."""
    return [width * 2**n for n in range(levels + 1)]


class DomainEncoder(nn.Sequential):
    """x (N, *shape) in [0, 1] -> features (N, 2^levels width, H / 2^levels, W / 2^levels): the first, domain-specific
    layers of an encoder."""

    def __init__(self, shape: tuple[int, int, int], width: int, levels: int = 2):
        stride, size = 2**levels, f"{shape[1]}x{shape[2]}"
        if min(shape[1:]) < 2 * stride or any(side % stride for side in shape[1:]):
            raise ValueError(
                f"with levels={levels}, these networks take images whose sides are multiples of {stride} and at least "
                f"{2 * stride}, got {size}"
            )
        layers = [*convolution(shape[0], width, 3), nn.ReLU(inplace=True)]
        for i, o in pairwise(widths(width, levels)):
            layers += [nn.Conv2d(i, o, 4, 2, 1, bias=False), nn.InstanceNorm2d(o), nn.ReLU(inplace=True)]
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(2 * x - 1)


class CodeEncoder(nn.Sequential):
    """features (N, channels, h, w) -> code (N, latent, h, w), unbounded: the last layers of an encoder."""

    def __init__(self, channels: int, latent: int):
        super().__init__(TranslatorBlock(channels), nn.ReLU(inplace=True), nn.Conv2d(channels, latent, 3, padding=1))


class CodeDecoder(nn.Sequential):
    """code (N, latent, h, w) -> features (N, channels, h, w): the first layers of a decoder."""

    def __init__(self, channels: int, latent: int):
        super().__init__(*convolution(latent, channels, 3), nn.ReLU(inplace=True), TranslatorBlock(channels))


class DomainDecoder(nn.Sequential):
    """features (N, 2^levels width, H / 2^levels, W / 2^levels) -> x (N, *shape) in [0, 1]: the last, domain-specific
    layers of a decoder."""

    def __init__(self, shape: tuple[int, int, int], width: int, levels: int = 2):
        layers: list[nn.Module] = []
        for i, o in pairwise(reversed(widths(width, levels))):
            layers += [nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False), nn.InstanceNorm2d(o), nn.ReLU(inplace=True)]
        super().__init__(*layers, nn.Conv2d(width, shape[0], 3, padding=1))

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h).float().sigmoid()


class CodeDiscriminator(nn.Sequential):
    """code (N, latent, h, w) -> (N,), the logit of a domain."""

    def __init__(self, latent: int, channels: int):
        super().__init__(
            nn.Conv2d(latent, channels, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, 1),
        )

    def forward(self, code: Tensor) -> Tensor:
        return super().forward(code).squeeze(1).float()
