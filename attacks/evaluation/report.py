"""Sections of a report page for an `Evaluation`: success curves, table, warnings, verdicts and example images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import genlab.reporting.report
from attacks.evaluation.evaluate import EvaluationOptions
from attacks.evaluation.verdict import HEAD, table, verdicts
from genlab.reporting.grid import grid_png
from genlab.reporting.plots import Band, curves
from genlab.training.progress import Progress

if TYPE_CHECKING:
    from attacks.evaluation.results import Evaluation, Example


@contextmanager
def progress() -> Iterator[EvaluationOptions]:
    """Options of `evaluate` that show a progress bar, or log lines where the output is no terminal."""
    with Progress("attacking", 1, unit="attacks") as bar:
        yield EvaluationOptions(progress=lambda done, total, what: bar.log(done, what, total))


def add_evaluation(page: genlab.reporting.report.Report, found: Evaluation) -> genlab.reporting.report.Report:
    """Appends the sections of `found` to `page`, and returns it."""
    page.section(
        "Attack success", "Share of the correctly classified images that are fooled, with 95 % confidence intervals."
    )
    for model, lines in success_curves(found).items():
        if any(len(x) > 1 for x, *_ in lines.values()):
            page.picture(
                curves(lines, x="eps (pixels in [0, 1])", y="success rate", title=model, limits=(-0.02, 1.02)), ""
            )
    head, *rows = found.cells()
    page.table(head, rows, terminal=found.table()).warnings(found.warnings)
    if judged := verdicts(found):
        page.section(
            "Defences", "Worst-case success rate over the attacks of a ball, %, of oblivious and adaptive attacks."
        )
        page.table(HEAD, [verdict.cells for verdict in judged], terminal=table(judged))
    page.section("Examples", "Rows: original, adversarial, 0.5 + 50 x difference.")
    shown = {(e.model, e.attack): e for e in found.examples if e.eps in (None, _middle(found))}
    for (model, attack), example in shown.items():
        if model == found.rows[0].model:
            page.picture(
                grid_png(triptych(example), columns=len(example.x)),
                attack if example.eps is None else f"{attack}, eps {example.eps:g}",
            )
    return page


def success_curves(found: Evaluation) -> dict[str, dict[str, Band]]:
    """model -> attack -> (eps, success rate, interval low, high), for attacks with an eps."""
    curves: dict[str, dict[str, tuple[list[float], ...]]] = {}
    for row in sorted(found.rows, key=lambda r: r.eps or 0):
        if row.eps is not None and row.success.value is not None:
            line = curves.setdefault(row.model, {}).setdefault(row.attack, ([], [], [], []))
            for values, value in zip(line, (row.eps, row.success.value, *row.success.interval), strict=True):
                values.append(value)
    return curves  # type: ignore[return-value]


def triptych(example: Example) -> Tensor:
    """Images (3 n, C, H, W): n originals, n adversarial examples, and 0.5 + 50 times their difference, clipped."""
    difference = (0.5 + 50 * (example.adversarial - example.x)).clamp(0, 1)
    return torch.cat([example.x, example.adversarial, difference])


def _middle(found: Evaluation) -> float | None:
    sizes = sorted({e.eps for e in found.examples if e.eps is not None})
    return sizes[len(sizes) // 2] if sizes else None
