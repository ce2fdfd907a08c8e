"""Classification accuracy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genlab.core.passes import pass_size
from genlab.data import Folder, Images, batches


@torch.no_grad()
def predict_logits(model: Callable[[Tensor], Tensor], data: Images) -> Tensor:
    """The logits (N, classes) of a model (x -> logits, in eval mode) on all of `data`."""
    return torch.cat([model(x) for x, _ in batches(data, pass_size(data.shape, data.device))])


@torch.no_grad()
def accuracy(model: Callable[[Tensor], Tensor], data: Images | Folder) -> float:
    """The accuracy of a model (x -> logits, in eval mode) on `data`, in [0, 1]."""
    right = torch.stack(
        [(model(x).argmax(1) == y).sum() for x, y in batches(data, pass_size(data.shape, data.device))]
    ).sum()
    return int(right) / len(data)
