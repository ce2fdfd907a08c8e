"""Random resizing and padding before the classifier; Xie et al. 2018, arXiv:1711.01991.

Drawn from torch's generator, per image: `torch.manual_seed` makes it again. An attacker who knows of it averages over
draws (`Filtered.adaptive()`). Departure: the classifier takes one size, so what is put at random on a larger canvas is
seen at the size of the image, bilinearly.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from attacks.defences.smoothing import Filter
from attacks.views import NUMBERS, Views
from genlab.core.ranges import Range, checked


class ResizePad(Filter):
    """Every image at a random size and place on a black canvas of up to `reach` times its side; the paper: 331/299."""

    random = True

    @checked
    def __init__(self, reach: Annotated[float, Range(1, 4, above=True)] = 1.1) -> None:
        super().__init__()
        self.reach, self.views = reach, Views(rotation=0.0, scale=(1 / reach, 1.0), place=1.0, brightness=0.0)

    def extra_repr(self) -> str:
        return f"reach={self.reach}"

    def forward(self, x: Tensor) -> Tensor:
        u = torch.rand(len(x), NUMBERS, device=x.device)
        return self.views.show(x, u, (x.shape[2], x.shape[3])).clamp(0, 1)
