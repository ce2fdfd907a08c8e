"""Generator and discriminator of R3GAN; Huang et al. 2024, arXiv:2501.05441, section 3.3 and appendix ("config E").

A modernised residual network without any normalisation: inverted bottlenecks with grouped 3x3 convolutions, bilinear
resampling, and weights that keep the variance at the start (fix-up initialisation: the last layer of a block is 0).
Departures: two channels per group instead of 16, a base of 4 to 7 pixels instead of 4, and channels that double at
every coarser level, for small images; bounded outputs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, leaky_relu

from genlab.nets.dcgan import LatentInput

BLOCKS = 2  # per level
EXPANSION = 2  # of the channels within a block
GROUP = 2  # channels of a group
SLOPE = 0.2  # of the leaky ReLU
WIDEST = 4  # maximal number of channels, in multiples of `width`


def scaled(layer: nn.Conv2d | nn.Linear, gain: float) -> nn.Conv2d | nn.Linear:
    """The layer with weights from N(0, gain² / inputs), and a bias of 0."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Block(nn.Module):
    """x (N, C, H, W) -> the same shape; the identity at first. blocks: of the whole network, to scale the weights."""

    def __init__(self, channels: int, blocks: int):
        super().__init__()
        inner = EXPANSION * channels
        gain = math.sqrt(2 / (1 + SLOPE**2)) * blocks**-0.25  # L^(-1 / (2 m - 2)) for m = 3 layers per block
        self.enter = scaled(nn.Conv2d(channels, inner, 1), gain)
        self.grouped = scaled(nn.Conv2d(inner, inner, 3, padding=1, groups=max(1, inner // GROUP)), gain)
        self.leave = scaled(nn.Conv2d(inner, channels, 1, bias=False), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.leave(leaky_relu(self.grouped(leaky_relu(self.enter(x), SLOPE)), SLOPE))


class Up(nn.Module):
    """(N, i, H, W) -> (N, o, 2 H, 2 W), by bilinear interpolation."""

    def __init__(self, i: int, o: int):
        super().__init__()
        self.project = projection(i, o)

    def forward(self, x: Tensor) -> Tensor:
        return interpolate(self.project(x), scale_factor=2.0, mode="bilinear")


class Down(nn.Module):
    """(N, i, H, W) -> (N, o, H / 2, W / 2), by the filter of bilinear interpolation, (1, 3, 3, 1) / 8 in each axis."""

    weights: Tensor

    def __init__(self, i: int, o: int):
        super().__init__()
        self.project = projection(i, o)
        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("weights", line.outer(line).expand(i, 1, 4, 4).clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(conv2d(x, self.weights.to(x.dtype), stride=2, padding=1, groups=x.shape[1]))


def projection(i: int, o: int) -> nn.Module:
    return nn.Identity() if i == o else scaled(nn.Conv2d(i, o, 1, bias=False), 1.0)


def sizes(shape: tuple[int, int, int], width: int) -> tuple[list[int], tuple[int, int]]:
    """The channels of every level, from the finest on, and the sides of the coarsest.

    Raises:
        ValueError: the sides cannot be halved down to less than 8 pixels.
    """
    _, height, columns = shape
    count = 1
    while height % 2 == 0 and columns % 2 == 0 and min(height, columns) >= 8:
        height, columns, count = height // 2, columns // 2, count + 1
    if count == 1 or min(height, columns) >= 8:
        raise ValueError(f"R3GAN's networks halve the sides down to 4 to 7 pixels, which {shape} does not allow")
    return [width * min(2**n, WIDEST) for n in range(count)], (height, columns)


class R3Generator(nn.Sequential):
    """z (N, latent) -> x (N, *shape) in [0, 1]; `width` channels at the finest level."""

    def __init__(self, shape: tuple[int, int, int], latent: int, width: int):
        channels, base = sizes(shape, width)
        layers: list[nn.Module] = [LatentInput(latent), Basis(latent, channels[-1], base)]
        total = BLOCKS * len(channels)
        for n in reversed(range(len(channels))):
            layers += [Block(channels[n], total) for _ in range(BLOCKS)]
            layers += [Up(channels[n], channels[n - 1])] if n else []
        super().__init__(*layers, scaled(nn.Conv2d(width, shape[0], 1), 1.0))
        self.latent = latent

    def forward(self, z: Tensor) -> Tensor:
        return (super().forward(z) * 2).sigmoid()


class Basis(nn.Module):
    """z (N, latent) -> (N, C, H, W): learnt maps, each times a number that depends on z."""

    def __init__(self, latent: int, channels: int, sides: tuple[int, int]):
        super().__init__()
        self.maps = nn.Parameter(torch.randn(channels, *sides))
        self.factors = scaled(nn.Linear(latent, channels, bias=False), 1.0)

    def forward(self, z: Tensor) -> Tensor:
        return self.maps * self.factors(z)[:, :, None, None]


class R3Discriminator(nn.Module):
    """x (N, *shape) in [0, 1] -> score (N,), unbounded; `width` channels at the finest level."""

    def __init__(self, shape: tuple[int, int, int], width: int):
        super().__init__()
        channels, sides = sizes(shape, width)
        total = BLOCKS * len(channels)
        layers: list[nn.Module] = [scaled(nn.Conv2d(shape[0], width, 1), 1.0)]
        for n, count in enumerate(channels):
            layers += [Block(count, total) for _ in range(BLOCKS)]
            layers += [Down(count, channels[n + 1])] if n + 1 < len(channels) else []
        last = channels[-1]
        maps = scaled(nn.Conv2d(last, last, sides, groups=last, bias=False), 1.0)
        self.body = nn.Sequential(*layers, maps, nn.Flatten())
        self.head = scaled(nn.Linear(last, 1, bias=False), 1.0)

    def features(self, x: Tensor) -> Tensor:
        """x -> the input of the last layer, (N, F)."""
        return self.body(2 * x - 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)).squeeze(1).float()
