"""Synthetic styles: maps x (N, C, H, W) in [0, 1] -> the same content in another appearance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genlab.data.resize import luma

MOON = torch.tensor([0.36, 0.44, 0.72])  # factors of red, green and blue
DUSK = torch.tensor([0.02, 0.03, 0.12])  # offsets
INK = torch.tensor([1.0, 0.86, 0.35])
GROUND = torch.tensor([0.10, 0.20, 0.45])


def night(x: Tensor) -> Tensor:
    """Half desaturated, darkened, tinted blue, brighter to the right."""
    grey = luma(x)
    light = torch.linspace(0.7, 1.0, x.shape[3], device=x.device)
    return (x + grey) / 2 * light * _colour(MOON, x) + _colour(DUSK, x)


def styled(x: Tensor) -> Tensor:
    """The negative, with darker diagonal stripes of two pixels."""
    row, column = _places(x)
    band = ((row + column) // 2) % 2
    return (1 - x) * (1 - 0.45 * band)


def textured(x: Tensor) -> Tensor:
    """Grey (N, 1, H, W) -> colour (N, 3, H, W): from a woven blue texture (black) to yellow (white)."""
    row, column = _places(x)
    weave = 0.5 + 0.5 * torch.where((row // 4 + column // 4) % 2 == 0, row % 2, column % 2)
    ground = GROUND.to(x.device).view(3, 1, 1) * (0.4 + 0.8 * weave)
    return torch.lerp(ground, INK.to(x.device).view(3, 1, 1), x.expand(-1, 3, -1, -1))


STYLES: dict[str, Callable[[Tensor], Tensor]] = {
    "grey": lambda x: x,
    "night": night,
    "styled": styled,
    "textured": textured,
}
OF_GREY = ("grey", "textured")  # styles of grey images


def _places(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.arange(x.shape[2], device=x.device).view(-1, 1), torch.arange(x.shape[3], device=x.device)


def _colour(values: Tensor, x: Tensor) -> Tensor:
    """RGB values (for grey images their mean) as a tensor that broadcasts over x."""
    values = values.to(x.device)
    return (values if x.shape[1] == 3 else values.mean(0, keepdim=True)).view(-1, 1, 1)
