"""The guard around a victim, and the base class that gives every attack its contract.

An attack borrows a model: it is in eval mode and its parameters need no gradient while the attack runs, and afterwards,
also after an exception, every flag of every submodule is what it was; gradients and BatchNorm statistics never change.
A function around modules is no hiding place for them (`callables.networks`). The model gets copies, in the images' own
dtype, which it may overwrite; attacks compute in float32 at least, and never see a gradient that is not finite.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from attacks.core.ball import Linf
from attacks.core.callables import UNSEEN, networks
from attacks.core.precision import rounded, widened
from genlab.core.modes import evaluating
from genlab.core.ranges import check as check_options

if TYPE_CHECKING:
    from genlab.data import Images

Model = Callable[[Tensor], Tensor]  # x (N, ...) in [0, 1] -> logits (N, K); usually an nn.Module
TOLERANCE = 1e-6  # by which pixels may leave [0, 1]


def looks_like_probabilities(logits: Tensor) -> bool:
    """Rows that are never negative and sum to one: a softmax that the attack would apply twice."""
    return bool(((logits >= 0).all(1) & ((logits.sum(1) - 1).abs() < 1e-4)).all()) and logits.numel() > 0


def check(x: Tensor, y: Tensor) -> None:
    """Refuse what is not a batch of images in [0, 1] with one int64 label each, as tensors."""
    if other := [type(value).__name__ for value in (x, y) if not isinstance(value, Tensor)]:
        raise ValueError(f"x and y must be tensors, got {other[0]}.")
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


class NoGradient(ValueError):
    """The model's logits do not depend on its input in a way that autograd can follow."""

    def __init__(self) -> None:
        super().__init__("the model gives no gradient with respect to its input.")


class Victim:
    """What an attack sees of a model: `f(x)` with gradients to x, `f.query(x)` without, `f.gradient(objective, x)`.

    The first logits are checked: a tensor (N, K), K >= 2, labels below K; NaN and what looks like probabilities are
    warned of. So are the first gradients, where they leave the model, whatever else the attack's loss depends on and
    whoever takes its slope: NoGradient is raised if there are none.
    """

    def __init__(self, model: Model, x: Tensor, y: Tensor) -> None:
        self.model, self.dtype = model, x.dtype
        self._labels: Tensor | None = y
        self._followed = False  # has a gradient come back through the model?

    def __call__(self, x: Tensor) -> Tensor:
        own = x.clone() if x.dtype == self.dtype else x.to(self.dtype)  # the model may overwrite it
        entry = None if self._followed else own.grad_fn
        logits = self.model(own)
        if self._labels is not None:
            check_logits(logits, len(x), self._labels)
            self._labels = None
        if entry is not None:
            if not _leads_to(logits.grad_fn, entry):
                raise NoGradient
            entry.register_hook(self._came_back)
        return logits

    def _came_back(self, gradients: tuple[Tensor | None, ...], _: object) -> None:
        """Called with what leaves the model backwards; None is what a layer without derivative lets through."""
        grad = gradients[0]
        if grad is None:
            raise NoGradient
        if not self._followed:
            self._followed = True
            if bad := int((~grad.isfinite()).flatten(1).any(1).sum()):
                text = f"The gradient is not finite for {bad} of {len(grad)} inputs; such entries count as zero."
                warnings.warn(text, stacklevel=2)

    def query(self, x: Tensor) -> Tensor:
        """Logits for a black-box attack: no graph is built."""
        with torch.no_grad():
            return self(x)

    def gradient(self, objective: Tensor, x: Tensor, retain_graph: bool = False) -> Tensor:
        """d objective / d x for a scalar objective (sum over the examples, so that rows stay independent).

        Entries that are not finite are zero.
        """
        return finite(torch.autograd.grad(objective, x, retain_graph=retain_graph)[0])


def finite(grad: Tensor) -> Tensor:
    """The gradient with zeros for NaN and infinity."""
    return grad.nan_to_num(0.0, 0.0, 0.0)


