"""The noise level and the class that a denoiser is told, as features (Ho et al. 2020, arXiv:2006.11239, appendix B)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

FASTEST = 32.0  # highest frequency of the embedding, in radians per unit of noise level


def starting_at_zero(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """The layer, its weight and bias set to 0."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Embedding(nn.Module):
    """(noise level (N,), any real number of order 1; labels (N,) or None) -> (N, features).

    Labels are 0 .. classes - 1; `classes` itself, or None, stands for no class.
    """

    frequencies: Tensor

    def __init__(self, width: int, features: int, classes: int):
        super().__init__()
        frequencies = torch.logspace(math.log10(0.25), math.log10(FASTEST), width)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.level = nn.Sequential(nn.Linear(2 * width, features), nn.SiLU(), nn.Linear(features, features))
        self.classes = classes
        self.label = nn.Embedding(classes + 1, features) if classes else None

    def forward(self, level: Tensor, labels: Tensor | None) -> Tensor:
        angles = level[:, None] * self.frequencies
        found = self.level(torch.cat([angles.sin(), angles.cos()], 1))
        if self.label is not None:
            none = torch.full((len(level),), self.classes, device=level.device) if labels is None else labels
            found = found + self.label(none)
        return silu(found)
