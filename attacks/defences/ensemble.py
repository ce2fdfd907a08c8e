"""Average of several classifiers; not robust to adaptive attacks by itself: He et al. 2017, arXiv:1706.04701."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ProbabilityEnsemble(nn.Module):
    """x -> log of the members' mean probabilities (N, K). Raises ValueError without members."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs at least 1 member, got none.")
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        log_probs = torch.stack([member(x).log_softmax(1) for member in self.members])
        return log_probs.logsumexp(0) - math.log(len(self.members))
