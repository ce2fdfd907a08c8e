"""Spatial transformer: Jaderberg, Simonyan, Zisserman, Kavukcuoglu 2015, arXiv:1506.02025.

A localisation network predicts an affine map for every image, by which the image is resampled before it is classified.
It starts at the identity. Black pixels lie outside of the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

PACE = 0.1  # of the maps: they learn more slowly than the classifier, or else lose sight of the image early on


class SpatialTransformer(nn.Module):
    """x (N, C, H, W) -> the same shape: x at the points theta (X, Y, 1) of each output point (X, Y) in [-1, 1]²
    (eq. 1), bilinearly (eq. 5).

    shape: (C, H, W). width: channels of the localisation network.
    """

    def __init__(self, shape: tuple[int, int, int], width: int = 16):
        super().__init__()
        last = nn.Linear(32, 6)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.localisation = nn.Sequential(
            nn.Conv2d(shape[0], width, 5, padding=2),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(16 * width, 32),
            nn.ReLU(inplace=True),
            last,
        )

    def theta(self, x: Tensor) -> Tensor:
        """x -> the affine maps (N, 2, 3)."""
        identity = torch.eye(2, 3, device=x.device)
        return identity + PACE * self.localisation(x).unflatten(1, (2, 3))

    def forward(self, x: Tensor) -> Tensor:
        theta = self.theta(x).to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):  # coordinates need all their digits
            grid = affine_grid(theta, list(x.shape), align_corners=False)
            return grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
