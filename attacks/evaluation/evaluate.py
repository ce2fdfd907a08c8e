"""Attacks against models, measured by someone who trusts neither.

What an attack returns is checked for finite pixels, box and ball; the model predicts again in eval mode; success counts
only inputs that were classified correctly before. Logits with NaN are no answer: neither right nor fooled nor robust.
Passes through the model are counted, and a noise control of the same size joins every comparison. An attack that
fails on a model is a row that says why. The warnings are the symptoms of masked gradients listed by Athalye, Carlini,
Wagner 2018, arXiv:1802.00420, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attacks.core.ball import L2, Linf
from attacks.core.goal import UNANSWERED, answers
from attacks.core.model import Attack, Learnt, Model, check, victim
from attacks.evaluation.crafting import Counter, Crafted, ball_of, craft, difference
from attacks.evaluation.inspection import inspect, sentence
from attacks.evaluation.results import Evaluation, Example, Rate, Row, Sizes, WorstCase, size_name
from attacks.noise import Noise

if TYPE_CHECKING:
    from genlab.data import Images


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
) -> Evaluation:
    """Run every attack, at every eps if given, on every model.

    x (N, ...) in [0, 1] and y (N,) int64 lie where the models are. `sources` maps a model's name to the name of its
    source model, on which its adversarial images are crafted (transfer, or a defence that the attacker does not know
    of); by default that is the model itself. `data` are the images that attacks may prepare themselves on, other than
    x; what they spend on that is not among the counted passes. `progress` is called with (done, total, what). The last
    class of a model with an attribute `alarms` that is true is an alarm: it is wrong on x, and never a success.

    ValueError, before the first attack: what cannot be measured at all. What an attack raises is its row's `error`.
    """
    check(x, y)
    sources = _checked(sources or {}, models)
    plan = _plan(attacks, eps, learns=data is not None)
    if batch < 1 or len(x) == 0:
        raise ValueError(f"evaluate needs inputs and a batch size >= 1, got {len(x)} inputs and batch={batch}.")
    tell = progress or (lambda done, total, what: None)
    found, done, total = Evaluation(), 0, len(models) * len(plan)
    with torch.inference_mode(False):
        x, y = (t.clone() if t.is_inference() else t.detach() for t in (x, y))
        looks = {name: inspect(name, model, x, y, batch) for name, model in models.items()}
        crafted: dict[tuple[str, int], Crafted | str] = {}  # on the source models of others
        for name, model in models.items():
            source = sources.get(name, name)
            target = _Target(name, source, model, x, y, looks[name].answers == y)
            for i, (label, attack) in enumerate(plan):
                tell(done, total, f"{label} on {name}")
                made = crafted.get((source, i)) or craft(label, attack, models[source], x, y, batch, data)
                if source in sources.values():
                    crafted[source, i] = made
                target.add(label, attack, made, batch, examples)
                done += 1
            found.rows += target.rows
            found.examples += target.examples
            found.worst_case += target.worst_case()
            found.warnings += [*looks[name].warnings, *target.warnings()]
    tell(total, total, "done")
    return found


def _checked(sources: Mapping[str, str], models: Mapping[str, Model]) -> Mapping[str, str]:
    for given in (name for pair in sources.items() for name in pair):
        if given not in models:
            raise ValueError(f"sources speak of the model {given!r}, but the models are {', '.join(models)}.")
    return sources


def _plan(attacks: Mapping[str, Attack], eps: Sequence[float] | None, learns: bool) -> list[tuple[str, Attack]]:
    """Every (name, attack at eps), then one noise control per ball; an attack without a ball appears once."""
    plan: list[tuple[str, Attack]] = []
    for name, attack in attacks.items():
        if getattr(attack, "targeted", False):
            raise ValueError(f"evaluate measures untargeted attacks, got {attack!r} as {name!r}.")
        if name.startswith("noise-"):
            raise ValueError(f"attack names beginning with 'noise-' are kept for the control, got {name!r}.")
        if isinstance(attack, Learnt) and not learns:
            raise ValueError(f"{attack!r} must learn first: evaluate needs `data` for {name!r}.")
        sizes = None if ball_of(attack) is None else eps
        plan += [(name, attack)] if sizes is None else [(name, attack.at(e)) for e in dict.fromkeys(sizes)]
    balls = dict.fromkeys(ball for _, attack in plan if (ball := ball_of(attack)) is not None)
    return plan + [(f"noise-{ball.name}", Noise(ball)) for ball in balls]


@dataclass(frozen=True)
class _Outcome:
    """prediction (N,): classes of the adversarial images; fooled, lost (N,) bool: right before and wrong now; NaN."""

    prediction: Tensor
    fooled: Tensor
    lost: Tensor


class _Target:
    """One model and what all attacks together do to it; `correct` (N,) bool: where it was right on x."""

    def __init__(self, name: str, source: str, model: Model, x: Tensor, y: Tensor, correct: Tensor) -> None:
        self.name, self.source, self.model, self.x, self.y, self.correct = name, source, model, x, y, correct
        self.right = int(correct.sum())
        self.rows, self.examples, self.made = list[Row](), list[Example](), list[Crafted]()
        self.found: dict[tuple[str | None, float | None], dict[str, _Outcome]] = {}  # (norm, eps) -> attack -> outcome

    def add(self, label: str, attack: Attack, made: Crafted | str, batch: int, examples: int) -> None:
        """One more row, and its pictures."""
        row = self._unmeasured(label, attack)
        logits = made if isinstance(made, str) else self._logits(made.x, batch)
        if isinstance(made, str) or isinstance(logits, str):
            return self.rows.append(replace(row, error=str(logits)))
        outcome = self._outcome(logits)
        self.found.setdefault((row.norm, row.eps), {})[label] = outcome
        self.rows.append(self._measured(row, made, outcome))
        self.made.append(made)
        show = torch.argsort(outcome.fooled.int(), descending=True, stable=True)[:examples]
        pick = [t[show].detach().cpu() for t in (self.x, made.x, self.y, outcome.prediction)]
        self.examples.append(Example(self.name, label, row.eps, *pick))

    def _unmeasured(self, label: str, attack: Attack) -> Row:
        """The row of an attack that failed, but for its error."""
        ball, none = ball_of(attack), Sizes(None, None, None)
        return Row(
            model=self.name,
            source=self.source,
            attack=label,
            config=repr(attack),
            norm=None if ball is None else ball.name,
            eps=None if ball is None else ball.eps,
            n=len(self.x),
            success=Rate(0, 0),
            clean_accuracy=self.right / len(self.x),
            robust_accuracy=None,
            linf=none,
            l2=none,
            relative=none,
            forwards=0,
            backwards=0,
            seconds=0,
            steps=getattr(attack, "steps", None),
        )

    def _logits(self, x: Tensor, batch: int) -> Tensor | str:
        """The model's, in eval mode whatever an attack left behind; or why there are none."""
        try:
            with victim(Counter(self.model), x, self.y) as f:
                return torch.cat([f.query(part) for part in x.split(batch)])
        except Exception as error:
            return sentence(error)

    def _outcome(self, logits: Tensor) -> _Outcome:
        prediction = answers(logits)
        lost = prediction == UNANSWERED
        fooled = self.correct & (prediction != self.y) & ~lost
        if getattr(self.model, "alarms", False):
            fooled &= prediction != logits.shape[1] - 1
        return _Outcome(prediction, fooled, lost)

    def _measured(self, row: Row, made: Crafted, outcome: _Outcome) -> Row:
        d, l2 = difference(made.x, self.x), L2(0).size
        moved = outcome.fooled if row.norm is None else self.correct  # without a ball, a failure returns the original
        return replace(
            row,
            success=Rate(int(outcome.fooled.sum()), self.right),
            robust_accuracy=self._robust(outcome.fooled, outcome.lost),
            linf=Sizes.of(Linf(0).size(d)[moved]),
            l2=Sizes.of(l2(d)[moved]),
            relative=Sizes.of((l2(d) / l2(self.x.to(d.dtype)).clamp_min(1e-12))[moved]),
            forwards=made.forwards,
            backwards=made.backwards,
            seconds=made.seconds,
            nan=int(outcome.lost.sum()),
            blind=made.blind / max(1, made.followed),
        )

    def _robust(self, fooled: Tensor, lost: Tensor) -> float:
        return int((self.correct & ~fooled & ~lost).sum()) / len(self.x)

    def worst_case(self) -> list[WorstCase]:
        """One per ball, over the attacks that did not fail."""
        cases = []
        for (norm, radius), each in self.found.items():
            fooled, lost = (
                torch.stack([getattr(outcome, what) for outcome in each.values()]).any(0) for what in ("fooled", "lost")
            )
            rate, robust = Rate(int(fooled.sum()), self.right), self._robust(fooled, lost)
            cases.append(WorstCase(self.name, self.source, norm, radius, tuple(each), rate, robust, int(lost.sum())))
        return cases

    def warnings(self) -> list[str]:
        """What failed, NaN that the attacks met, and signs of masked gradients where the model itself was attacked."""
        found = [f"{r.attack} failed at {size_name(r)}: {r.error}" for r in self.rows if r.error]
        if lost := [f"{r.nan} of {r.attack} at {size_name(r)}" for r in self.rows if r.nan]:
            found.append(f"the logits are NaN on adversarial images, {', '.join(lost)}: neither fooled nor robust.")
        if self.source == self.name:
            for kind, bad, passes in (
                ("logits are NaN", sum(m.lost for m in self.made), sum(m.asked for m in self.made)),
                ("gradient is NaN or infinite", sum(m.blind for m in self.made), sum(m.followed for m in self.made)),
            ):
                if bad:
                    found.append(f"the {kind} in {bad} of {passes} passes under attack: attacks may be blind.")
            found += _symptoms(self.rows)
        return [f"{self.name}: {text}" for text in found]


