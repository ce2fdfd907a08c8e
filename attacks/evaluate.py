"""Attacks against models, measured by someone who trusts neither.

What an attack returns is checked for finite pixels, box and ball; the model predicts again in eval mode; success counts
only inputs that were classified correctly before. Passes are counted at the model's door, and a noise control of the
same size joins every comparison. The warnings are the symptoms of masked gradients listed by Athalye, Carlini, Wagner
2018, arXiv:1802.00420, section 3.1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from attacks.ball import L2, Ball, Linf
from attacks.control import Noise
from attacks.model import TOLERANCE, Attack, Model, looks_like_probabilities, victim
from attacks.results import Example, Rate, Report, Row, Sizes, WorstCase, size_name

if TYPE_CHECKING:
    from genlab.data import Images


class Counter(nn.Module):
    """A model that counts the examples that go through it, forward and backward."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.forwards = self.backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        self.forwards += len(x)
        if logits.requires_grad:
            logits.register_hook(self._backward)
        return logits

    def _backward(self, grad: Tensor) -> None:
        self.backwards += len(grad)


@dataclass
class _Crafted:
    """What one attack made of all inputs, already checked."""

    x: Tensor
    forwards: float
    backwards: float
    seconds: float


def evaluate(
    models: Mapping[str, Model],
    attacks: Mapping[str, Attack],
    x: Tensor,
    y: Tensor,
    *,
    eps: Sequence[float] | None = None,
    sources: Mapping[str, str] | None = None,
    data: Images | None = None,
    batch: int = 256,
    examples: int = 8,
    progress: Callable[[int, int, str], None] | None = None,
) -> Report:
    """Run every attack, at every eps if given, on every model.

    x (N, ...) in [0, 1] and y (N,) int64 lie where the models are. `sources` maps a model's name to the name of
    the one that its adversarial images are made for (transfer, or a defence that the attacker does not know of); by
    default each model is attacked itself. `data` are the images that attacks may prepare themselves on, other than
    x; what they spend on that is not among the counted passes. `progress` is called with (done, total, what). The last
    answer of a model with an attribute `alarms` that is true is an alarm: it is wrong on x, and fools nobody.
    """
    sources = dict(sources or {})
    for name, source in sources.items():
        for given in (name, source):
            if given not in models:
                raise ValueError(f"sources speak of the model {given!r}, but the models are {', '.join(models)}.")
    plan = _plan(attacks, eps)
    if batch < 1 or len(x) == 0:
        raise ValueError(f"evaluate needs inputs and a batch size >= 1, got {len(x)} inputs and batch={batch}.")
    report = Report()
    crafted: dict[tuple[str, int], _Crafted] = {}  # kept while another model may want them
    total = len(models) * len(plan)
    for m, (name, model) in enumerate(models.items()):
        source = sources.get(name, name)
        predictions = _inspect(name, model, x, y, batch, report.warnings)
        correct = predictions == y
        fooled: dict[tuple[str | None, float | None], dict[str, Tensor]] = {}
        for i, (label, attack) in enumerate(plan):
            if progress is not None:
                progress(m * len(plan) + i, total, f"{label} on {name}")
            made = crafted.get((source, i))
            if made is None:
                ready = attack if data is None else attack.prepare(models[source], data)
                made = _craft(label, ready, models[source], x, y, batch)
            if source in sources.values():
                crafted[source, i] = made
            with _evaluating(model, x, y) as f:
                logits = torch.cat([f(part) for part in made.x.split(batch)])
            after = logits.argmax(1)
            hit = correct & (after != y)
            if getattr(model, "alarms", False):
                hit &= after != logits.shape[1] - 1
            ball = _ball(attack)
            norm, radius = (None, None) if ball is None else (ball.name, ball.eps)
            fooled.setdefault((norm, radius), {})[label] = hit
            d = (made.x - x).double() if x.device.type != "mps" else made.x - x
            moved = hit if ball is None else correct  # without a ball, a failure returns the original
            n, right, wrong = len(x), int(correct.sum()), int(hit.sum())
            report.rows.append(
                Row(
                    model=name,
                    source=source,
                    attack=label,
                    config=repr(attack),
                    norm=norm,
                    eps=radius,
                    n=n,
                    success=Rate(wrong, right),
                    clean_accuracy=right / n,
                    robust_accuracy=(right - wrong) / n,
                    linf=Sizes.of(Linf(0).size(d)[moved]),
                    l2=Sizes.of(L2(0).size(d)[moved]),
                    relative=Sizes.of((L2(0).size(d) / L2(0).size(x).clamp_min(1e-12))[moved]),
                    forwards=made.forwards,
                    backwards=made.backwards,
                    seconds=made.seconds,
                    steps=getattr(attack, "steps", None),
                )
            )
            show = torch.argsort(hit.int(), descending=True, stable=True)[:examples]
            pick = [t[show].detach().cpu() for t in (x, made.x, y, after)]
            report.examples.append(Example(name, label, radius, *pick))
        for (norm, radius), hits in fooled.items():
            wrong = int(torch.stack(list(hits.values())).any(0).sum())
            rate = Rate(wrong, right := int(correct.sum()))
            report.worst_case.append(WorstCase(name, source, norm, radius, tuple(hits), rate, (right - wrong) / len(x)))
        if source == name:
            report.warnings += _symptoms(name, [r for r in report.rows if r.model == name])
    if progress is not None:
        progress(total, total, "done")
    return report


def _ball(attack: Attack) -> Ball | None:
    return getattr(attack, "ball", None)


