"""Evaluation of attacks on models, independent of what attacks and models claim.

Adversarial examples must be finite, in [0, 1] and in the attack's ball, and are classified again in eval mode. The
success rate is over the inputs that are classified correctly. Inputs with NaN logits count neither as correct nor
as fooled nor as robust. Forward and backward passes are counted, and a random-noise baseline is added for every ball.
An attack that raises an error is a row with that error. Warnings report the symptoms of gradient masking listed by
Athalye, Carlini, Wagner 2018, arXiv:1802.00420, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated

import torch
from torch import Tensor

from attacks.core.ball import L2, Linf
from attacks.core.goal import NO_PREDICTION, predicted_classes
from attacks.core.minimal import size
from attacks.core.model import Attack, Model, TrainedAttack, check, victim
from attacks.core.rate import Rate
from attacks.evaluation.crafting import Counter, Crafter, Passes, ball_of, difference, minimised
from attacks.evaluation.inspection import inspect, one_line
from attacks.evaluation.results import Evaluation, Example, Row, Sizes, WorstCase, size_name
from attacks.evaluation.store import Cell, Outcome, Store
from attacks.noise import RandomNoise
from genlab.core.passes import pass_size
from genlab.core.ranges import Count, Range
from genlab.core.ranges import check as check_options
from genlab.data import Folder, Images
from genlab.data.images import to_float


@dataclass(frozen=True)
class EvaluationOptions:
    """How `evaluate` works through its inputs, whatever they are."""

    batch: Count | None = None
    """inputs per batch; None: as fits the device (`pass_size`)"""
    examples: Annotated[int, Range(0, 10**6)] = 8
    """images kept per row, for pictures"""
    progress: Callable[[int, int, str], object] = lambda done, total, what: None
    """called with the number of images attacked, of those of all rows, and a description of the attack"""
    store: Store | None = None
    """where the results of each attack on each model are kept; those that it has already are not measured again"""
    save: Callable[[Row, Tensor, Tensor], object] | None = None
    """called with each row, the adversarial examples (N, ...) rounded to 8 bits, and their predicted classes (N,)"""

    def __post_init__(self) -> None:
        check_options(self)


def evaluate(
    models: Mapping[str, Model],
    attacks: Mapping[str, Attack],
    x: Tensor | Images | Folder,
    y: Tensor | None = None,
    *,
    eps: Sequence[float] | None = None,
    sources: Mapping[str, str] | None = None,
    data: Images | None = None,
    targets: Tensor | None = None,
    options: EvaluationOptions = EvaluationOptions(),
) -> Evaluation:
    """Run every attack, at every eps if given, on every model.

    models, attacks: by name. x (N, ...) in [0, 1] and y (N,) int64, on the device of the models; or a data set as x,
    which is read batch by batch, so that it may be larger than the memory (y None: its labels); all of its files must
    be readable. eps: radii, in pixels; None: those of the attacks. sources: name of a model -> name of its source
    model, on which its adversarial examples are crafted (transfer, or an oblivious attack on a defence); by default the
    model itself. data: training images of attacks that must be trained (universal perturbations, patches, surrogates),
    disjoint from x; passes during training are counted apart.

    targets (N,) int64: target classes, for attacks that are targeted; without, all must be untargeted. An attack then
    succeeds if the target is predicted; images of their target class are left out.

    If a model has a true attribute `has_alarm_class`, its last class is the alarm of a detector: predicting it is an
    error on clean inputs, and never a success of an attack.

    Raises ValueError, before any attack is run, for invalid x, y, names or models that cannot be evaluated. An error
    raised by an attack becomes the `error` of its row.
    """
    inputs = _Inputs(x, y, targets, options.batch)
    sources = _checked(sources or {}, models)
    plan = _plan(attacks, eps, trainable=data is not None, targeted=targets is not None)
    if (n := len(inputs.y)) == 0:
        raise ValueError("evaluate needs at least one input, got none.")
    found, done, total = Evaluation(targeted=targets is not None), 0, len(models) * len(plan) * n
    with torch.inference_mode(False):
        inspections = {name: inspect(name, model, inputs.labelled) for name, model in models.items()}
        targeted = {
            name: _Target(name, sources.get(name, name), model, inputs, inspections[name].predictions == inputs.y)
            for name, model in models.items()
        }
        for label, attack in plan:
            todo: list[_Measurement] = []
            for name, target in targeted.items():
                if cell := options.store.get(name, label, attack) if options.store else None:
                    target.add(label, cell)
                    done += n
                else:
                    todo.append(_Measurement(target, label, attack, options))
            if not todo:
                continue
            what = f"{label} on {', '.join(each.target.name for each in todo[:3])}{', ...' if len(todo) > 3 else ''}"
            options.progress(done, total, what)
            sourced = dict.fromkeys(each.target.source for each in todo)
            shelf = options.store.shelf if options.store else lambda *_: None
            crafters = {m: Crafter(label, attack, models[m], data, shelf(m, label, attack)) for m in sourced}
            for part in inputs.parts():
                made = {name: crafter(part.x, part.goal) for name, crafter in crafters.items()}
                for each in todo:
                    each.add(part, made[each.target.source], crafters[each.target.source].distance)
                done += len(todo) * len(part.x)
                options.progress(done, total, what)
            for each in todo:
                cell = each.cell(crafters[each.target.source])
                each.target.add(label, cell)
                if options.store:
                    options.store.add(each.target.name, label, attack, cell)
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


@dataclass(frozen=True)
class _Part:
    """A batch: images x (n, ...), labels y and the classes that attacks are given, goal, of the rows `at`."""

    at: slice
    x: Tensor
    y: Tensor
    goal: Tensor


class _Inputs:
    """The images that are evaluated, in batches; y (N,): their labels; targets (N,), if attacks are targeted."""

    def __init__(
        self, x: Tensor | Images | Folder, y: Tensor | None, targets: Tensor | None, batch: int | None
    ) -> None:
        shape, device = (x.shape[1:], x.device) if isinstance(x, Tensor) else (x.shape, x.device)
        self.size = batch or pass_size(shape, device)
        if y is None:
            if isinstance(x, Tensor):
                raise ValueError("evaluate needs the labels y of the images x.")
            y = x.labels.to(device)
        if isinstance(x, Tensor):
            for labels in (y,) if targets is None else (y, targets):
                check(x, labels)
            x = x.clone() if x.is_inference() else x.detach()
        self.x, self.y = x, y.clone() if y.is_inference() else y.detach()
        self.targets = targets
        wanted = {len(x), len(self.y)} | (set() if targets is None else {len(targets)})
        if len(wanted) > 1:
            raise ValueError(f"x, y and targets must have one row per image, got {sorted(wanted)} rows.")

    def parts(self) -> Iterator[_Part]:
        """All batches in order."""
        goal = self.y if self.targets is None else self.targets
        images = self.x.split(self.size) if isinstance(self.x, Tensor) else self._read(self.x)
        for i, x in enumerate(images):
            at = slice(i * self.size, i * self.size + len(x))
            yield _Part(at, x, self.y[at], goal[at])

    def _read(self, images: Images | Folder) -> Iterator[Tensor]:
        for index in torch.arange(len(images)).split(self.size):
            x, _ = images.readable(index) if isinstance(images, Folder) else images.gather(index.to(images.device))
            if len(x) < len(index):
                raise ValueError(f"evaluate: {len(index) - len(x)} images of {images.name} cannot be read: remove them")
            yield to_float(x) if x.dtype == torch.uint8 else x

    def labelled(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((part.x, part.y) for part in self.parts())


class _Target:
    """One model and the results of all attacks on it; correct (N,) bool: whether an image is classified correctly.

    attacked (N,) bool: the images that count, which are classified correctly and not of their target class.
    """

    def __init__(self, name: str, source: str, model: Model, inputs: _Inputs, correct: Tensor) -> None:
        self.name, self.source, self.model, self.correct = name, source, model, correct
        self.y, self.targets = inputs.y, inputs.targets
        self.attacked = correct if self.targets is None else correct & (self.targets != self.y)
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

    def logits(self, x: Tensor, y: Tensor) -> Tensor:
        """Logits of x (n, ...) in eval mode."""
        with victim(Counter(self.model), x, y) as f:
            return f.query(x)

    def outcome(self, logits: Tensor, at: slice) -> Outcome:
        """Of the adversarial examples of the rows `at`, from their logits."""
        prediction = predicted_classes(logits)
        nan = prediction == NO_PREDICTION
        goal = prediction != self.y[at] if self.targets is None else prediction == self.targets[at]
        fooled = self.attacked[at] & ~nan & goal
        if getattr(self.model, "has_alarm_class", False):
            fooled &= prediction != logits.shape[1] - 1
        return Outcome(prediction, fooled, nan)

    def robust(self, fooled: Tensor, nan: Tensor) -> float:
        return int((self.correct & ~fooled & ~nan).sum()) / len(self.y)

    def worst_case(self) -> list[WorstCase]:
        """Per ball, over the attacks without error."""
        cases = []
        for (norm, radius), each in self.found.items():
            fooled, nan = (
                torch.stack([getattr(outcome, what) for outcome in each.values()]).any(0) for what in ("fooled", "nan")
            )
            rate, robust = Rate(int(fooled.sum()), self.n_attacked), self.robust(fooled, nan)
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


class _Measurement:
    """An attack on one model, measured batch after batch: of the images only the examples are kept, and with `save`
    the adversarial ones in 8 bits."""

    def __init__(self, target: _Target, label: str, attack: Attack, options: EvaluationOptions) -> None:
        self.target, self.label, self.attack, self.options = target, label, attack, options
        self.outcomes, self.sizes, self.error = list[Outcome](), list[tuple[Tensor, Tensor, Tensor]](), ""
        self.norm, self.distances = minimised(attack), list[Tensor]()
        self.order: Tensor | None = None
        self.shown: list[Tensor] = []
        self.rounded: list[Tensor] = []
        self.after: list[Outcome] = []  # after rounding

    def add(self, part: _Part, adv: Tensor | None, noted: Tensor | None = None) -> None:
        """Classify the adversarial examples of a batch; None: the attack has failed. noted (n,): d* on its source."""
        if adv is None or self.error:
            return
        try:
            logits = self.target.logits(adv, part.y)
            if self.options.save:
                whole = adv.mul(255).round()
                after = self.target.logits(whole.div(255), part.y)
        except Exception as error:
            self.error = one_line(error)
            return
        outcome, d, l2 = self.target.outcome(logits, part.at), difference(adv, part.x), L2(0).size
        relative = l2(d) / l2(part.x.to(d.dtype)).clamp_min(1e-12)
        self.outcomes.append(outcome)
        self.sizes.append((Linf(0).size(d), l2(d), relative))
        if self.norm:
            least = torch.where(outcome.fooled, size(d, self.norm), torch.inf)
            if noted is not None and self.target.source == self.target.name:
                least = least.minimum(noted)
            self.distances.append(least)
        self._show(part, adv, outcome, logits.float().softmax(1).amax(1))
        if self.options.save:
            self.rounded.append(whole.byte())
            self.after.append(self.target.outcome(after, part.at))

    def _show(self, part: _Part, adv: Tensor, outcome: Outcome, probability: Tensor) -> None:
        """Keep the examples to be shown: fooled first, images misclassified before the attack last."""
        attacked = self.target.attacked[part.at]
        order = outcome.fooled.int() + attacked
        new = [part.x, adv, part.y, outcome.prediction, probability, attacked]
        if self.order is not None:
            order = torch.cat([self.order, order])
            new = [torch.cat(pair) for pair in zip(self.shown, new, strict=True)]
        pick = torch.argsort(order, descending=True, stable=True)[: self.options.examples]
        self.order, self.shown = order[pick], [t[pick] for t in new]

    def cell(self, crafter: Crafter) -> Cell:
        """The result, once all batches were added."""
        row, target = self._unmeasured(), self.target
        if error := crafter.error or self.error:
            return Cell(replace(row, error=error))
        outcome = _joined(self.outcomes)
        linf, l2, relative = (torch.cat(each) for each in zip(*self.sizes, strict=True))
        # an attack without a ball returns the original where it fails
        moved = outcome.fooled if row.norm is None else target.attacked
        n, passes = crafter.n, crafter.passes
        row = replace(
            row,
            success=Rate(int(outcome.fooled.sum()), target.n_attacked),
            robust_accuracy=target.robust(outcome.fooled, outcome.nan),
            linf=Sizes.of(linf[moved]),
            l2=Sizes.of(l2[moved]),
            relative=Sizes.of(relative[moved]),
            minimised=self.norm,
            distances=self._smallest(),
            forwards=crafter.counter.forwards / n,
            backwards=crafter.counter.backwards / n,
            seconds=crafter.progress.seconds,
            nan=int(outcome.nan.sum()),
            nan_logits=passes.nan_logits / max(1, passes.forwards),
            nonfinite_gradients=passes.nonfinite_gradients / max(1, passes.backwards),
            learning_forwards=crafter.learning.forwards,
            learning_backwards=crafter.learning.backwards,
        )
        if self.options.save:
            after = _joined(self.after)
            row = replace(row, rounded=Rate(int(after.fooled.sum()), target.n_attacked))
            self.options.save(row, torch.cat(self.rounded).float().div(255), after.prediction)
        example = Example(target.name, self.label, row.eps, *(t.detach().cpu() for t in self.shown))
        return Cell(row, outcome, example, passes)

    def _smallest(self) -> tuple[float, ...]:
        """The finite d* of the attacked images, in ascending order."""
        if not self.norm:
            return ()
        least = torch.cat(self.distances)[self.target.attacked]
        return tuple(least[least.isfinite()].sort().values.tolist())

    def _unmeasured(self) -> Row:
        """The row without measurements."""
        ball, none, target, n = ball_of(self.attack), Sizes(None, None, None), self.target, len(self.target.y)
        return Row(
            model=target.name,
            source=target.source,
            attack=self.label,
            config=repr(self.attack),
            norm=None if ball is None else ball.name,
            eps=None if ball is None else ball.eps,
            n=n,
            success=Rate(0, 0),
            clean_accuracy=int(target.correct.sum()) / n,
            robust_accuracy=None,
            linf=none,
            l2=none,
            relative=none,
            forwards=0,
            backwards=0,
            seconds=0,
            steps=getattr(self.attack, "steps", None),
        )


def _joined(parts: list[Outcome]) -> Outcome:
    return Outcome(*(torch.cat([getattr(part, name) for part in parts]) for name in ("prediction", "fooled", "nan")))


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