def _symptoms(rows: list[Row]) -> list[str]:
    """Comparisons that come out the wrong way round when gradients are masked; only clear ones (intervals apart)."""
    found = []
    rows = [row for row in rows if not row.error]
    same = {(r.norm, r.eps): [s for s in rows if (s.norm, s.eps) == (r.norm, r.eps)] for r in rows if r.norm}
    for group in same.values():
        white = [r for r in group if r.backwards > 0]
        for one in (r for r in white if r.steps == 1):
            for many in (r for r in white if r.steps is not None and r.steps > 1):
                if one.success.exceeds(many.success):
                    found.append(
                        f"more steps do not help, {many.attack} reaches {_value(many)} and the single step of "
                        f"{one.attack} {_value(one)} at {size_name(one)}."
                    )
        if white:
            best = max(white, key=lambda r: r.success.fooled)
            for blind in (r for r in group if r.backwards == 0 and r.success.exceeds(best.success)):
                found.append(
                    f"{blind.attack} uses no gradient and reaches {_value(blind)}, better than the "
                    f"{_value(best)} of {best.attack} at {size_name(blind)}."
                )
    for small, large in combinations(sorted((r for r in rows if r.eps is not None), key=lambda r: r.eps or 0), 2):
        if (small.attack, small.norm) == (large.attack, large.norm) and small.success.exceeds(large.success):
            found.append(
                f"{small.attack} succeeds less with a larger budget, {_value(large)} at {size_name(large)} "
                f"after {_value(small)} at {size_name(small)}."
            )
    return found


def _value(row: Row) -> str:
    return f"{row.success.value or 0:.2f}"
