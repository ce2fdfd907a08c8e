"""Running an attack for `evaluate`: on counted passes, in batches, and without trust in what it returns."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from attacks.core.ball import Ball
from attacks.core.callables import networks
from attacks.core.model import TOLERANCE, Attack, Model
from attacks.evaluation.inspection import sentence

if TYPE_CHECKING:
    from genlab.data import Images


class Counter(nn.Module):
    """A model that counts the examples that go through it, forward and backward.

    lost: those whose logits had a NaN; blind: those whose logits had none, but whose gradient was not finite.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model, self.behind = model, nn.ModuleList(networks(model))
        self.forwards = self.backwards = 0
        self.lost: int | Tensor = 0  # tensors of the model's device: nobody waits for them
        self.blind: int | Tensor = 0

    def forward(self, x: Tensor) -> Tensor:
        lost = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        if x.requires_grad:
            x.register_hook(lambda grad: self._arrived(grad, lost))  # before the model may overwrite x
        logits = self.model(x)
        self.forwards += len(x)
        if isinstance(logits, Tensor) and logits.ndim == 2:
            lost = logits.detach().isnan().any(1)
            self.lost = self.lost + lost.sum()
            if logits.requires_grad:
                logits.register_hook(self._left)
        return logits

    def _left(self, grad: Tensor) -> None:
        self.backwards += len(grad)

    def _arrived(self, grad: Tensor | None, lost: Tensor) -> None:
        if grad is None:  # a layer without a derivative: the attack will say so
            return
        self.blind = self.blind + (~grad.isfinite().flatten(1).all(1) & ~lost).sum()


@dataclass(frozen=True)
class Crafted:
    """What an attack made of all images x, already checked, and its passes per image.

    asked, lost: all passes, those of its preparation too, and how many of them ended in logits with a NaN. followed,
    blind: all backward passes, and how many of them ended in a gradient that was not finite.
    """

    x: Tensor
    forwards: float
    backwards: float
    seconds: float
    asked: int
    lost: int
    followed: int
    blind: int


def ball_of(attack: Attack) -> Ball | None:
    """What the attack promises to stay in."""
    return getattr(attack, "ball", None)


def craft(
    name: str, attack: Attack, model: Model, x: Tensor, y: Tensor, batch: int, data: Images | None
) -> Crafted | str:
    """What the attack, prepared on `data`, makes of x (N, ...): finite, in the box and in its ball; or why not."""
    learning, counter, parts, seconds = Counter(model), Counter(model), list[Tensor](), 0.0
    try:
        ready = attack if data is None else attack.prepare(learning, data)
        for part, labels in zip(x.split(batch), y.split(batch), strict=True):
            _wait(x)
            start = time.perf_counter()
            adv = ready(counter, part.clone(), labels.clone())  # copies: an attack may write into what it is given
            _wait(x)
            seconds += time.perf_counter() - start
            parts.append(_checked(name, adv.detach(), part, ball_of(attack)))
    except Exception as error:
        return sentence(error)
    n, both = len(x), (learning, counter)
    return Crafted(
        torch.cat(parts),
        counter.forwards / n,
        counter.backwards / n,
        seconds,
        asked=sum(c.forwards for c in both),
        lost=sum(int(c.lost) for c in both),
        followed=sum(c.backwards for c in both),
        blind=sum(int(c.blind) for c in both),
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
    """adv - x without rounding of its own: in float64 where the device has it."""
    dtype = torch.float32 if x.device.type == "mps" else torch.float64
    return adv.to(dtype) - x.to(dtype)


def _wait(x: Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)
