"""Sections of a report page for an `Evaluation`: success curves, table, warnings, verdicts and example images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import genlab.reporting.report
from attacks.core.goal import predicted_classes
from attacks.core.model import Model
from attacks.evaluation.distances import robustness_curve
from attacks.evaluation.evaluate import EvaluationOptions
from attacks.evaluation.results import NORMS, eps_text
from attacks.evaluation.verdict import ADAPTIVE, HEAD, table, verdicts
from genlab.reporting.labelled import changes, labelled_grid_png
from genlab.reporting.plots import Band, curves
from genlab.training.progress import Progress

if TYPE_CHECKING:
    from attacks.evaluation.results import Evaluation, Example

CAPTIONS = "Under an image its class, and after an arrow the predicted one, if another."  # of `predictions_picture`


@contextmanager
def progress() -> Iterator[EvaluationOptions]:
    """Options of `evaluate` that show a progress bar, or log lines where the output is no terminal."""
    with Progress("attacking", 1) as bar:
        yield EvaluationOptions(progress=lambda done, total, what: bar.log(done, what, total))


def add_evaluation(
    page: genlab.reporting.report.Report, found: Evaluation, classes: Sequence[str] = ()
) -> genlab.reporting.report.Report:
    """Appends the sections of `found` to `page`, and returns it. classes: names for the pictures; none: numbers."""
    first = found.rows[0]
    page.facts(model=first.model, images=first.n, clean_accuracy=f"{100 * first.clean_accuracy:.1f} %")
    fooled = "classified as their targets" if found.targeted else "fooled"
    page.section("Attack success", f"Share of {found.counted} that are {fooled}, with 95 % confidence intervals.")
    for model, lines in success_curves(found).items():
        if any(len(x) > 1 for x, *_ in lines.values()):
            page.picture(
                curves(lines, x="eps (pixels in [0, 1])", y="success rate", title=model, limits=(-0.02, 1.02)), ""
            )
    for (model, norm), each in robustness_curves(found).items():
        title = model if len(each) > 1 else f"{next(iter(each))} on {model}"  # a single line has no legend
        page.picture(curves(each, x=f"eps ({norm})", y="robust accuracy", title=title, limits=(-0.02, 1.02)), "")
    head, *rows = found.cells()
    page.table(head, rows, terminal=found.table()).warnings(found.warnings)
    if judged := verdicts(found):
        page.section(
            "Defences", "Worst-case success rate over the attacks of a ball, %, of oblivious and adaptive attacks."
        )
        page.table(HEAD, [verdict.cells for verdict in judged], terminal=table(judged))
    page.section("Examples", "Under each image its class: the true one, and the predicted one with its probability.")
    for example in shown(found):
        page.picture(attack_picture(example, classes), "")
    return page


def shown(found: Evaluation) -> list[Example]:
    """The examples of each attack on the first model, at the middle one of the eps."""
    sizes = sorted({example.eps for example in found.examples if example.eps is not None})
    middle = sizes[len(sizes) // 2] if sizes else None
    return [e for e in found.examples if e.model == found.rows[0].model and e.eps in (None, middle)]


def least_robust(found: Evaluation) -> dict[str, float]:
    """model or defence -> its robust accuracy under the strongest of the attacks that were made for it."""
    least: dict[str, float] = {}
    for row in found.rows:
        if row.source == row.model and row.robust_accuracy is not None:
            name = row.model.removesuffix(ADAPTIVE.format(""))
            least[name] = min(least.get(name, 1.0), row.robust_accuracy)
    return least


def success_curves(found: Evaluation) -> dict[str, dict[str, Band]]:
    """model -> attack -> (eps, success rate, interval low, high), for attacks with an eps."""
    curves: dict[str, dict[str, tuple[list[float], ...]]] = {}
    for row in sorted(found.rows, key=lambda r: r.eps or 0):
        if row.eps is not None and row.success.value is not None:
            line = curves.setdefault(row.model, {}).setdefault(row.attack, ([], [], [], []))
            for values, value in zip(line, (row.eps, row.success.value, *row.success.interval), strict=True):
                values.append(value)
    return curves  # type: ignore[return-value]


def robustness_curves(found: Evaluation) -> dict[tuple[str, str], dict[str, tuple[list[float], list[float]]]]:
    """(model, norm) -> attack that minimises it -> (eps, share of all images that are right and not fooled within it),
    up to the largest distance that any of them found."""
    rows = [row for row in found.rows if row.minimised and row.distances]
    lines: dict[tuple[str, str], dict[str, tuple[list[float], list[float]]]] = {}
    for row in rows:
        group = [other for other in rows if (other.model, other.minimised) == (row.model, row.minimised)]
        eps, counted = max(other.distances[-1] for other in group), row.success.correct / row.n
        xs, ys = robustness_curve(torch.tensor(row.smallest, dtype=torch.float64), eps)
        key = row.model, NORMS[str(row.minimised)]
        lines.setdefault(key, {})[row.attack] = xs, [counted * y for y in ys]
    return lines


def attack_picture(example: Example, classes: Sequence[str] = ()) -> bytes:
    """A PNG with three rows: originals with their classes; adversarial examples with "true → predicted" (of long names
    the predicted one alone) and its probability, or "not counted" where success does not count (see
    `Evaluation.counted`); and the differences around grey, scaled to the largest of all."""
    difference = example.adversarial - example.x
    largest = max(float(difference.abs().max()), 1e-9)

    def name(label: int) -> str:
        return "?" if label < 0 else classes[label] if label < len(classes) else str(label)

    def change(true: str, said: str) -> str:
        return said if said == true else f"{true} → {said}" if len(true + said) <= 6 else f"→ {said}"

    true, predicted = example.y.tolist(), example.prediction.tolist()
    changes = [change(name(a), name(b)) for a, b in zip(true, predicted)]
    found = [f"{what}\n({p:.2f})" for what, p in zip(changes, example.probability.tolist())]
    found = [text if attacked else "not\ncounted" for text, attacked in zip(found, example.attacked.tolist())]
    images = torch.cat([example.x, example.adversarial, 0.5 + difference / (2 * largest)])
    attack = example.attack if example.eps is None else f"{example.attack}, eps {eps_text(example.eps)}"
    rows = ["original", attack, f"difference, ± {largest:.2g}"]
    return labelled_grid_png(images, len(example.x), rows=rows, captions=[*map(name, true), *found])


@torch.no_grad()
def predictions_picture(rows: Mapping[str, Tensor], model: Model, labels: Tensor, classes: Sequence[str]) -> bytes:
    """A PNG with labelled rows of images (N, C, H, W) of the same labels (N,), and under each image what `model` takes
    it for: "true → predicted", or its class."""
    images = torch.cat(list(rows.values())).clamp(0, 1)
    captions = changes(labels.repeat(len(rows)), predicted_classes(model(images)), classes)
    return labelled_grid_png(images, len(labels), rows=tuple(rows), captions=captions)
