"""Crafts adversarial examples for `evaluate`, a batch at a time, and checks what is returned; the model that an attack
sees counts its passes and notes the smallest perturbations that it is shown."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from attacks.core.ball import Ball
from attacks.core.callables import networks
from attacks.core.goal import is_adversarial
from attacks.core.kept import keeper
from attacks.core.minimal import Norm, size
from attacks.core.model import TOLERANCE, Attack, Model
from attacks.core.precision import widened
from attacks.evaluation.inspection import one_line

if TYPE_CHECKING:
    from attacks.evaluation.store import Shelf
    from genlab.data import Images


COUNTS = ("forwards", "backwards", "nan_logits", "nonfinite_gradients")
UNSAVED = 10.0  # seconds of work that may be lost by an interruption


class Counter(nn.Module):
    """Wraps a model and counts the examples that pass through it, forwards and backwards.

    nan_logits: examples whose logits contain NaN. nonfinite_gradients: examples with valid logits whose gradient is not
    finite.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model, self.modules_of_model = model, nn.ModuleList(networks(model))
        self.forwards = self.backwards = 0
        self.nan_logits: int | Tensor = 0  # as tensors on the model's device, without synchronisation
        self.nonfinite_gradients: int | Tensor = 0

    def forward(self, x: Tensor) -> Tensor:
        nan_rows = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        if x.requires_grad:
            x.register_hook(lambda grad: self._count_nonfinite(grad, nan_rows))  # before the model may overwrite x
        logits = self.model(x)
        self.forwards += len(x)
        if isinstance(logits, Tensor) and logits.ndim == 2:
            nan_rows = logits.detach().isnan().any(1)
            self.nan_logits = self.nan_logits + nan_rows.sum()
            if logits.requires_grad:
                logits.register_hook(self._count_backward)
        return logits

    def state(self) -> dict[str, int]:
        return {name: int(getattr(self, name)) for name in COUNTS}

    def restore(self, state: dict[str, int]) -> None:
        for name in COUNTS:
            setattr(self, name, state[name])

    def _count_backward(self, grad: Tensor) -> None:
        self.backwards += len(grad)

    def _count_nonfinite(self, grad: Tensor | None, nan_rows: Tensor) -> None:
        if grad is None:  # a layer without derivative: the attack raises an error
            return
        self.nonfinite_gradients = self.nonfinite_gradients + (~grad.isfinite().flatten(1).all(1) & ~nan_rows).sum()


class Recorder(Counter):
    """A model that notes d* in `norm` of the images that it watches, for at most `budget` passes each.

    d*: the smallest distance of an adversarial example that the model was shown. A query belongs to the nearest image,
    whatever the order of the rows: what is noted is an adversarial example of that image in any case. distance (N,): d*
    so far; passes (N,): forward and backward passes so far.
    """

    def __init__(self, model: Model, norm: Norm, budget: float = math.inf, targeted: bool = False) -> None:
        super().__init__(model)
        self.norm, self.budget, self.targeted = norm, budget, targeted

    def watch(self, x: Tensor, y: Tensor) -> None:
        """From now on, the images x (N, ...) with labels, or target classes, y (N,)."""
        self.x, self.y = widened(x), y
        self.distance = torch.full((len(x),), math.inf, dtype=self.x.dtype, device=x.device)
        self.passes = torch.zeros(len(x), dtype=torch.int64, device=x.device)

    def forward(self, x: Tensor) -> Tensor:
        shown = widened(x.detach().clone())  # a copy, as the model may overwrite it
        logits = super().forward(x)
        with torch.no_grad():
            rows = torch.cdist(shown.flatten(1), self.x.flatten(1)).argmin(1)
            in_budget = self.passes[rows] < self.budget
            self.passes.index_add_(0, rows, torch.ones_like(rows))
            found = is_adversarial(logits, self.y[rows], self.targeted) & in_budget
            if getattr(self.model, "has_alarm_class", False):
                found &= logits.argmax(1) != logits.shape[1] - 1
            length = torch.where(found, size(shown - self.x[rows], self.norm), math.inf)
            self.distance.scatter_reduce_(0, rows, length.to(self.distance.dtype), "amin")
        if logits.requires_grad:
            logits.register_hook(lambda _: self._count(rows))
        return logits

    def _count(self, rows: Tensor) -> None:
        self.passes.index_add_(0, rows, torch.ones_like(rows))


@dataclass(frozen=True)
class Passes:
    """All passes of all images, training (`prepare`) included, and how many had NaN logits or a gradient that was not
    finite."""

    forwards: int
    nan_logits: int
    backwards: int
    nonfinite_gradients: int


def ball_of(attack: Attack) -> Ball | None:
    """The ball in which the attack's perturbations lie; None if it has none."""
    return getattr(attack, "ball", None)


