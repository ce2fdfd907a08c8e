"""Resizes image sets and converts between grey and colour."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.core.memory import require
from genlab.data.images import Images, to_float

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue; ITU-R BT.601


def luma(x: Tensor) -> Tensor:
    """Colour (N, 3, H, W) -> grey (N, 1, H, W), float32."""
    return (x * torch.tensor(LUMA, device=x.device).view(1, 3, 1, 1)).sum(1, keepdim=True)


def resized(images: Images, size: int | None = None, channels: int | None = None) -> Images:
    """Images of `size` x `size` pixels (bilinear, antialiased) and `channels` (luma, or grey repeated); none: as is."""
    pixels = images.pixels
    if channels is not None and channels != images.shape[0]:
        pixels = recoloured(pixels)
    if size is not None and (size, size) != images.shape[1:]:
        require(len(pixels) * pixels.shape[1] * size**2, f"{len(pixels):,} images of {size}x{size} pixels", "--size")
        pixels = torch.cat([_scaled(part, size) for part in pixels.split(1024)])
    return images if pixels is images.pixels else replace(images, pixels=pixels)


def recoloured(pixels: Tensor) -> Tensor:
    """uint8 grey (N, 1, H, W) -> colour (N, 3, H, W), or colour -> grey by luma."""
    if pixels.shape[1] == 1:
        return pixels.expand(-1, 3, -1, -1)
    return torch.cat([luma(part).round_().to(torch.uint8) for part in pixels.split(1024)])


def _scaled(pixels: Tensor, size: int) -> Tensor:
    x = F.interpolate(to_float(pixels), (size, size), mode="bilinear", antialias=True)
    return x.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
