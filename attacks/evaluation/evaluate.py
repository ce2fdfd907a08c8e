"""Evaluation of attacks on models, independent of what attacks and models claim.

Adversarial examples must be finite, in [0, 1] and in the attack's ball, and are classified again in eval mode. The
success rate is over the inputs that are classified correctly. Inputs with NaN logits count neither as correct nor
as fooled nor as robust. Forward and backward passes are counted, and a random-noise baseline is added for every ball.
An attack that raises an error is a row with that error. Warnings report the symptoms of gradient masking listed by
Athalye, Carlini, Wagner 2018, arXiv:1802.00420, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from attacks.core.ball import L2, Linf
from attacks.core.goal import NO_PREDICTION, predicted_classes
from attacks.core.model import Attack, Model, TrainedAttack, check, victim
from attacks.core.rate import Rate
from attacks.evaluation.crafting import Counter, Crafted, Passes, ball_of, craft, difference
from attacks.evaluation.inspection import inspect, one_line
from attacks.evaluation.results import Evaluation, Example, Row, Sizes, WorstCase, size_name
from attacks.evaluation.store import Cell, Outcome, Store
from attacks.noise import RandomNoise
from genlab.core.passes import pass_size
from genlab.core.ranges import Count, Range
from genlab.core.ranges import check as check_options

if TYPE_CHECKING:
    from genlab.data import Images


@dataclass(frozen=True)
class EvaluationOptions:
    """How `evaluate` works through its inputs, whatever they are."""

    batch: Count | None = None
    """inputs per batch; None: as fits the device (`pass_size`)"""
    examples: Annotated[int, Range(0, 10**6)] = 8
    """images kept per row, for pictures"""
    progress: Callable[[int, int, str], object] = lambda done, total, what: None
    """called with the number of rows done, of all rows, and a description of the next"""
    store: Store | None = None
    """where the results of each attack on each model are kept; those that it has already are not measured again"""
    save: Callable[[Row, Tensor, Tensor], object] | None = None
    """called with each row, the adversarial examples (N, ...) rounded to 8 bits, and their predicted classes (N,)"""

    def __post_init__(self) -> None:
        check_options(self)


def evaluate(
    models: Mapping[str, Model],
    attacks: Mapping[str, Attack],
    x: Tensor,
    y: Tensor,
    *,
    eps: Sequence[float] | None = None,
    sources: Mapping[str, str] | None = None,
    data: Images | None = None,
    targets: Tensor | None = None,
    options: EvaluationOptions = EvaluationOptions(),
) -> Evaluation:
    """Run every attack, at every eps if given, on every model.

    models, attacks: by name. x (N, ...) in [0, 1] and y (N,) int64, on the device of the models. eps: radii, in pixels;
    None: those of the attacks. sources: name of a model -> name of its source model, on which its adversarial examples
    are crafted (transfer, or an oblivious attack on a defence); by default the model itself. data: training images of
    attacks that must be trained (universal perturbations, patches, surrogates), disjoint from x; passes during training
    are not counted.

    targets (N,) int64: target classes, for attacks that are targeted; without, all must be untargeted. An attack then
    succeeds if the target is predicted; images of their target class are left out.

    If a model has a true attribute `has_alarm_class`, its last class is the alarm of a detector: predicting it is an
    error on clean inputs, and never a success of an attack.

    Raises ValueError, before any attack is run, for invalid x, y, names or models that cannot be evaluated. An error
    raised by an attack becomes the `error` of its row.
    """
    check(x, y)
    if targets is not None:
        check(x, targets)
    sources = _checked(sources or {}, models)
    plan = _plan(attacks, eps, trainable=data is not None, targeted=targets is not None)
    if len(x) == 0:
        raise ValueError(f"evaluate needs at least one input, got x of shape {tuple(x.shape)}.")
    found, done, total = Evaluation(targeted=targets is not None), 0, len(models) * len(plan)
    batch = options.batch or pass_size(x.shape[1:], x.device)
    options = replace(options, batch=batch)
    with torch.inference_mode(False):
        x, y = (t.clone() if t.is_inference() else t.detach() for t in (x, y))
        goal = y if targets is None else targets
        inspections = {name: inspect(name, model, x, y, batch) for name, model in models.items()}
        targeted = {
            name: _Target(name, sources.get(name, name), model, x, y, inspections[name].predictions == y, targets)
            for name, model in models.items()
        }
        for label, attack in plan:
            crafted: dict[str, Crafted | str] = {}  # by source model; of one attack at a time, which bounds the memory
            for name, target in targeted.items():
                options.progress(done, total, f"{label} on {name}")
                cell = options.store.get(name, label, attack) if options.store else None
                if cell is None:
                    source = target.source
                    if source not in crafted:
                        shelf = options.store.shelf(source, label, attack) if options.store else None
                        crafted[source] = craft(label, attack, models[source], x, goal, batch, data, shelf)
                    cell = target.measure(label, attack, crafted[source], options)
                    if options.store:
                        options.store.add(name, label, attack, cell)
                target.add(label, cell)
                done += 1
        for name, target in targeted.items():
            found.rows += target.rows
            found.examples += target.examples
            found.worst_case += target.worst_case()
            found.warnings += [*inspections[name].warnings, *target.warnings()]
    options.progress(total, total, "done")
    return found


def _checked(sources: Mapping[str, str], models: Mapping[str, Model]) -> Mapping[str, str]:
    for given in (name for pair in sources.items() for name in pair):
        if given not in models:
            raise ValueError(f"sources name the model {given!r}, but the models are {', '.join(models)}.")
    return sources


def _plan(
    attacks: Mapping[str, Attack], eps: Sequence[float] | None, trainable: bool, targeted: bool
) -> list[tuple[str, Attack]]:
    """(name, attack) at every eps, then a noise baseline per ball; an attack without a ball appears once."""
    plan: list[tuple[str, Attack]] = []
    for name, attack in attacks.items():
        if getattr(attack, "targeted", False) != targeted:
            given, kind = ("with", "targeted") if targeted else ("without", "untargeted")
            raise ValueError(f"{given} targets, evaluate measures {kind} attacks, got {attack!r} as {name!r}.")
        if name.startswith("noise-"):
            raise ValueError(
                f"attack names beginning with 'noise-' are reserved for the noise baselines, got {name!r}."
            )
        if isinstance(attack, TrainedAttack) and not trainable:
            raise ValueError(f"{attack!r} must be trained first: evaluate needs `data` for {name!r}.")
        sizes = None if ball_of(attack) is None else eps
        plan += [(name, attack)] if sizes is None else [(name, attack.at(e)) for e in dict.fromkeys(sizes)]
    balls = dict.fromkeys(ball for _, attack in plan if (ball := ball_of(attack)) is not None)
    return plan + [(f"noise-{ball.name}", RandomNoise(ball)) for ball in balls]


class _Target:
    """One model and the results of all attacks on it; correct (N,) bool: whether x is classified correctly.

    attacked (N,) bool: the images that count, which are classified correctly and not of their target class.
    """

    def __init__(
        self, name: str, source: str, model: Model, x: Tensor, y: Tensor, correct: Tensor, targets: Tensor | None
    ) -> None:
        self.name, self.source, self.model, self.x, self.y, self.correct = name, source, model, x, y, correct
        self.targets, self.attacked = targets, correct if targets is None else correct & (targets != y)
        self.n_attacked = int(self.attacked.sum())
        self.rows, self.examples, self.passes = list[Row](), list[Example](), list[Passes]()
        self.found: dict[tuple[str | None, float | None], dict[str, Outcome]] = {}  # (norm, eps) -> attack -> outcome

    def add(self, label: str, cell: Cell) -> None:
        """Add the row of an attack, and its example images."""
        self.rows.append(cell.row)
        if cell.outcome and cell.passes and cell.example:
            self.found.setdefault((cell.row.norm, cell.row.eps), {})[label] = cell.outcome.to(self.y.device)
            self.passes.append(cell.passes)
            self.examples.append(cell.example)

    def measure(self, label: str, attack: Attack, made: Crafted | str, options: EvaluationOptions) -> Cell:
        """Classify the adversarial examples `made` by an attack; a text is the message of its error."""
        row = self._unmeasured(label, attack)
        logits = made if isinstance(made, str) else self._logits(made.x, options.batch)
        if isinstance(made, str) or isinstance(logits, str):
            return Cell(replace(row, error=str(logits)))
        outcome, probability = self._outcome(logits), logits.float().softmax(1).amax(1)
        row = self._measured(row, made, outcome)
        if options.save:
            rounded = made.x.mul(255).round().div(255)
            logits = self._logits(rounded, options.batch)
            if not isinstance(logits, str):
                after = self._outcome(logits)
                row = replace(row, rounded=Rate(int(after.fooled.sum()), self.n_attacked))
                options.save(row, rounded, after.prediction)
        order = outcome.fooled.int() + self.attacked  # fooled first, images misclassified before the attack last
        show = torch.argsort(order, descending=True, stable=True)[: options.examples]
        pick = [
            t[show].detach().cpu() for t in (self.x, made.x, self.y, outcome.prediction, probability, self.attacked)
        ]
        return Cell(row, outcome, Example(self.name, label, row.eps, *pick), made.passes)

    def _unmeasured(self, label: str, attack: Attack) -> Row:
        """The row of an attack without measurements."""
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
            clean_accuracy=int(self.correct.sum()) / len(self.x),
            robust_accuracy=None,
            linf=none,
            l2=none,
            relative=none,
            forwards=0,
            backwards=0,
            seconds=0,
            steps=getattr(attack, "steps", None),
        )

    def _logits(self, x: Tensor, batch: int | None) -> Tensor | str:
        """Logits of x (N, ...) in eval mode, or the error message if the model fails."""
        try:
            with victim(Counter(self.model), x, self.y) as f:
                return torch.cat([f.query(part) for part in x.split(batch or len(x))])
        except Exception as error:
            return one_line(error)

    def _outcome(self, logits: Tensor) -> Outcome:
        prediction = predicted_classes(logits)
        nan = prediction == NO_PREDICTION
        fooled = self.attacked & ~nan & (prediction != self.y if self.targets is None else prediction == self.targets)
        if getattr(self.model, "has_alarm_class", False):
            fooled &= prediction != logits.shape[1] - 1
        return Outcome(prediction, fooled, nan)

    def _measured(self, row: Row, made: Crafted, outcome: Outcome) -> Row:
        d, l2 = difference(made.x, self.x), L2(0).size
        moved = (
            outcome.fooled if row.norm is None else self.attacked
        )  # an attack without a ball returns the original where it fails
        return replace(
            row,
            success=Rate(int(outcome.fooled.sum()), self.n_attacked),
            robust_accuracy=self._robust(outcome.fooled, outcome.nan),
            linf=Sizes.of(Linf(0).size(d)[moved]),
            l2=Sizes.of(l2(d)[moved]),
            relative=Sizes.of((l2(d) / l2(self.x.to(d.dtype)).clamp_min(1e-12))[moved]),
            forwards=made.forwards,
            backwards=made.backwards,
            seconds=made.seconds,
            nan=int(outcome.nan.sum()),
            nan_logits=made.passes.nan_logits / max(1, made.passes.forwards),
            nonfinite_gradients=made.passes.nonfinite_gradients / max(1, made.passes.backwards),
        )

    def _robust(self, fooled: Tensor, nan: Tensor) -> float:
        return int((self.correct & ~fooled & ~nan).sum()) / len(self.x)

    def worst_case(self) -> list[WorstCase]:
        """Per ball, over the attacks without error."""
        cases = []
        for (norm, radius), each in self.found.items():
            fooled, nan = (
                torch.stack([getattr(outcome, what) for outcome in each.values()]).any(0) for what in ("fooled", "nan")
            )
            rate, robust = Rate(int(fooled.sum()), self.n_attacked), self._robust(fooled, nan)
            blind = max(row.nan_logits for row in self.rows if (row.norm, row.eps) == (norm, radius))
            about = self.name, self.source, norm, radius, tuple(each)
            cases.append(WorstCase(*about, rate, robust, int(nan.sum()), blind))
        return cases

    def warnings(self) -> list[str]:
        """Errors, NaN logits, and, where the model is its own source, symptoms of gradient masking."""
        found = [f"{r.attack} failed at {size_name(r)}: {r.error}" for r in self.rows if r.error]
        if nan := [f"{r.nan} of {r.attack} at {size_name(r)}" for r in self.rows if r.nan]:
            found.append(f"the logits are NaN on adversarial images, {', '.join(nan)}: neither fooled nor robust.")
        if self.source == self.name:
            for kind, bad, passes in (
                ("logits are NaN", sum(p.nan_logits for p in self.passes), sum(p.forwards for p in self.passes)),
                (
                    "gradient is NaN or infinite",
                    sum(p.nonfinite_gradients for p in self.passes),
                    sum(p.backwards for p in self.passes),
                ),
            ):
                if bad:
                    found.append(
                        f"the {kind} in {bad} of {passes} passes under attack: gradient-based attacks may fail."
                    )
            found += _symptoms(self.rows)
        return [f"{self.name}: {text}" for text in found]


def _symptoms(rows: list[Row]) -> list[str]:
    """Symptoms of gradient masking: orders that are reversed significantly (intervals do not overlap)."""
    found = []
    rows = [row for row in rows if not row.error]
    same = {(r.norm, r.eps): [s for s in rows if (s.norm, s.eps) == (r.norm, r.eps)] for r in rows if r.norm}
    for group in same.values():
        white = [r for r in group if r.backwards > 0]
        for one in (r for r in white if r.steps == 1):
            for many in (r for r in white if r.steps is not None and r.steps > 1):
                if one.success.exceeds(many.success):
                    found.append(
                        f"an iterative attack is weaker than a single step: {many.attack} reaches {_value(many)}, "
                        f"{one.attack} {_value(one)} at {size_name(one)}."
                    )
        if white:
            best = max(white, key=lambda r: r.success.fooled)
            for black in (r for r in group if r.backwards == 0 and r.success.exceeds(best.success)):
                found.append(
                    f"{black.attack} uses no gradients and reaches {_value(black)}, better than the "
                    f"{_value(best)} of {best.attack} at {size_name(black)}."
                )
    for small, large in combinations(sorted((r for r in rows if r.eps is not None), key=lambda r: r.eps or 0), 2):
        if (small.attack, small.norm) == (large.attack, large.norm) and small.success.exceeds(large.success):
            found.append(
                f"{small.attack} has a lower success rate at a larger eps, {_value(large)} at {size_name(large)} "
                f"after {_value(small)} at {size_name(small)}."
            )
    return found


def _value(row: Row) -> str:
    return f"{row.success.value or 0:.2f}"
