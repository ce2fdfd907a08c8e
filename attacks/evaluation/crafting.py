"""Crafts adversarial examples for `evaluate`, a batch at a time, with counted passes, and checks what is returned."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from attacks.core.ball import Ball
from attacks.core.callables import networks
from attacks.core.kept import keeper
from attacks.core.model import TOLERANCE, Attack, Model
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

    n: images so far. error: the message of the exception that ended it, "" if none did. shelf: where finished batches,
    and parts of an attack that keeps them, are found again after an interruption.
    """

    def __init__(
        self, name: str, attack: Attack, model: Model, data: Images | None = None, shelf: Shelf | None = None
    ) -> None:
        self.name, self.attack, self.data, self.shelf = name, attack, data, shelf
        self.learning, self.counter, self.ready = Counter(model), Counter(model), attack if data is None else None
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
                adv = self.ready(self.counter, x.clone(), y.clone())  # copies, which the attack may overwrite
                _wait(x)
                progress.save("all", adv := _checked(self.name, adv.detach(), x, ball_of(self.attack)))
                progress.seconds += time.perf_counter() - progress.began
            else:
                (adv,) = found
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
