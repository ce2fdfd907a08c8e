"""Adaptive instance normalisation; Huang & Belongie 2017, arXiv:1703.06868, eq. 8."""

from __future__ import annotations

from math import e, log

import torch
from torch import Tensor, nn
from torch.nn.functional import instance_norm, softplus


def statistics(h: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over H and W of h (N, C, H, W), each (N, C)."""
    h = h.flatten(2).float()
    return h.mean(2), (h.var(2, correction=0) + eps).sqrt()


def adain(h: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """h (N, C, H, W) normalised to the given mean and standard deviation (N, C) over H and W."""
    return instance_norm(h) * deviation[:, :, None, None] + mean[:, :, None, None]


class AdaIN(nn.Module):
    """h (N, C, H, W), style (N, S) -> h with mean and standard deviation predicted from the style by a linear layer."""

    def __init__(self, channels: int, style: int):
        super().__init__()
        self.read = nn.Linear(style, 2 * channels)

    def forward(self, h: Tensor, style: Tensor) -> Tensor:
        mean, deviation = self.read(style).chunk(2, 1)
        return adain(h, mean, softplus(deviation + log(e - 1)))  # about 1 at initialisation


class StyledDecoder(nn.Module):
    """content (N, channels, H/4, W/4), style (N, S) -> (N, *shape), unbounded; AdaIN after every layer but the last."""

    def __init__(self, shape: tuple[int, int, int], channels: int, style: int, width: int):
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(channels, width, 3, padding=1),
                nn.ConvTranspose2d(width, width, 4, 2, 1),
                nn.ConvTranspose2d(width, width, 4, 2, 1),
            ]
        )
        self.styles = nn.ModuleList(AdaIN(width, style) for _ in self.layers)
        self.last = nn.Conv2d(width, shape[0], 3, padding=1)

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        h = content
        for layer, adapt in zip(self.layers, self.styles):
            h = torch.relu(adapt(layer(h), style))
        return self.last(h)
