"""Sharpness: the energy of the Laplacian, which blur reduces.

A focus measure; Pech-Pacheco et al. 2000, ICPR, doi:10.1109/ICPR.2000.903548, who use the variance of the Laplacian.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from genlab.metrics import checks


def sharpness(x: Tensor) -> float:
    """Images (N, C, H, W) in [0, 1] -> the mean square of their discrete Laplacian; borders are replicated."""
    x = pad(checks.pixels(x).flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], device=x.device)
    return float(conv2d(x, kernel[None, None]).square().mean())
