"""What a defence is worth: its worst case against an attacker who does not know of it, beside one who does.

A gain against the first alone is not robustness: Athalye, Carlini, Wagner 2018, arXiv:1802.00420; Tramer et al. 2020,
arXiv:2002.08347. Where it comes from a gradient that is hidden, `evaluate` warns of that.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from attacks.defences import ADAPTIVE, UNDEFENDED
from attacks.evaluation.results import Evaluation, Rate, WorstCase, size_name

if TYPE_CHECKING:
    from rich.table import Table

HEAD = ["defence", "eps", "clean", "undefended", "oblivious", "adaptive", "verdict"]


@dataclass(frozen=True)
class Verdict:
    """Success rates of the worst case over all attacks of one ball; `clean` is the accuracy behind the defence."""

    defence: str
    size: str
    clean: float
    undefended: Rate
    oblivious: Rate
    adaptive: Rate
    complete: bool = True

    @property
    def text(self) -> str:
        """By intervals of 95 % that do not overlap: where they do, no effect is claimed or denied; none at all if an
        attack failed on one of the three."""
        if not self.complete:
            return "unknown: an attack failed"
        if self.undefended.exceeds(self.adaptive):
            return "helps"
        if self.undefended.exceeds(self.oblivious):
            return "only if unknown"
        return "hurts" if self.adaptive.exceeds(self.undefended) else "not significant"

    @property
    def cells(self) -> list[str]:
        rates = [rate.percent for rate in (self.undefended, self.oblivious, self.adaptive)]
        return [self.defence, self.size, f"{100 * self.clean:.1f}", *rates, self.text]


def table(worth: list[Verdict]) -> Table:
    """For the terminal: success rates in percent, with half their 95 % intervals."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    found = Table(
        *HEAD, title="defences: success of the worst case over all attacks, %", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for column in found.columns[:-1]:  # the verdict itself is never cut off
        column.no_wrap = True
    for before, verdict in zip([None, *worth], worth):
        new = before is None or before.defence != verdict.defence
        found.add_row(*verdict.cells if new else ["", *verdict.cells[1:]])
    return found


def verdicts(found: Evaluation) -> list[Verdict]:
    """One per defence and ball of an evaluation whose models and sources are those of `line_up`."""
    worst = {(w.model, size_name(w)): w for w in found.worst_case}
    clean = {row.model: row.clean_accuracy for row in found.rows}

    def verdict(seen: WorstCase, size: str) -> Verdict:
        before, knowing = worst[UNDEFENDED, size], worst[ADAPTIVE.format(seen.model), size]
        complete = before.attacks == seen.attacks == knowing.attacks
        rates = before.success, seen.success, knowing.success
        return Verdict(seen.model, size, clean[seen.model], *rates, complete)

    named = {size for name, size in worst if name == UNDEFENDED}
    return [verdict(w, s) for (name, s), w in worst.items() if (ADAPTIVE.format(name), s) in worst and s in named]


def to_json(found: Evaluation) -> dict[str, Any]:
    """What `found` holds and its verdicts, as plain data."""
    return {**found.to_json(), "verdicts": [{**asdict(v), "verdict": v.text} for v in verdicts(found)]}
