"""What an attack wants of the model's answer, and the best point that it has found so far, per example."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from attacks.core.precision import widened

UNANSWERED = -1  # in place of a class where a logit is NaN


def answers(logits: Tensor) -> Tensor:
    """(N,) int64: the class of the largest logit; UNANSWERED, which is no label, where any is NaN."""
    most, answer = logits.max(1)
    return torch.where(most.isnan(), UNANSWERED, answer)


def is_adversarial(logits: Tensor, y: Tensor, targeted: bool = False) -> Tensor:
    """(N,) bool: the answer is no longer the label y or, if targeted, it is y; logits with NaN are no answer."""
    most, answer = logits.max(1)
    return (answer == y if targeted else answer != y) & (most == most)  # NaN is not itself


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """(N,), in float32 at least: in half precision the slope of a confident answer would vanish."""
    return functional.cross_entropy(widened(logits), y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """(N,), in float32 at least: the logit of y minus the largest other one; negative where y is not the answer."""
    logits = widened(logits)
    other = logits.scatter(1, y[:, None], -math.inf).amax(1)
    return logits.gather(1, y[:, None]).squeeze(1) - other


def chosen(mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Examples of a (N, ...) where mask (N,) holds, of b elsewhere."""
    return torch.where(mask.view(-1, *[1] * (a.ndim - 1)), a, b)


class Best:
    """The best point found so far for every example: one that fools the model, then the highest objective."""

    def __init__(self, x: Tensor) -> None:
        self.x = x.clone()
        self.hit = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self.value = torch.full((len(x),), -math.inf, dtype=widened(x[:0]).dtype, device=x.device)

    def offer(self, rows: Tensor | slice, x: Tensor, hit: Tensor, value: Tensor) -> None:
        """Candidates x for the examples `rows` (a slice: all), each with a verdict and an objective."""
        every = isinstance(rows, slice)  # nothing is copied then
        state = self.x, self.hit, self.value
        old, before, most = state if every else tuple(part[rows] for part in state)
        value = value.to(most.dtype)
        better = torch.where(hit == before, value > most, hit)
        new = chosen(better, x, old), hit | before, torch.where(better, value, most)
        if every:
            self.x, self.hit, self.value = new
        else:
            self.x[rows], self.hit[rows], self.value[rows] = new


class Smallest:
    """The smallest success found so far for every example; the original image where there is none."""

    def __init__(self, x: Tensor) -> None:
        self.x = x.clone()
        self.size = torch.full((len(x),), math.inf, dtype=widened(x[:0]).dtype, device=x.device)

    @property
    def hit(self) -> Tensor:
        """(N,) bool: has anything succeeded?"""
        return self.size.isfinite()

    def offer(self, rows: Tensor | slice, x: Tensor, hit: Tensor, size: Tensor) -> Tensor:
        """Candidates x for the examples `rows`, with verdicts and sizes; returns (N,) bool, which ones were taken."""
        size = size.to(self.size.dtype)
        better = hit & (size < self.size[rows])
        self.x[rows] = chosen(better, x, self.x[rows])
        self.size[rows] = torch.where(better, size, self.size[rows])
        return better
