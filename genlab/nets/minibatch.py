"""Minibatch discrimination; Salimans et al. 2016, arXiv:1606.03498, section 3.2."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MinibatchFeatures(nn.Module):
    """x (N, features) -> (N, features + kernels): appends features of the similarity of each row to the batch.

    With M = x T (N, kernels, dims), the new feature b of row i is sum_j exp(-|M_ib - M_jb|_1) over j != i; the paper's
    sum runs over j = i too, which adds 1.
    """

    def __init__(self, features: int, kernels: int = 32, dims: int = 8):
        super().__init__()
        self.project = nn.Linear(features, kernels * dims, bias=False)
        self.kernels, self.outputs = kernels, features + kernels

    def forward(self, x: Tensor) -> Tensor:
        m = self.project(x).unflatten(1, (self.kernels, -1)).float()
        distances = (m.unsqueeze(0) - m.unsqueeze(1)).abs().sum(dim=3)  # (N, N, kernels)
        return torch.cat([x, (-distances).exp().sum(dim=1) - 1], dim=1)
