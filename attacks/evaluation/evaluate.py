"""Attacks against models, measured by someone who trusts neither.

What an attack returns is checked for finite pixels, box and ball; the model predicts again in eval mode; success counts
only inputs that were classified correctly before. Logits with NaN are no answer: neither right nor fooled nor robust.
Passes are counted at the model's door, and a noise control of the same size joins every comparison. An attack that
fails on a model is a row that says why. The warnings are the symptoms of masked gradients listed by Athalye, Carlini,
Wagner 2018, arXiv:1802.00420, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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

    x (N, ...) in [0, 1] and y (N,) int64 lie where the models are. `sources` maps a model's name to the name of
    the one that its adversarial images are made for (transfer, or a defence that the attacker does not know of); by
    default each model is attacked itself. `data` are the images that attacks may prepare themselves on, other than
    x; what they spend on that is not among the counted passes. `progress` is called with (done, total, what). The last
    answer of a model with an attribute `alarms` that is true is an alarm: it is wrong on x, and fools nobody.

    ValueError, before the first attack: what cannot be measured at all. What an attack raises is its row's `error`.
    """
    check(x, y)
    sources = dict(sources or {})
    for name, source in sources.items():
        for given in (name, source):
            if given not in models:
                raise ValueError(f"sources speak of the model {given!r}, but the models are {', '.join(models)}.")
    plan = _plan(attacks, eps, learns=data is not None)
    if batch < 1 or len(x) == 0:
        raise ValueError(f"evaluate needs inputs and a batch size >= 1, got {len(x)} inputs and batch={batch}.")
    report, total = Evaluation(), len(models) * len(plan)
    crafted: dict[tuple[str, int], Crafted | str] = {}  # kept while another model may want them
    with torch.inference_mode(False):
        x, y = (t.clone() if t.is_inference() else t.detach() for t in (x, y))
        looks = {name: inspect(name, model, x, y, batch) for name, model in models.items()}
        for m, (name, model) in enumerate(models.items()):
            source, look = sources.get(name, name), looks[name]
            measure = _Measure(name, source, model, x, y, look.answers == y)
            for i, (label, attack) in enumerate(plan):
                if progress is not None:
                    progress(m * len(plan) + i, total, f"{label} on {name}")
                made = crafted.get((source, i)) or craft(label, attack, models[source], x, y, batch, data)
                if source in sources.values():
                    crafted[source, i] = made
                measure.add(label, attack, made, batch, examples)
            report.rows += measure.rows
            report.examples += measure.examples
            report.worst_case += measure.worst_case()
            report.warnings += [*look.warnings, *measure.warnings()]
    if progress is not None:
        progress(total, total, "done")
    return report


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


class _Measure:
    """What all attacks together do to one model; `correct` (N,) bool: where it was right on x."""

    def __init__(self, name: str, source: str, model: Model, x: Tensor, y: Tensor, correct: Tensor) -> None:
        self.name, self.source, self.model, self.x, self.y, self.correct = name, source, model, x, y, correct
        self.right = int(correct.sum())
        self.rows, self.examples, self.made = list[Row](), list[Example](), list[Crafted]()
        self.found: dict[tuple[str | None, float | None], dict[str, tuple[Tensor, Tensor]]] = {}  # fooled, lost: (N,)

    def add(self, label: str, attack: Attack, made: Crafted | str, batch: int, examples: int) -> None:
        """One more row, and its pictures."""
        n, ball, none = len(self.x), ball_of(attack), Sizes(None, None, None)
        norm, radius = (None, None) if ball is None else (ball.name, ball.eps)
        row = Row(
            self.name, self.source, label, repr(attack), norm, radius, n, Rate(0, 0), self.right / n, None,
            none, none, none, 0, 0, 0, getattr(attack, "steps", None),
        )  # fmt: skip
        if isinstance(made, str):
            return self.rows.append(replace(row, error=made))
        logits = self._logits(made.x, batch)
        if isinstance(logits, str):
            return self.rows.append(replace(row, error=logits))
        after = answers(logits)
        lost = after == UNANSWERED
        hit = self.correct & (after != self.y) & ~lost
        if getattr(self.model, "alarms", False):
            hit &= after != logits.shape[1] - 1
        self.found.setdefault((norm, radius), {})[label] = hit, lost
        d, size = difference(made.x, self.x), L2(0).size
        moved = hit if ball is None else self.correct  # without a ball, a failure returns the original
        row = replace(
            row,
            success=Rate(int(hit.sum()), self.right),
            robust_accuracy=int((self.correct & ~hit & ~lost).sum()) / n,
            linf=Sizes.of(Linf(0).size(d)[moved]),
            l2=Sizes.of(size(d)[moved]),
            relative=Sizes.of((size(d) / size(self.x.to(d.dtype)).clamp_min(1e-12))[moved]),
            forwards=made.forwards,
            backwards=made.backwards,
            seconds=made.seconds,
            nan=int(lost.sum()),
            blind=made.blind / max(1, made.followed),
        )
        self.rows.append(row)
        self.made.append(made)
        show = torch.argsort(hit.int(), descending=True, stable=True)[:examples]
        pick = [t[show].detach().cpu() for t in (self.x, made.x, self.y, after)]
        self.examples.append(Example(self.name, label, radius, *pick))

    def _logits(self, x: Tensor, batch: int) -> Tensor | str:
        """The model's, in eval mode whatever an attack left behind; or why there are none."""
        try:
            with victim(Counter(self.model), x, self.y) as f:
                return torch.cat([f.query(part) for part in x.split(batch)])
        except Exception as error:
            return sentence(error)

    def worst_case(self) -> list[WorstCase]:
        """One per ball, over the attacks that did not fail."""
        cases = []
        for (norm, radius), each in self.found.items():
            hit, lost = (torch.stack(masks).any(0) for masks in zip(*each.values(), strict=True))
            robust = int((self.correct & ~hit & ~lost).sum()) / len(self.x)
            rate = Rate(int(hit.sum()), self.right)
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
