"""The guard around a victim, and the base class that gives every attack its contract.

An attack borrows a model: it is in eval mode and its parameters need no gradient while the attack runs, and afterwards,
also after an exception, every flag of every submodule is what it was; gradients and BatchNorm statistics never change.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from genlab.ranges import check as check_options

if TYPE_CHECKING:
    from genlab.data import Images

Model = Callable[[Tensor], Tensor]  # x (N, ...) in [0, 1] -> logits (N, K); usually an nn.Module
TOLERANCE = 1e-6  # by which pixels may leave [0, 1]


def looks_like_probabilities(logits: Tensor) -> bool:
    """Rows that are never negative and sum to one: a softmax that the attack would apply twice."""
    return bool(((logits >= 0).all(1) & ((logits.sum(1) - 1).abs() < 1e-4)).all()) and logits.numel() > 0


def check(x: Tensor, y: Tensor) -> None:
    """Refuse what is not a batch of images in [0, 1] with one int64 label each."""
    if not x.is_floating_point():
        raise ValueError(f"x must be floating point in [0, 1], got {x.dtype}.")
    if y.dtype != torch.int64 or y.ndim != 1:
        raise ValueError(f"y must be int64 of shape (N,), got {y.dtype} of shape {tuple(y.shape)}.")
    if x.ndim < 2 or len(x) != len(y):
        raise ValueError(f"x and y must have one row per example, got shapes {tuple(x.shape)} and {tuple(y.shape)}.")
    if x.numel() == 0:
        return
    low, high = (v.item() for v in torch.aminmax(x.detach()))  # NaN and infinity both show up here
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise ValueError(f"x must be finite and in [0, 1], got values from {low:g} to {high:g}.")
    if (least := int(y.min())) < 0:
        raise ValueError(f"labels must be >= 0, got {least}.")


class Victim:
    """What an attack sees of a model: `f(x)` with gradients to x, `f.query(x)` without, `f.gradient(objective, x)`.

    The first output is checked: shape (N, K), labels below K, and a warning if it looks like probabilities.
    """

    def __init__(self, model: Model, y: Tensor) -> None:
        self.model = model
        self._labels: Tensor | None = y

    def __call__(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        if self._labels is not None:
            self._check(x, logits, self._labels)
            self._labels = None
        return logits

    def query(self, x: Tensor) -> Tensor:
        """Logits for a black-box attack: no graph is built."""
        with torch.no_grad():
            return self(x)

    def gradient(self, objective: Tensor, x: Tensor) -> Tensor:
        """d objective / d x for a scalar objective (sum over the examples, so that rows stay independent)."""
        if not objective.requires_grad:
            raise ValueError(f"the model gives no gradient with respect to its input of shape {tuple(x.shape)}.")
        return torch.autograd.grad(objective, x)[0]

    @staticmethod
    def _check(x: Tensor, logits: Tensor, y: Tensor) -> None:
        if logits.ndim != 2 or len(logits) != len(x):
            raise ValueError(f"the model must return logits (N, K) for {len(x)} inputs, got {tuple(logits.shape)}.")
        if len(y) and (most := int(y.max())) >= logits.shape[1]:
            raise ValueError(f"labels must be below the number of classes {logits.shape[1]}, got {most}.")
        if looks_like_probabilities(logits.detach()):
            warnings.warn("The model's outputs look like probabilities, but attacks expect logits.", stacklevel=4)


@contextmanager
def victim(model: Model, x: Tensor, y: Tensor) -> Iterator[Victim]:
    """Lend the model to an attack; gradients are on inside, even where the caller works under no_grad."""
    check(x, y)
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    training = [m.training for m in modules]
    trainable = [p for m in modules for p in m.parameters(recurse=False) if p.requires_grad]
    try:
        for m in modules:
            m.training = False  # not .eval(): a model may override it, and then nobody knows how to undo it
        for p in trainable:
            p.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad():
            yield Victim(model, y)
    finally:
        for m, flag in zip(modules, training, strict=True):
            m.training = flag
        for p in trainable:
            p.requires_grad_(True)


@dataclass(frozen=True)
class Attack(ABC):
    """`attack(model, x, y) -> x_adv`: a value whose repr is its provenance. Subclasses are frozen dataclasses too.

    model: x (N, ...) in [0, 1] -> logits (N, K); y: (N,) int64, the true labels or, for a targeted attack, the wanted
    ones. A subclass writes `run`; a field named `ball` says what the result promises, and the evaluator checks it.
    """

    def __post_init__(self) -> None:
        check_options(self)

    @abstractmethod
    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        """The algorithm. x and y are copies, free to overwrite; the result is detached and clipped by the caller."""

    def __call__(self, model: Model, x: Tensor, y: Tensor) -> Tensor:
        with victim(model, x, y) as f:
            if len(x) == 0:
                return x.detach().clone()
            return self.run(f, x.detach().clone(), y.clone()).detach().clamp_(0, 1)

    def prepare(self, model: Model, data: Images) -> Attack:
        """What attacks, once all that can be learnt beforehand is learnt from `data`, the attacker's own images.

        Universal perturbations, patches and proxy networks need this; any other attack is ready as it is.
        """
        return self

    def at(self, eps: float) -> Self:
        """The same attack with another eps; an attack without a ball has none and stays itself."""
        ball = getattr(self, "ball", None)
        changes: dict[str, Any] = {} if ball is None else {"ball": ball.at(eps)}
        return replace(self, **changes)


@dataclass(frozen=True)
class Learnt(Attack):
    """An attack that cannot run before `prepare` has returned what attacks; asked to, it raises a ValueError."""

    @abstractmethod
    def prepare(self, model: Model, data: Images) -> Attack: ...

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        name = type(self).__name__
        raise ValueError(f"{name} must learn first: call prepare(model, images), or give evaluate `data`.")
