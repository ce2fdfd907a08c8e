"""Diversity of a generator: support size by the birthday paradox test, and the histogram of classes.

Arora & Zhang 2017, arXiv:1706.08224: if s samples contain a duplicate with probability 1/2, the support has about
s² / (2 ln 2) images, since P(no duplicate) is about exp(-s² / 2N).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genlab.data.seeds import generator
from genlab.metrics import checks
from genlab.metrics.distances import SLACK, squared


@dataclass(frozen=True)
class Birthday:
    """size: samples that contain a duplicate with probability 1/2; support: the estimated support size; found: if
    False, no duplicates were found and both are lower bounds."""

    size: int
    support: float
    found: bool


def support(size: float, probability: float = 0.5) -> float:
    """The number of equally likely images of which `size` samples contain a duplicate with this probability.

    Raises:
        ValueError: size is negative, or the probability outside (0, 1).
    """
    if size < 0 or not 0 < probability < 1:
        raise ValueError(f"a size >= 0 and a probability in (0, 1) are needed, got {size} and {probability}")
    return size**2 / (-2 * math.log1p(-probability))


@torch.no_grad()
def birthday(x: Tensor, threshold: float, orders: int = 200, seed: int = 0) -> Birthday:
    """The birthday test on samples x (N, d): `size` is the median position of the first duplicate in random orders.

    Two samples are duplicates if their distance is at most `threshold` (in the paper, people decide). If most orders
    contain none, `size` is N and `support` a lower bound.

    Raises:
        ValueError: fewer than two rows, numbers that are not finite, a negative threshold, or no orders.
    """
    x = checks.points(x)
    if not threshold >= 0 or orders < 1:
        raise ValueError(f"a threshold >= 0 and at least 1 order are needed, got {threshold} and {orders}")
    near = threshold**2 * SLACK + 1e-12 * float(x.square().sum(1).max())  # rounding error of zero distances
    pairs = torch.cat(
        [(block <= near).nonzero() + block.new_tensor([start, 0]).long() for start, block in squared(x, x)]
    )
    pairs = pairs[pairs[:, 0] < pairs[:, 1]].cpu()
    g = generator("birthday", seed)
    first = torch.full((orders,), torch.inf)
    if len(pairs):
        for i in range(orders):
            position = torch.randperm(len(x), generator=g)
            first[i] = int(position[pairs].amax(1).min()) + 1
    median = float(first.sort().values[orders // 2])
    found = math.isfinite(median)
    size = int(median) if found else len(x)
    return Birthday(size, support(size), found)


@torch.no_grad()
def smallest_distance(x: Tensor) -> float:
    """The smallest non-zero distance between two of x (N, d), used as threshold for duplicates.

    Raises:
        Undefined: all are equal.
    """
    x = checks.points(x)
    rounding = 1e-12 * float(x.square().sum(1).max())
    gap = min(float(block.masked_fill(block <= rounding, torch.inf).min()) for _, block in squared(x, x))
    if math.isinf(gap):
        raise checks.Undefined(f"all {len(x)} images are equal")
    return gap**0.5


def class_histogram(logits: Tensor) -> Tensor:
    """Logits (N, classes) -> the share of images predicted as each class, (classes,), sums to 1."""
    logits = checks.points(logits, "logits", 1)
    return torch.bincount(logits.argmax(1), minlength=logits.shape[1]).double() / len(logits)


def kl_to_uniform(histogram: Tensor) -> float:
    """KL(histogram || uniform) in nats, from 0 to ln K: ln K - entropy."""
    return float(math.log(len(histogram)) + torch.xlogy(histogram, histogram).sum())
