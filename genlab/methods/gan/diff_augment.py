"""Differentiable augmentation of all images that the discriminator sees; Zhao et al. 2020, arXiv:2006.10738.

The discriminator cannot learn small sets of images by heart, and the generator learns through the augmentation, so that
its own images do not show it. Strengths as in the paper, appendix A, for pixels in [0, 1].
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

AugmentationName = Literal["none", "translation", "translation-cutout", "colour-translation-cutout"]


def diff_augment(x: Tensor, name: AugmentationName) -> Tensor:
    """x (N, C, H, W) in [0, 1] -> the same shape, every image changed in its own way; colours may leave [0, 1]."""
    if "colour" in name:
        x = contrast(saturation(brightness(x)))
    if "translation" in name:
        x = translation(x)
    return cutout(x) if "cutout" in name else x


def uniform(x: Tensor, low: float, high: float) -> Tensor:
    """A number per image, (N, 1, 1, 1)."""
    return low + (high - low) * torch.rand(len(x), 1, 1, 1, device=x.device)


def brightness(x: Tensor) -> Tensor:
    """Half of the strength of the paper, whose pixels are in [-1, 1]."""
    return x + uniform(x, -0.25, 0.25)


def saturation(x: Tensor) -> Tensor:
    return torch.lerp(x.mean(1, keepdim=True), x, uniform(x, 0, 2))


def contrast(x: Tensor) -> Tensor:
    return torch.lerp(x.mean((1, 2, 3), keepdim=True), x, uniform(x, 0.5, 1.5))


def translation(x: Tensor, ratio: float = 0.125) -> Tensor:
    """By whole pixels, up to `ratio` of the sides; what comes in is 0."""
    theta = torch.eye(2, 3, device=x.device).repeat(len(x), 1, 1)
    for axis, side in enumerate((x.shape[3], x.shape[2])):
        most = int(side * ratio + 0.5)
        theta[:, axis, 2] = 2 / side * torch.randint(-most, most + 1, (len(x),), device=x.device)
    where = affine_grid(theta, list(x.shape), align_corners=False).to(x.dtype)
    return grid_sample(x, where, mode="nearest", align_corners=False)


def cutout(x: Tensor, ratio: float = 0.5) -> Tensor:
    """A rectangle of `ratio` of the sides, anywhere and partly outside, becomes 0."""
    inside = torch.ones(len(x), 1, 1, 1, dtype=torch.bool, device=x.device)
    for axis, side in ((2, x.shape[2]), (3, x.shape[3])):
        size = int(side * ratio + 0.5)
        start = torch.randint(1 - size, side, (len(x), 1), device=x.device) if size else 0
        line = torch.arange(side, device=x.device)[None] - start
        within = (line >= 0) & (line < size)
        inside = inside & (within[:, None, :, None] if axis == 2 else within[:, None, None, :])
    return x.masked_fill(inside, 0)
