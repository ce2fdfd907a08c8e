"""Many detectors on many kinds of suspicious images: areas under the curve, costs, and attacks on each detector.

All images come in two halves: what is chosen (thresholds) is chosen on the first and measured on the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from attacks.core.goal import answers, is_adversarial
from attacks.core.model import Attack
from attacks.defences.detection import Detector, Guarded, undetected
from attacks.defences.roc import Costs, auc, roc
from attacks.detector_aware import DetectorAware
from genlab.core.modes import evaluating
from genlab.reporting.plots import curves
from genlab.reporting.report import Report

Halves = tuple[Tensor, Tensor]
Rows = list[dict[str, Any]]  # the first column names a detector


def halves(x: Tensor) -> Halves:
    """The first half of x, the second."""
    return x[: len(x) // 2], x[len(x) // 2 :]


def successes(model: nn.Module, attacks: Mapping[str, Attack], x: Tensor, y: Tensor) -> dict[str, Halves]:
    """attack -> what it made of x where the model was right before and is wrong then, in halves."""

    def fooling(attacked: Tensor) -> Halves:
        with evaluating(model), torch.no_grad():
            wrong = (answers(model(x)) == y) & is_adversarial(model(attacked), y)
        (first, second), (a, b) = halves(attacked), halves(wrong)
        return first[a], second[b]

    return {name: fooling(attack(model, x, y)) for name, attack in attacks.items()}


@dataclass(frozen=True)
class Comparison:
    """clean: detector -> its scores; suspects: kind of image -> detector -> its scores; all in halves."""

    clean: dict[str, Halves]
    suspects: dict[str, dict[str, Halves]]

    @classmethod
    def of(cls, scores: Mapping[str, nn.Module], clean: Halves, suspects: Mapping[str, Halves]) -> Self:
        """scores: detector -> score, x -> (N,); images (N, C, H, W), in halves."""

        def each(images: Halves) -> dict[str, Halves]:
            return {n: (Detector(s).scores(images[0]), Detector(s).scores(images[1])) for n, s in scores.items()}

        return cls(each(clean), {kind: each(images) for kind, images in suspects.items()})

    def areas(self) -> Rows:
        """The area under the curve, a row per detector and a column per kind."""
        kinds = self.suspects.items()
        return [
            {"detector": name, **{kind: auc(clean[1], found[name][1]) for kind, found in kinds}}
            for name, clean in self.clean.items()
        ]

    def costs(self, rules: Mapping[str, Costs], kind: str) -> Rows:
        """Mean cost of an image where some are of this kind, at the threshold that was cheapest on the first half."""
        rows = [{"detector": "none", **{name: rule.blind for name, rule in rules.items()}}]
        for name, clean in self.clean.items():
            first, second = zip(clean, self.suspects[kind][name], strict=True)
            rows.append(
                {"detector": name} | {n: rule.measure(*second, rule.cheapest(*first)) for n, rule in rules.items()}
            )
        return rows

    def results(self, rules: Mapping[str, Costs], kinds: Iterable[str]) -> dict[str, Any]:
        """areas, and costs for each of these kinds."""
        return {"areas": self.areas(), "costs": {kind: self.costs(rules, kind) for kind in kinds}}

    def curves(self, kind: str) -> bytes:
        """A PNG of every detector's ROC curve for one kind of image."""
        found = {name: roc(clean[1], self.suspects[kind][name][1]) for name, clean in self.clean.items()}
        lines = {name: (curve.false_alarms.tolist(), curve.hits.tolist()) for name, curve in found.items()}
        return curves(lines, x="share of clean images with an alarm", y="share detected", title=kind)


def evasion(
    model: nn.Module, scores: Mapping[str, nn.Module], attack: Attack, x: Tensor, y: Tensor, fpr: float
) -> Rows:
    """How often `attack` passes unseen, not knowing of each detector or knowing it.

    Thresholds come from the first half of x; the second is attacked.
    """
    (known, x), (_, y) = halves(x), halves(y)
    oblivious, rows = attack(model, x, y), []
    for name, score in scores.items():
        detector = Detector(score).calibrate(known, fpr)
        alarms = (detector.scores(x) > detector.threshold).double().mean().item()
        rates = passing(Guarded(model, detector), attack, oblivious, x, y)
        rows.append({"detector": name, "false alarms": alarms, **rates})
    return rows


def passing(guarded: Guarded, attack: Attack, made: Tensor, x: Tensor, y: Tensor) -> dict[str, float | None]:
    """clean: the share right without alarm; of these, how many are wrong without alarm under `attack` on the
    guarded model (adaptive) or, as the images `made`, without knowing of its detectors (oblivious)."""
    adaptive, oblivious = (undetected(guarded, x, a, y) for a in (DetectorAware(attack)(guarded, x, y), made))
    return {"clean": adaptive.correct / len(x), "oblivious": oblivious.value, "adaptive": adaptive.value}


def report(title: str, found: Comparison, results: Mapping[str, Any]) -> Report:
    """A page of all of it; results: those of `found`, and `evasion`."""
    page = Report(title)
    _table(page, "Areas under the curve", "1: told apart without error; 0.5: not at all.", results["areas"])
    for kind in found.suspects:
        page.picture(found.curves(kind))
    for kind, rows in results["costs"].items():
        _table(page, f"Costs: {kind}", "Mean of an image. none: the better of never and always an alarm.", rows)
    text = "Shares of the images that were right without alarm, and are wrong without alarm when attacked."
    _table(page, "Who knows of the detector", text, results["evasion"])
    return page


def _table(page: Report, title: str, text: str, rows: Rows) -> None:
    page.section(title, text).table(list(rows[0]), [list(row.values()) for row in rows])
