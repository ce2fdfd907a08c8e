"""Residual encoder and decoder between images and code maps of a quarter of their size; van den Oord et al. 2017,
arXiv:1711.00937, section 4.1: two strided 4x4 convolutions and two residual blocks, and the reverse."""

from __future__ import annotations

from torch import Tensor, nn

from genlab.nets.dcgan import Norm


class Residual(nn.Module):
    """h (N, width, H, W) -> the same shape; norm: after each convolution."""

    def __init__(self, width: int, norm: Norm):
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            norm(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
            norm(width),
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.body(h)


def none(channels: int) -> nn.Module:
    return nn.Identity()


def map_shape(shape: tuple[int, int, int]) -> tuple[int, int]:
    """The height and width of the code map for images of `shape` (C, H, W)."""
    _, h, w = shape
    if h % 4 or w % 4:
        raise ValueError(f"these networks take images whose sides are multiples of 4, got {shape}")
    return h // 4, w // 4


def encoder(shape: tuple[int, int, int], channels: int, width: int, norm: Norm = none) -> nn.Sequential:
    """x (N, *shape) in [0, 1] -> (N, channels, H/4, W/4), unbounded."""
    map_shape(shape)
    return nn.Sequential(
        nn.Conv2d(shape[0], width // 2, 4, 2, 1),
        norm(width // 2),
        nn.ReLU(),
        nn.Conv2d(width // 2, width, 4, 2, 1),
        norm(width),
        Residual(width, norm),
        Residual(width, norm),
        nn.ReLU(),
        nn.Conv2d(width, channels, 1),
    )


def decoder(shape: tuple[int, int, int], channels: int, width: int, norm: Norm = none) -> nn.Sequential:
    """(N, channels, H/4, W/4) -> (N, *shape), unbounded."""
    map_shape(shape)
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        norm(width),
        Residual(width, norm),
        Residual(width, norm),
        nn.ReLU(),
        nn.ConvTranspose2d(width, width // 2, 4, 2, 1),
        norm(width // 2),
        nn.ReLU(),
        nn.ConvTranspose2d(width // 2, shape[0], 4, 2, 1),
    )
