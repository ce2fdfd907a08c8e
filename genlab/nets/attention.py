"""Self-attention of SAGAN; Zhang et al. 2019, arXiv:1805.08318, eq. 1-3."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """x (N, C, H, W) -> x + gamma * attention over all H W positions; the learned gamma starts at 0 (identity).

    Queries and keys have C / 8 channels, values C / 2.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner, values = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Conv2d(channels, inner, 1, bias=False)
        self.key = nn.Conv2d(channels, inner, 1, bias=False)
        self.value = nn.Conv2d(channels, values, 1, bias=False)
        self.out = nn.Conv2d(values, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        weights = (q.mT @ k).softmax(dim=2)  # (N, HW, HW): row i is the attention of position i
        return x + self.gamma * self.out((v @ weights.mT).unflatten(2, x.shape[2:]))
