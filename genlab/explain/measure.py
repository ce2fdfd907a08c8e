"""Evaluation of attribution maps: faithfulness (deletion) and agreement of two maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genlab.core.modes import evaluating
from genlab.explain.gradients import Model, class_output


def top_pixels(maps: Tensor, share: float) -> Tensor:
    """(N, H, W) -> bool: the `share` in (0, 1] of the pixels of each map with the highest values, at least one."""
    if not 0 < share <= 1:
        raise ValueError(f"a share of the pixels lies in (0, 1], got {share}")
    flat = maps.flatten(1)
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    return chosen.scatter_(1, flat.topk(max(1, round(share * flat.shape[1])), 1).indices, True).view_as(maps)


@torch.no_grad()
def deletion(
    model: Model, x: Tensor, y: Tensor, maps: Tensor, shares: Sequence[float], value: float = 0.0
) -> list[float]:
    """Deletion metric: the mean probability of y after the most important pixels are replaced by `value`, for each of
    `shares`; lower is better. Petsiuk, Das, Saenko 2018, arXiv:1806.07421, section 4.3."""
    with evaluating(model):
        left = [torch.where(top_pixels(maps, share)[:, None], value, x) for share in shares]
        return [float(class_output(model(image).softmax(1), y).mean()) for image in left]


def overlap(a: Tensor, b: Tensor, share: float = 0.1) -> Tensor:
    """(N,): the share of the most important pixels that two maps (N, H, W) have in common; by chance it is `share`."""
    one, other = top_pixels(a, share).flatten(1), top_pixels(b, share).flatten(1)
    return (one & other).sum(1) / one.sum(1)


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """(N,): Spearman's rank correlation of two maps (N, H, W); ties are ranked in order."""
    ranks = [m.flatten(1).argsort(1).argsort(1).double() for m in (a, b)]
    one, other = (r - r.mean(1, keepdim=True) for r in ranks)
    return (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1))
