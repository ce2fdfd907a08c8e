"""Goals of attacks: predicted classes, losses and margins, and the best adversarial example found so far."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from attacks.core.precision import widened

NO_PREDICTION = -1  # the class of an example with a NaN logit


def predicted_classes(logits: Tensor) -> Tensor:
    """logits (N, K) -> (N,) int64: class of the largest logit; NO_PREDICTION (-1) if any logit is NaN."""
    most, predicted = logits.max(1)
    return torch.where(most.isnan(), NO_PREDICTION, predicted)


@torch.no_grad()
def is_adversarial(logits: Tensor, y: Tensor, targeted: bool = False) -> Tensor:
    """(N,) bool: the predicted class differs from y or, if targeted, equals y; False if any logit is NaN."""
    most, predicted = logits.max(1)
    return (predicted == y if targeted else predicted != y) & (most == most)  # NaN is not itself


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """(N,), at least float32: in half precision the gradient of a confident prediction would underflow to 0."""
    return functional.cross_entropy(widened(logits), y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """(N,), at least float32: the logit of y minus the largest other logit; negative if y is not predicted."""
    logits, own = widened(logits), y[:, None]
    other = logits.detach().scatter(1, own, -math.inf).argmax(1, keepdim=True)
    return (logits.gather(1, own) - logits.gather(1, other)).squeeze(1)


def likeliest_wrong(logits: Tensor, y: Tensor) -> Tensor:
    """(N, K): all classes, the largest logit first, the true class y (N,) last; of equal ones the lower first."""
    return logits.scatter(1, y[:, None], -math.inf).argsort(dim=1, descending=True, stable=True)


def select(mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """torch.where per example: rows of a (N, ...) where mask (N,) is True, rows of b elsewhere."""
    return torch.where(mask.view(-1, *[1] * (a.ndim - 1)), a, b)


class Best:
    """The best candidate so far per example: adversarial ones before others, then the highest objective.

    x (N, ...); is_adv (N,) bool; value (N,), the objective, -inf before the first candidate.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x.clone()
        self.is_adv = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self.value = torch.full((len(x),), -math.inf, dtype=widened(x[:0]).dtype, device=x.device)

    @torch.no_grad()
    def offer(self, rows: Tensor | slice, x: Tensor, is_adv: Tensor, value: Tensor) -> None:
        """Candidates x for the examples `rows` (indices, or slice(None) for all), with is_adv and objective (R,)."""
        every = isinstance(rows, slice)  # no indexing, so no copies
        state = self.x, self.is_adv, self.value
        old, before, most = state if every else tuple(part[rows] for part in state)
        value = value.to(most.dtype)
        better = torch.where(is_adv == before, value > most, is_adv)
        new = select(better, x, old), is_adv | before, torch.where(better, value, most)
        if every:
            self.x, self.is_adv, self.value = new
        else:
            self.x[rows], self.is_adv[rows], self.value[rows] = new


class Smallest:
    """The smallest adversarial perturbation so far per example, as image x; the original where none was found.

    size (N,): its norm, inf where none was found.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x.clone()
        self.size = torch.full((len(x),), math.inf, dtype=widened(x[:0]).dtype, device=x.device)

    @property
    def is_adv(self) -> Tensor:
        """(N,) bool: whether an adversarial example was found."""
        return self.size < math.inf

    @torch.no_grad()
    def offer(self, rows: Tensor | slice, x: Tensor, is_adv: Tensor, size: Tensor) -> Tensor:
        """Candidates x for the examples `rows`, with is_adv and norm (R,); returns (R,) bool: which are new minima."""
        every = isinstance(rows, slice)  # no indexing, so no copies
        old, least = (self.x, self.size) if every else (self.x[rows], self.size[rows])
        size = size.to(least.dtype)
        better = is_adv & (size < least)
        new = select(better, x, old), torch.where(better, size, least)
        if every:
            self.x, self.size = new
        else:
            self.x[rows], self.size[rows] = new
        return better

    def merge(self, rows: Tensor | slice, other: Smallest) -> Tensor:
        """Offer what another search found for the examples `rows`."""
        return self.offer(rows, other.x, other.is_adv, other.size)
