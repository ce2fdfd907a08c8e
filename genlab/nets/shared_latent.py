"""Encoders and decoders of two domains with a shared latent space; UNIT, Liu et al. 2017, arXiv:1703.00848, section 3.

Codes are feature maps of a quarter of the image size. The layers next to the pixels are separate for each domain; those
next to the code may be shared. Departure: smaller than in the paper, with the residual block of CycleGAN.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from genlab.nets.translator import TranslatorBlock, convolution

HALVINGS = 2


class DomainEncoder(nn.Sequential):
    """x (N, *shape) in [0, 1] -> features (N, 4 width, H/4, W/4): the first, domain-specific layers of an encoder."""

    def __init__(self, shape: tuple[int, int, int], width: int):
        if min(shape[1:]) < 8 or any(side % 2**HALVINGS for side in shape[1:]):
            size = f"{shape[1]}x{shape[2]}"
            raise ValueError(f"these networks take images whose sides are multiples of 4 and at least 8, got {size}")
        layers = [*convolution(shape[0], width, 3), nn.ReLU(inplace=True)]
        for i, o in pairwise(width * 2**n for n in range(HALVINGS + 1)):
            layers += [nn.Conv2d(i, o, 4, 2, 1, bias=False), nn.InstanceNorm2d(o), nn.ReLU(inplace=True)]
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(2 * x - 1)


class CodeEncoder(nn.Sequential):
    """features (N, 4 width, H/4, W/4) -> code (N, latent, H/4, W/4), unbounded: the last layers of an encoder."""

    def __init__(self, width: int, latent: int):
        channels = width * 2**HALVINGS
        super().__init__(TranslatorBlock(channels), nn.ReLU(inplace=True), nn.Conv2d(channels, latent, 3, padding=1))


class CodeDecoder(nn.Sequential):
    """code (N, latent, H/4, W/4) -> features (N, 4 width, H/4, W/4): the first layers of a decoder."""

    def __init__(self, width: int, latent: int):
        channels = width * 2**HALVINGS
        super().__init__(*convolution(latent, channels, 3), nn.ReLU(inplace=True), TranslatorBlock(channels))


class DomainDecoder(nn.Sequential):
    """features (N, 4 width, H/4, W/4) -> x (N, *shape) in [0, 1]: the last, domain-specific layers of a decoder."""

    def __init__(self, shape: tuple[int, int, int], width: int):
        layers: list[nn.Module] = []
        for i, o in pairwise(width * 2**n for n in reversed(range(HALVINGS + 1))):
            layers += [nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False), nn.InstanceNorm2d(o), nn.ReLU(inplace=True)]
        super().__init__(*layers, nn.Conv2d(width, shape[0], 3, padding=1))

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h).float().sigmoid()


class CodeDiscriminator(nn.Sequential):
    """code (N, latent, h, w) -> (N,), the logit of a domain."""

    def __init__(self, latent: int, width: int):
        channels = width * 2**HALVINGS
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
