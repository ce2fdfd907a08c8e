"""Results of `evaluate`: success rates with intervals, perturbation norms and costs, as text, table and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from torch import Tensor

from attacks.core.rate import Rate

if TYPE_CHECKING:
    from rich.table import Table

WORST = "worst case"
NORMS = {"l0": "L0", "l1": "L1", "l2": "L2", "linf": "L∞"}


@dataclass(frozen=True)
class Sizes:
    """Norms of the perturbations of correctly classified inputs (without a ball: of fooled ones); None if none."""

    mean: float | None
    median: float | None
    max: float | None

    @classmethod
    def of(cls, sizes: Tensor) -> Sizes:
        if len(sizes) == 0:
            return cls(None, None, None)
        return cls(sizes.mean().item(), sizes.quantile(0.5).item(), sizes.max().item())


@dataclass(frozen=True)
class Row:
    """One attack on one model at one eps, crafted on the source model `source`: the model itself or another (transfer).

    linf, l2: norms of the perturbations. relative: L2 norm relative to that of the input (rho of the DeepFool paper).
    forwards, backwards: passes through the source model per input; learning_forwards, learning_backwards: all passes of
    an attack's training. nan: number of adversarial examples with NaN logits, which are neither fooled nor robust.
    nan_logits, nonfinite_gradients: shares of the forward passes, training included, whose logits were NaN, and of the
    backward passes whose gradient was NaN or infinite; if one is high, robustness is overestimated. rounded: success
    rate after rounding to 8 bits, if images are saved. minimised: the norm that an attack without ball makes small.
    distances: in that norm, the smallest of adversarial examples that the model was shown, of the images counted in
    `success`, in ascending order; without the images never fooled. error: message of an attack that failed; then only
    clean_accuracy is measured.
    """

    model: str
    source: str
    attack: str
    config: str
    norm: str | None
    eps: float | None
    n: int
    success: Rate
    clean_accuracy: float
    robust_accuracy: float | None
    linf: Sizes
    l2: Sizes
    relative: Sizes
    forwards: float
    backwards: float
    seconds: float
    steps: int | None = None
    nan: int = 0
    nan_logits: float = 0.0
    nonfinite_gradients: float = 0.0
    rounded: Rate | None = None
    minimised: str | None = None
    distances: tuple[float, ...] = ()
    error: str = ""
    learning_forwards: int = 0
    learning_backwards: int = 0

    @property
    def smallest(self) -> list[float]:
        """`distances`, and infinity for every image that was never fooled."""
        return [*self.distances, *[math.inf] * (self.success.correct - len(self.distances))]


@dataclass(frozen=True)
class WorstCase:
    """Worst case per input: an input counts as fooled if any of `attacks` fools it.

    nan: inputs whose logits are NaN under some attack. nan_logits: the largest of the rows of the attacks. attacks:
    without those that failed with an error.
    """

    model: str
    source: str
    norm: str | None
    eps: float | None
    attacks: tuple[str, ...]
    success: Rate
    robust_accuracy: float
    nan: int = 0
    nan_logits: float = 0.0


@dataclass(frozen=True)
class Example:
    """A few inputs (n, ...) for pictures, on the CPU: fooled ones first, those misclassified before the attack last.

    attacked (n,) bool: False where it was misclassified before, or is of its target class. prediction (n,): of the
    adversarial examples, -1 where a logit is NaN. probability (n,): of that class, by the softmax of the logits.
    """

    model: str
    attack: str
    eps: float | None
    x: Tensor
    adversarial: Tensor
    y: Tensor
    prediction: Tensor
    probability: Tensor
    attacked: Tensor


@dataclass
class Evaluation:
    """The result of `evaluate`: `print(evaluation)` shows a table, `to_json()` is plain data."""

    rows: list[Row] = field(default_factory=list)
    worst_case: list[WorstCase] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    targeted: bool = False

    @property
    def counted(self) -> str:
        """The images that success rates are shares of, in words."""
        others = ", without those of their target class" if self.targeted else ""
        return f"the correctly classified images{others}"

    def to_json(self) -> dict[str, Any]:
        def plain(entry: Row | WorstCase) -> dict[str, Any]:
            rate = entry.success
            success = {**asdict(rate), "value": rate.value, "interval": list(rate.interval)}
            return {**asdict(entry), "success": success}

        return {
            "rows": [plain(row) for row in self.rows],
            "worst_case": [{**plain(worst), "attacks": list(worst.attacks)} for worst in self.worst_case],
            "warnings": self.warnings,
        }

    def cells(self) -> Iterator[list[str]]:
        """The table as strings: the header, then the rows; without passes that no attack needs."""
        passes = [("forward", "forwards", 1), ("backward", "backwards", 1)]
        passes += [("forward, to learn", "learning_forwards", 0), ("backward, to learn", "learning_backwards", 0)]
        paid = {head: (field, digits) for head, field, digits in passes if any(getattr(r, field) for r in self.rows)}
        yield [
            "model",
            "source model",
            "attack",
            "eps",
            "success (95 %)",
            "robust",
            "L∞ median",
            "L2 median",
            *paid,
            "s",
        ]
        for r in self.rows:
            sizes = ["–" if s.median is None else f"{s.median:.3f}" for s in (r.linf, r.l2)]
            costs = [*(f"{getattr(r, field):,.{digits}f}" for field, digits in paid.values()), f"{r.seconds:.2f}"]
            yield [
                r.model,
                r.source,
                r.attack,
                size_name(r),
                *(
                    (f"failed: {r.error}", *[""] * (4 + len(paid)))
                    if r.error
                    else (_success(r), _robust(r), *sizes, *costs)
                ),
            ]
        for w in self.worst_case:
            yield [w.model, w.source, WORST, size_name(w), _success(w), _robust(w), *[""] * (3 + len(paid))]

    def _repr_html_(self) -> str:  # for notebooks
        from genlab.reporting.report import Report

        head, *rows = self.cells()
        return Report("Attack success").table(head, rows).warnings(self.warnings)._repr_html_()

    def table(self) -> Table:
        """Success rates in percent, ± half the width of the 95 % interval: a row per attack, a column per eps.

        If images were saved, a second row per attack has the rates after rounding to 8 bits; if there are attacks
        without eps, a column has the median size of their perturbations: for those that minimise a norm the smallest
        that the model was shown, infinite for images never fooled; for others of the fooled images.

        Error messages of failed attacks are in `warnings`.
        """
        from rich.box import SIMPLE_HEAD
        from rich.table import Column, Table

        entries: list[Row | WorstCase] = [*self.rows, *self.worst_case]
        sizes = list(dict.fromkeys(size_name(row) for row in self.rows))
        n = self.rows[0].n if self.rows else 0
        title = f"{'targeted ' if self.targeted else ''}attack success rate, % of {self.counted}; n = {n:,}"
        minimal = any(map(_medians, self.rows))
        words = (Column(name, overflow="fold") for name in ("model", "clean", "attack"))
        table = Table(*words, title=title, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
        for size in sizes:
            table.add_column(size.replace(" ", "\n"), justify="right", no_wrap=True)
        if minimal:
            table.add_column("median\nsize", justify="right", no_wrap=True)
        costs = {"passes": ("forwards", "backwards"), "passes\nto learn": ("learning_forwards", "learning_backwards")}
        paid = {head: pair for head, pair in costs.items() if any(getattr(r, f) for r in self.rows for f in pair)}
        for head in paid:
            table.add_column(head, justify="right", overflow="fold")
        for model, accuracy in {row.model: f"{100 * row.clean_accuracy:.1f}" for row in self.rows}.items():
            mine = [entry for entry in entries if entry.model == model]
            table.add_section()
            for n, attack in enumerate(dict.fromkeys(map(_name, mine))):
                found = [entry for entry in mine if _name(entry) == attack]
                rates = {size_name(entry): _percent(entry) for entry in found}
                passes = [
                    f"{getattr(r, forward):.0f}+{getattr(r, backward):.0f}"
                    for r in found[:1]
                    if isinstance(r, Row) and not r.error
                    for forward, backward in paid.values()
                ]
                medians = [_medians(found[0])] if minimal else []
                cells = [attack, *(rates.get(size, "") for size in sizes), *medians, *passes]
                table.add_row(*((model, accuracy) if n == 0 else ("", "")), *cells,
                              style="bold" if attack == WORST else None)  # fmt: skip
                rounded = {size_name(r): r.rounded.percent for r in found if isinstance(r, Row) and r.rounded}
                if rounded:
                    table.add_row("", "", "  8 bits", *(rounded.get(size, "") for size in sizes))
        return table

    def __repr__(self) -> str:
        cells = list(self.cells())
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        return "\n".join([*lines, *(f"warning: {w}" for w in self.warnings)])


def _name(entry: Row | WorstCase) -> str:
    return entry.attack if isinstance(entry, Row) else WORST


def _percent(entry: Row | WorstCase) -> str:
    return "failed" if isinstance(entry, Row) and entry.error else entry.success.percent + _nan_counts(entry)


def _medians(entry: Row | WorstCase) -> str:
    """Median size of the perturbations of an attack without ball."""
    if not isinstance(entry, Row) or entry.norm is not None:
        return ""
    if entry.minimised and entry.success.correct and not entry.error:
        return f"{NORMS[entry.minimised]} {median(entry.smallest):.4g}".replace("inf", "∞")
    if entry.l2.median is None or entry.linf.median is None:
        return ""
    return f"L2 {entry.l2.median:.3g}, L∞ {entry.linf.median:.3g}"


def _success(entry: Row | WorstCase) -> str:
    return str(entry.success) + _nan_counts(entry)


def _robust(entry: Row | WorstCase) -> str:
    return "–" if entry.robust_accuracy is None else f"{entry.robust_accuracy:.3f}"


def _nan_counts(entry: Row | WorstCase) -> str:
    text = f", {entry.nan} NaN" if entry.nan else ""
    if entry.nan_logits:
        text += f", {max(0.01, entry.nan_logits):.0%} of logits NaN".replace("%", " %")
    if isinstance(entry, Row) and entry.nonfinite_gradients:
        text += f", {100 * entry.nonfinite_gradients:.0f} % of gradients NaN"
    return text


def size_name(entry: Row | WorstCase) -> str:
    """Norm and eps as text."""
    return "–" if entry.eps is None else f"{entry.norm} {eps_text(entry.eps)}"


def eps_text(eps: float) -> str:
    """A decimal number if it is short, else a fraction such as 8/255 if it is one."""
    short, levels = f"{eps:g}", round(255 * eps)
    return f"{levels}/255" if float(short) != eps and math.isclose(levels / 255, eps, rel_tol=1e-12) else short
