"""How sharp are pictures? The energy of their Laplacian, the sum of second differences; a blur takes it away.

A measure of focus; Pech-Pacheco et al. 2000, ICPR, doi:10.1109/ICPR.2000.903548, who take its variance.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from genlab.metrics import checks


def sharpness(x: Tensor) -> float:
    """Images (N, C, H, W) in [0, 1] -> mean square of their discrete Laplacian; the border continues outwards."""
    x = pad(checks.pixels(x).flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], device=x.device)
    return float(conv2d(x, kernel[None, None]).square().mean())