def check_logits(logits: object, n: int, y: Tensor) -> None:
    """Refuse what is not a tensor (n, K) of logits with K >= 2 above every label y; warn of NaN and probabilities."""
    wanted = f"the model must return logits (N, K) with K >= 2, as a tensor, for {n} inputs"
    if not isinstance(logits, Tensor):
        raise ValueError(f"{wanted}, got {_described(logits)}.")
    shape = tuple(logits.shape)
    if shape in ((n,), (n, 1)):
        one = "logit[:, None]" if logits.ndim == 1 else "logit"
        two = f"torch.cat([torch.zeros_like({one}), {one}], 1)"
        raise ValueError(f"{wanted}, got one logit each, {shape}: return {two}, the logits of the classes 0 and 1.")
    if logits.ndim != 2 or len(logits) != n or not logits.is_floating_point():
        raise ValueError(f"{wanted}, got {logits.dtype} {shape}.")
    if len(y) and (most := int(y.max())) >= shape[1]:
        raise ValueError(f"labels must be below the number of classes {shape[1]}, got {most}.")
    logits = logits.detach()
    if bad := int(logits.isnan().any(1).sum()):
        text = f"The model's logits are NaN for {bad} of {n} inputs: no attack can tell what they mean."
        warnings.warn(text, stacklevel=4)
    if looks_like_probabilities(logits):
        warnings.warn("The model's outputs look like probabilities, but attacks expect logits.", stacklevel=4)


def _described(output: Any) -> str:
    """What came instead of a tensor, and how to get at the logits."""
    name = type(output).__name__
    if isinstance(getattr(output, "logits", None), Tensor):
        return f"{name} with an attribute logits: pass lambda x: model(x).logits"
    if isinstance(output, dict):
        return f"{name} with the keys {', '.join(map(repr, output))}: pass lambda x: model(x)[KEY]"
    if isinstance(output, tuple | list):
        return f"{name} of {len(output)}: pass lambda x: model(x)[0], or what else of it are logits"
    return name


def _leads_to(node: Any, entry: Any) -> bool:
    """Is the node `entry` of the autograd graph among those behind `node`?"""
    known, todo = {node}, [node]
    while todo:
        one = todo.pop()
        if one is entry:
            return True
        new = {after for after, _ in getattr(one, "next_functions", ()) if after is not None} - known
        known |= new
        todo += new
    return False


@contextmanager
def victim(model: Model, x: Tensor, y: Tensor) -> Iterator[Victim]:
    """Lend the model to an attack; gradients are on inside, even where the caller works under no_grad."""
    check(x, y)
    modules = networks(model)
    if not modules:
        warnings.warn(UNSEEN, stacklevel=4)
    trainable = [p for m in modules for p in m.parameters(recurse=False) if p.requires_grad]
    try:
        for p in trainable:
            p.requires_grad_(False)
        with evaluating(*modules), torch.inference_mode(False), torch.enable_grad():
            yield Victim(model, x, y)
    finally:
        for p in trainable:
            p.requires_grad_(True)


@dataclass(frozen=True)
class Attack(ABC):
    """`attack(model, x, y) -> x_adv`: a value whose repr is its provenance. Subclasses are frozen dataclasses too.

    model: x (N, ...) in [0, 1] -> logits (N, K); y: (N,) int64, the true labels or, for a targeted attack, the wanted
    ones; the result has the dtype of x. A subclass writes `run`; a field named `ball` says what the result promises,
    and the evaluator checks it; a number in its place is the eps of a `Linf`. Options that their annotations do not
    allow raise a ValueError.
    """

    def __post_init__(self) -> None:
        if isinstance(eps := getattr(self, "ball", None), int | float):
            object.__setattr__(self, "ball", Linf(eps))
        check_options(self)

    @abstractmethod
    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        """The algorithm. x and y are copies, free to overwrite, and x is float32 at least; the caller detaches, clips
        and rounds the result."""

    def __call__(self, model: Model, x: Tensor, y: Tensor) -> Tensor:
        with victim(model, x, y) as f:
            if len(x) == 0:
                return x.detach().clone()
            x = x.detach()
            found = self.run(f, widened(x).clone(), y.clone()).detach().clamp_(0, 1)
            return rounded(found, x, getattr(self, "ball", None))

    def prepare(self, model: Model, data: Images) -> Attack:
        """What attacks, once all that can be learnt beforehand is learnt from `data`, the attacker's own images.

        Universal perturbations, patches and surrogate networks need this; any other attack is ready as it is.
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
