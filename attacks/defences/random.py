"""Random resizing and padding before the classifier; Xie et al. 2018, arXiv:1711.01991.

Random per image, from torch's generator (`torch.manual_seed`). The adaptive attack averages over samples (EOT,
`Filtered.adaptive()`). Departure: the classifier has a fixed input size, so the padded image is resized to the size of
the original, bilinearly.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from attacks.defences.smoothing import Filter
from attacks.views import PARAMETERS, Views
from genlab.core.ranges import Range, checked


class ResizePad(Filter):
    """Images at a random size and position on a black canvas of `max_scale` times their side (331/299 in the paper)."""

    random = True

    @checked
    def __init__(self, max_scale: Annotated[float, Range(1, 4, above=True)] = 1.1) -> None:
        super().__init__()
        self.max_scale = max_scale
        self.views = Views(rotation=0.0, scale=(1 / max_scale, 1.0), place=1.0, brightness=0.0)

    def extra_repr(self) -> str:
        return f"max_scale={self.max_scale}"

    def forward(self, x: Tensor) -> Tensor:
        u = torch.rand(len(x), PARAMETERS, device=x.device)
        return self.views.render(x, u, (x.shape[2], x.shape[3])).clamp(0, 1)
