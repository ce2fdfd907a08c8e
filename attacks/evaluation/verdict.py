"""Verdict on a defence: worst-case success rates of oblivious and adaptive attacks, compared with the undefended model.

A gain against oblivious attacks only is not robustness: Athalye, Carlini, Wagner 2018, arXiv:1802.00420; Tramer et al.
2020, arXiv:2002.08347. `evaluate` warns of gradient masking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from attacks.core.rate import Rate
from attacks.evaluation.results import Evaluation, WorstCase, size_name

if TYPE_CHECKING:
    from rich.table import Table
    from torch import nn

UNDEFENDED, ADAPTIVE = "none", "{}, adaptive"
HEAD = ["defence", "eps", "clean", "undefended", "oblivious", "adaptive", "verdict"]


def models_and_sources(
    model: nn.Module, defended: Mapping[str, nn.Module]
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """(models, sources) for `evaluate`, which attack each defended model obliviously and adaptively.

    models: "none": the undefended model; NAME: the defended model, attacked obliviously (its source model is "none");
    "NAME, adaptive": the defended model, attacked directly, as `defended.adaptive()` if it has that method (which gives
    the same predictions with useful gradients).
    """
    models: dict[str, nn.Module] = {UNDEFENDED: model}
    for name, one in defended.items():
        if one is not model:
            adaptive = one.adaptive() if hasattr(one, "adaptive") else one  # type: ignore[operator]
            models |= {name: one, ADAPTIVE.format(name): adaptive}
    return models, {name: UNDEFENDED for name in defended if name in models and name != UNDEFENDED}


@dataclass(frozen=True)
class Verdict:
    """Worst-case success rates over all attacks of one ball; clean: clean accuracy of the defended model."""

    defence: str
    size: str
    clean: float
    undefended: Rate
    oblivious: Rate
    adaptive: Rate
    complete: bool = True

    @property
    def text(self) -> str:
        """Comparison of 95 % intervals: "helps", "oblivious only", "hurts", "not significant" (intervals overlap), or
        "unknown: an attack failed" or "no clean accuracy"."""
        if not self.complete:
            return "unknown: an attack failed"
        if not self.adaptive.correct or not self.oblivious.correct:
            return "no clean accuracy"
        if self.undefended.exceeds(self.adaptive):
            return "helps"
        if self.undefended.exceeds(self.oblivious):
            return "oblivious only"
        return "hurts" if self.adaptive.exceeds(self.undefended) else "not significant"

    @property
    def cells(self) -> list[str]:
        rates = [rate.percent for rate in (self.undefended, self.oblivious, self.adaptive)]
        return [self.defence, self.size, f"{100 * self.clean:.1f}", *rates, self.text]


def table(rows: list[Verdict]) -> Table:
    """Table for the terminal: success rates in percent, ± half the width of the 95 % interval."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    found = Table(*HEAD, title="defences: worst-case attack success rate, %", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in found.columns[1:-1]:  # only defence and verdict may wrap
        column.no_wrap = True
    found.columns[-1].min_width = len("significant")  # no word of it is cut
    for before, verdict in zip([None, *rows], rows):
        new = before is None or before.defence != verdict.defence
        found.add_row(*verdict.cells if new else ["", *verdict.cells[1:]])
    return found


def verdicts(found: Evaluation) -> list[Verdict]:
    """One per defence and ball for an evaluation with the models and sources of `models_and_sources`."""
    worst = {(w.model, size_name(w)): w for w in found.worst_case}
    clean = {row.model: row.clean_accuracy for row in found.rows}

    def verdict(seen: WorstCase, size: str) -> Verdict:
        before, adaptive = worst[UNDEFENDED, size], worst[ADAPTIVE.format(seen.model), size]
        complete = before.attacks == seen.attacks == adaptive.attacks
        rates = before.success, seen.success, adaptive.success
        return Verdict(seen.model, size, clean[seen.model], *rates, complete)

    named = {size for name, size in worst if name == UNDEFENDED}
    return [verdict(w, s) for (name, s), w in worst.items() if (ADAPTIVE.format(name), s) in worst and s in named]


def to_json(found: Evaluation) -> dict[str, Any]:
    """The evaluation and its verdicts as plain data."""
    return {**found.to_json(), "verdicts": [{**asdict(v), "verdict": v.text} for v in verdicts(found)]}
