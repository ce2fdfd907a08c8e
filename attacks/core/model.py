"""The wrapper around an attacked model (`Victim`), and the base class of all attacks.

While an attack runs, the model is in eval mode and its parameters do not require gradients. Afterwards, also after an
exception, the flags of every submodule are restored; parameter gradients and BatchNorm statistics never change. This
includes modules inside functions (`callables.networks`). The model gets copies of the images in their own dtype, which
it may overwrite; attacks compute in at least float32 and only see finite gradients.
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
from attacks.core.callables import NO_MODULE_FOUND, networks
from attacks.core.precision import rounded, widened
from genlab.core.modes import evaluating
from genlab.core.ranges import check as check_options

if TYPE_CHECKING:
    from genlab.data import Images

Model = Callable[[Tensor], Tensor]  # x (N, ...) in [0, 1] -> logits (N, K); usually an nn.Module
TOLERANCE = 1e-6  # by which pixels may exceed [0, 1]


def looks_like_probabilities(logits: Tensor) -> bool:
    """Whether all rows are non-negative and sum to 1: the output of a softmax, which the attack would apply twice."""
    return bool(((logits >= 0).all(1) & ((logits.sum(1) - 1).abs() < 1e-4)).all()) and logits.numel() > 0


def check(x: Tensor, y: Tensor) -> None:
    """Raises ValueError unless x (N, ...) is a float tensor in [0, 1] and y (N,) a tensor of int64 labels >= 0."""
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
    """Autograd finds no path from the model's logits to its input."""

    def __init__(self) -> None:
        super().__init__("the model gives no gradient with respect to its input.")