def _plan(attacks: Mapping[str, Attack], eps: Sequence[float] | None) -> list[tuple[str, Attack]]:
    """Every (name, attack at eps), then one noise control per ball; an attack without a ball appears once."""
    plan: list[tuple[str, Attack]] = []
    for name, attack in attacks.items():
        if getattr(attack, "targeted", False):
            raise ValueError(f"evaluate measures untargeted attacks, got {attack!r} as {name!r}.")
        if name.startswith("noise-"):
            raise ValueError(f"attack names beginning with 'noise-' are kept for the control, got {name!r}.")
        sizes = None if _ball(attack) is None else eps
        plan += [(name, attack)] if sizes is None else [(name, attack.at(e)) for e in dict.fromkeys(sizes)]
    balls = dict.fromkeys(ball for _, attack in plan if (ball := _ball(attack)) is not None)
    return plan + [(f"noise-{ball.name}", Noise(ball)) for ball in balls]


@contextmanager
def _evaluating(model: Model, x: Tensor, y: Tensor) -> Iterator[Callable[[Tensor], Tensor]]:
    with victim(model, x, y) as f:
        yield f.query


def _craft(name: str, attack: Attack, model: Model, x: Tensor, y: Tensor, batch: int) -> _Crafted:
    """Run the attack on counted passes; what it returns must be finite, in the box and in its ball."""
    counter, parts, seconds = Counter(model), [], 0.0
    for part, labels in zip(x.split(batch), y.split(batch), strict=True):
        _wait(x)
        start = time.perf_counter()
        adv = attack(counter, part.clone(), labels.clone())  # copies: an attack may write into what it is given
        _wait(x)
        seconds += time.perf_counter() - start
        if adv.shape != part.shape or adv.dtype != part.dtype:
            raise ValueError(f"attack {name!r} returned {adv.dtype} {tuple(adv.shape)} for {tuple(part.shape)}.")
        adv = adv.detach()
        low, high = (v.item() for v in torch.aminmax(adv))
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
            raise ValueError(f"attack {name!r} returned pixels from {low:g} to {high:g}, outside [0, 1].")
        if (ball := _ball(attack)) is not None:
            size = ball.size(adv - part).max().item()
            if not size <= ball.eps + TOLERANCE * max(1, ball.eps):
                raise ValueError(f"attack {name!r} returned a perturbation of size {size:.6g}, above eps={ball.eps:g}.")
        parts.append(adv)
    n = len(x)
    return _Crafted(torch.cat(parts), counter.forwards / n, counter.backwards / n, seconds)


def _wait(x: Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)


def _inspect(name: str, model: Model, x: Tensor, y: Tensor, batch: int, warnings: list[str]) -> Tensor:
    """Clean predictions (N,); looks for random outputs and vanishing gradients, also of a model attacked by others."""
    clean, still, flat = [], True, 0
    with victim(model, x, y) as f:
        for part, labels in zip(x.split(batch), y.split(batch), strict=True):
            inputs = part.detach().clone().requires_grad_()
            logits = f(inputs)
            clean.append(logits.detach())
            still = still and torch.allclose(f.query(part), clean[-1], rtol=1e-4, atol=1e-5)
            if logits.requires_grad:
                grad = f.gradient(cross_entropy(logits, labels, reduction="sum"), inputs)
                flat += int((grad.flatten(1) == 0).all(1).sum())
            else:
                flat += len(part)
    logits = torch.cat(clean)
    predictions = logits.argmax(1)
    if looks_like_probabilities(logits):
        warnings.append(f"{name}: its outputs look like probabilities, but attacks expect logits.")
    if not still:
        warnings.append(f"{name}: two passes over the same input differ, so attacks must average over its randomness.")
    if flat:
        share = 100 * flat / len(x)
        warnings.append(f"{name}: the gradient is exactly zero on {share:.0f} % of the inputs: attacks may be blind.")
    if not (predictions == y).any():
        warnings.append(f"{name}: no input is classified correctly, so there is no success rate.")
    return predictions


def _symptoms(name: str, rows: list[Row]) -> list[str]:
    """Comparisons that come out the wrong way round when gradients are masked; only clear ones (intervals apart)."""
    found = []
    same = {(r.norm, r.eps): [s for s in rows if (s.norm, s.eps) == (r.norm, r.eps)] for r in rows if r.norm}
    for group in same.values():
        white = [r for r in group if r.backwards > 0]
        for one in (r for r in white if r.steps == 1):
            for many in (r for r in white if r.steps is not None and r.steps > 1):
                if one.success.exceeds(many.success):
                    found.append(
                        f"{name}: more steps do not help, {many.attack} reaches {_value(many)} and the single step of "
                        f"{one.attack} {_value(one)} at {size_name(one)}."
                    )
        if white:
            best = max(white, key=lambda r: r.success.fooled)
            for blind in (r for r in group if r.backwards == 0 and r.success.exceeds(best.success)):
                found.append(
                    f"{name}: {blind.attack} uses no gradient and reaches {_value(blind)}, better than the "
                    f"{_value(best)} of {best.attack} at {size_name(blind)}."
                )
    for small, large in combinations(sorted((r for r in rows if r.eps is not None), key=lambda r: r.eps or 0), 2):
        if (small.attack, small.norm) == (large.attack, large.norm) and small.success.exceeds(large.success):
            found.append(
                f"{name}: {small.attack} succeeds less with a larger budget, {_value(large)} at {size_name(large)} "
                f"after {_value(small)} at {size_name(small)}."
            )
    return found


def _value(row: Row) -> str:
    return f"{row.success.value or 0:.2f}"