def minimised(attack: Attack) -> Norm | None:
    """The norm that the attack minimises; None if it keeps to a ball, or measures its perturbations otherwise."""
    return None if ball_of(attack) is not None else getattr(attack, "norm", None)


class Progress:
    """`Keeper` of the finished batches of an attack, and of the finished parts of the one that it works on, on a
    `shelf`, with the passes that `counter` has seen and the seconds that they took; None: nothing is kept."""

    def __init__(self, shelf: Shelf | None, counter: Counter) -> None:
        self.shelf, self.counter, self.device = shelf, counter, torch.device("cpu")
        self.batch, self.seconds, self.began, self.saved = "", 0.0, 0.0, time.perf_counter()

    def load(self, part: str) -> tuple[Tensor, ...] | None:
        found = self.shelf.get(f"{self.batch}-{part}") if self.shelf else None
        if found is None:
            return None
        self.counter.restore(found["passes"])
        self.seconds, self.began = found["seconds"], time.perf_counter()
        return tuple(tensor.to(self.device) for tensor in found["tensors"])

    def save(self, part: str, *tensors: Tensor) -> None:
        now = time.perf_counter()
        if self.shelf and now - self.saved >= UNSAVED:
            self.saved = now
            seconds = self.seconds + now - self.began
            kept = {"tensors": [t.cpu() for t in tensors], "passes": self.counter.state(), "seconds": seconds}
            self.shelf.add(f"{self.batch}-{part}", kept)


class Crafter:
    """One attack on one source model, batch after batch; trained on `data` before the first.

    n: images so far. distance (n,): d* of the last batch, if the attack minimises a norm. error: the message of the
    exception that ended it, "" if none did. shelf: where finished batches, and parts of an attack that keeps them, are
    found again after an interruption.
    """

    def __init__(
        self, name: str, attack: Attack, model: Model, data: Images | None = None, shelf: Shelf | None = None
    ) -> None:
        self.name, self.attack, self.data, self.shelf = name, attack, data, shelf
        self.learning, self.ready = Counter(model), attack if data is None else None
        norm = minimised(attack)
        self.counter = Recorder(model, norm, targeted=getattr(attack, "targeted", False)) if norm else Counter(model)
        self.distance: Tensor | None = None
        self.n, self.error, self.progress = 0, "", Progress(shelf, self.counter)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor | None:
        """The checked adversarial examples of x (N, ...); None once the attack has failed."""
        if self.error:
            return None
        progress, before = self.progress, keeper.set(self.progress)
        try:
            if self.ready is None:
                assert self.data is not None
                self.ready = self.attack.prepare(self.learning, self.data)
            _wait(x)
            progress.batch, progress.began, progress.device = f"{self.n}-{len(x)}", time.perf_counter(), x.device
            found = progress.load("all")
            if found is None:
                if isinstance(self.counter, Recorder):
                    self.counter.watch(x, y)
                adv = self.ready(self.counter, x.clone(), y.clone())  # copies, which the attack may overwrite
                _wait(x)
                found = (_checked(self.name, adv.detach(), x, ball_of(self.attack)),)
                if isinstance(self.counter, Recorder):
                    found = (*found, self.counter.distance)
                progress.save("all", *found)
                progress.seconds += time.perf_counter() - progress.began
            adv, self.distance = found[0], found[1] if len(found) > 1 else None
            self.n += len(x)
            return adv
        except Exception as error:
            self.error = one_line(error)
            return None
        finally:
            keeper.reset(before)

    @property
    def passes(self) -> Passes:
        both = self.learning, self.counter
        return Passes(
            forwards=sum(c.forwards for c in both),
            nan_logits=sum(int(c.nan_logits) for c in both),
            backwards=sum(c.backwards for c in both),
            nonfinite_gradients=sum(int(c.nonfinite_gradients) for c in both),
        )


def _checked(name: str, adv: Tensor, x: Tensor, ball: Ball | None) -> Tensor:
    if adv.shape != x.shape or adv.dtype != x.dtype:
        raise ValueError(f"attack {name!r} returned {adv.dtype} {tuple(adv.shape)} for {x.dtype} {tuple(x.shape)}.")
    low, high = (v.item() for v in torch.aminmax(adv))
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise ValueError(f"attack {name!r} returned pixels from {low:g} to {high:g}, outside [0, 1].")
    if ball is not None:
        size = ball.size(difference(adv, x)).max().item()
        if not size <= ball.eps + TOLERANCE * max(1, ball.eps):
            raise ValueError(f"attack {name!r} returned a perturbation of size {size:.6g}, above eps={ball.eps:g}.")
    return adv


def difference(adv: Tensor, x: Tensor) -> Tensor:
    """adv - x in float64 (float32 on MPS), to avoid rounding errors of the subtraction."""
    dtype = torch.float32 if x.device.type == "mps" else torch.float64
    return adv.to(dtype) - x.to(dtype)


def _wait(x: Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)