class Victim:
    """The attack's view of a model: logits with gradients `f(x)`, without `f.query(x)`, and `f.gradient(objective, x)`.

    The first logits are checked: ValueError unless they are a tensor (N, K) with K >= 2 and labels below K, a warning
    for NaN and for outputs that look like probabilities. The first gradient with respect to the model's input is
    checked as well: NoGradient if there is none, a warning if it is not finite.
    """

    def __init__(self, model: Model, x: Tensor, y: Tensor) -> None:
        self.model, self.dtype = model, x.dtype
        self._labels: Tensor | None = y
        self._gradient_checked = False

    def __call__(self, x: Tensor) -> Tensor:
        own = x.clone() if x.dtype == self.dtype else x.to(self.dtype)  # the model may overwrite it
        entry = None if self._gradient_checked else own.grad_fn
        logits = self.model(own)
        if self._labels is not None:
            check_logits(logits, len(x), self._labels)
            self._labels = None
        if entry is not None:
            if not _leads_to(logits.grad_fn, entry):
                raise NoGradient
            entry.register_hook(self._check_gradient)
        return logits

    def _check_gradient(self, gradients: tuple[Tensor | None, ...], _: object) -> None:
        """Called with the gradient with respect to the model's input; None if a layer has no derivative."""
        grad = gradients[0]
        if grad is None:
            raise NoGradient
        if not self._gradient_checked:
            self._gradient_checked = True
            if bad := int((~grad.isfinite()).flatten(1).any(1).sum()):
                text = f"The gradient is not finite for {bad} of {len(grad)} inputs; such entries are set to zero."
                warnings.warn(text, stacklevel=2)

    def query(self, x: Tensor) -> Tensor:
        """Logits (N, K) without a graph, for black-box attacks."""
        with torch.no_grad():
            return self(x)

    def gradient(self, objective: Tensor, x: Tensor, retain_graph: bool = False) -> Tensor:
        """d objective / d x for an objective per example, (N,), or their sum, so that rows are independent.

        Entries that are not finite are set to zero.
        """
        ones = torch.ones_like(objective)
        return finite(torch.autograd.grad(objective, x, ones, retain_graph=retain_graph)[0])

    def ascend(
        self, x: Tensor, objective: Callable[[Tensor], Tensor], passes: int = 1, last: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits (N, K) of x (N, ...), objective(logits) (N,) and its gradient (N, ...), None if `last`.

        Each is the mean over `passes` passes: for a random model, expectation over transformation (EOT; Athalye,
        Carlini, Wagner 2018, arXiv:1802.00420, section 4.2).
        """
        found = list[tuple[Tensor, ...]]()
        for _ in range(passes):
            logits = self.query(x) if last else self(x.requires_grad_())
            value = objective(logits)
            grad = () if last else (self.gradient(value, x),)
            found.append((logits, value.detach(), *grad))
        x.requires_grad_(False)
        logits, value, *grads = found[0] if passes == 1 else (torch.stack(each).mean(0) for each in zip(*found))
        return logits, value, None if last else grads[0]


def finite(grad: Tensor) -> Tensor:
    """The gradient with NaN and infinities set to zero."""
    return grad.nan_to_num(0.0, 0.0, 0.0)


def check_logits(logits: object, n: int, y: Tensor) -> None:
    """Raises ValueError unless logits are a tensor (n, K), K >= 2 and K > max(y); warns of NaN and probabilities."""
    wanted = f"the model must return logits (N, K) with K >= 2, as a tensor, for {n} inputs"
    if not isinstance(logits, Tensor):
        raise ValueError(f"{wanted}, got {_described(logits)}.")
    shape = tuple(logits.shape)
    if not logits.is_floating_point():
        raise ValueError(
            f"{wanted}, got {logits.dtype} {shape}: predicted classes instead of floating-point scores of all classes?"
        )
    if shape in ((n,), (n, 1)):
        one = "logit[:, None]" if logits.ndim == 1 else "logit"
        two = f"torch.cat([torch.zeros_like({one}), {one}], 1)"
        raise ValueError(f"{wanted}, got one logit each, {shape}: return {two}, the logits of the classes 0 and 1.")
    if logits.ndim != 2 or len(logits) != n:
        raise ValueError(f"{wanted}, got {logits.dtype} {shape}.")
    if len(y) and (most := int(y.max())) >= shape[1]:
        raise ValueError(f"labels must be below the number of classes {shape[1]}, got {most}.")
    logits = logits.detach()
    if bad := int(logits.isnan().any(1).sum()):
        text = f"The model's logits are NaN for {bad} of {n} inputs: these have no predicted class."
        warnings.warn(text, stacklevel=4)
    if looks_like_probabilities(logits):
        warnings.warn("The model's outputs look like probabilities, but attacks expect logits.", stacklevel=4)


def _described(output: Any) -> str:
    """Description of an output that is not a tensor, and how to get its logits."""
    name = type(output).__name__
    if isinstance(getattr(output, "logits", None), Tensor):
        return f"{name} with an attribute logits: pass lambda x: model(x).logits"
    if isinstance(output, dict):
        return f"{name} with the keys {', '.join(map(repr, output))}: pass lambda x: model(x)[KEY]"
    if isinstance(output, tuple | list):
        return f"{name} of {len(output)}: pass lambda x: model(x)[0], or whichever entry the logits are"
    return name


def _leads_to(node: Any, entry: Any) -> bool:
    """Whether the autograd node `entry` is reachable backwards from `node`."""
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
    """The model as a `Victim`, in eval mode and frozen inside the context; gradients are enabled even under no_grad.

    Raises ValueError if x (N, ...) or y (N,) are no valid images and labels (`check`).
    """
    check(x, y)
    modules = networks(model)
    if not modules:
        warnings.warn(NO_MODULE_FOUND, stacklevel=4)
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
    """`attack(model, x, y) -> x_adv`. Subclasses are frozen dataclasses whose repr records all settings.

    model: x (N, ...) in [0, 1] -> logits (N, K). y: (N,) int64, the true labels or, for a targeted attack, the target
    labels. x_adv: shape and dtype of x, in [0, 1]. Subclasses implement `run`. If there is a field `ball`, x_adv - x
    lies in that ball, which the evaluator checks; a number given for `ball` is the eps of `Linf`. Raises ValueError for
    options that their annotations do not allow, and for invalid x, y or logits.
    """

    def __post_init__(self) -> None:
        if isinstance(eps := getattr(self, "ball", None), int | float):
            object.__setattr__(self, "ball", Linf(eps))
        check_options(self)

    @abstractmethod
    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        """The algorithm. x and y are copies that may be overwritten, x in at least float32; the caller detaches the
        result, clips it to [0, 1] and casts it to the dtype of the images."""

    def __call__(self, model: Model, x: Tensor, y: Tensor) -> Tensor:
        with victim(model, x, y) as f:
            if len(x) == 0:
                return x.detach().clone()
            x = x.detach()
            found = self.run(f, widened(x).clone(), y.clone()).detach().clamp_(0, 1)
            return rounded(found, x, getattr(self, "ball", None))

    def prepare(self, model: Model, data: Images) -> Attack:
        """The attack after training on `data`, the attacker's own images.

        Universal perturbations, patches and surrogate models are trained here; any other attack returns itself.
        """
        return self

    def at(self, eps: float) -> Self:
        """The same attack with another eps; an attack without a ball is returned unchanged."""
        ball = getattr(self, "ball", None)
        changes: dict[str, Any] = {} if ball is None else {"ball": ball.at(eps)}
        return replace(self, **changes)


@dataclass(frozen=True)
class TrainedAttack(Attack):
    """An attack that must be trained: `prepare` returns the attack to run; calling this one raises ValueError."""

    @abstractmethod
    def prepare(self, model: Model, data: Images) -> Attack: ...

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        name = type(self).__name__
        raise ValueError(f"{name} must be trained first: call prepare(model, images), or give evaluate `data`.")
