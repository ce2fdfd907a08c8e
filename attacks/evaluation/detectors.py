"""Comparison of detectors on several kinds of images: areas under the ROC curve, costs, and attacks on each detector.

Images are split into halves: thresholds are chosen on the first half, and results measured on the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Self

import torch
from torch import Tensor, nn

from attacks.core.goal import is_adversarial, predicted_classes
from attacks.core.model import Attack
from attacks.defences.detection import Detector, GuardedClassifier, undetected
from attacks.detector_aware import DetectorAware
from attacks.evaluation.roc import Costs, auc, roc
from genlab.core.modes import evaluating
from genlab.core.text import listed
from genlab.reporting.plots import bars, curves
from genlab.reporting.report import Report

Halves = tuple[Tensor, Tensor]
Rows = list[dict[str, Any]]  # the first column names a detector


def halves(x: Tensor) -> Halves:
    """x (N, ...) -> its first and second half."""
    return x[: len(x) // 2], x[len(x) // 2 :]


def successful_examples(model: nn.Module, attacks: Mapping[str, Attack], x: Tensor, y: Tensor) -> dict[str, Halves]:
    """attack -> its successful adversarial examples of x, in halves."""

    def fooling(attacked: Tensor) -> Halves:
        with evaluating(model), torch.no_grad():
            wrong = (predicted_classes(model(x)) == y) & is_adversarial(model(attacked), y)
        (first, second), (a, b) = halves(attacked), halves(wrong)
        return first[a], second[b]

    return {name: fooling(attack(model, x, y)) for name, attack in attacks.items()}


@dataclass(frozen=True)
class Comparison:
    """Scores in halves. clean: detector -> scores of clean images; suspects: kind of image -> detector -> scores."""

    clean: dict[str, Halves]
    suspects: dict[str, dict[str, Halves]]

    @classmethod
    def of(cls, scores: Mapping[str, nn.Module], clean: Halves, suspects: Mapping[str, Halves]) -> Self:
        """scores: detector -> score function, x -> (N,); clean and suspects: images (N, C, H, W) in halves."""

        def each(images: Halves) -> dict[str, Halves]:
            return {n: (Detector(s).scores(images[0]), Detector(s).scores(images[1])) for n, s in scores.items()}

        return cls(each(clean), {kind: each(images) for kind, images in suspects.items()})

    def areas(self) -> Rows:
        """Area under the ROC curve on the second half: a row per detector, a column per kind of image."""
        kinds = self.suspects.items()
        return [
            {"detector": name, **{kind: auc(clean[1], found[name][1]) for kind, found in kinds}}
            for name, clean in self.clean.items()
        ]

    def costs(self, rules: Mapping[str, Costs], kind: str) -> Rows:
        """Mean cost per image on the second half, at the threshold of lowest cost on the first half."""
        rows = [{"detector": "none", **{name: rule.without_detector for name, rule in rules.items()}}]
        for name, clean in self.clean.items():
            first, second = zip(clean, self.suspects[kind][name], strict=True)
            rows.append(
                {"detector": name} | {n: rule.measure(*second, rule.cheapest(*first)) for n, rule in rules.items()}
            )
        return rows

    def results(self, rules: Mapping[str, Costs], kinds: Iterable[str]) -> dict[str, Any]:
        """{"areas": areas, "costs": {kind: costs}}."""
        return {"areas": self.areas(), "costs": {kind: self.costs(rules, kind) for kind in kinds}}

    def curves(self, kind: str) -> bytes:
        """PNG of the ROC curves of all detectors for one kind of image."""
        found = {name: roc(clean[1], self.suspects[kind][name][1]) for name, clean in self.clean.items()}
        lines = {
            name: (curve.false_positive_rate.tolist(), curve.true_positive_rate.tolist())
            for name, curve in found.items()
        }
        return curves(lines, x="false-positive rate", y="true-positive rate", title=kind)


def evasion(
    model: nn.Module, scores: Mapping[str, nn.Module], attack: Attack, x: Tensor, y: Tensor, fpr: float
) -> Rows:
    """Undetected success rates of `attack`, oblivious and adaptive, for each detector.

    Thresholds are chosen on the first half of x for the false-positive rate fpr; the second half is attacked.
    """
    (known, x), (_, y) = halves(x), halves(y)
    oblivious, rows = attack(model, x, y), []
    for name, score in scores.items():
        detector = Detector(score).calibrate(known, fpr)
        alarms = (detector.scores(x) > detector.threshold).double().mean().item()
        rates = undetected_rates(GuardedClassifier(model, detector), attack, oblivious, x, y)
        rows.append({"detector": name, "false-positive rate": alarms, **rates})
    return rows


def undetected_rates(
    guarded: GuardedClassifier, attack: Attack, made: Tensor, x: Tensor, y: Tensor
) -> dict[str, float | None]:
    """clean: share of x classified correctly without alarm. oblivious, adaptive: of these, the share misclassified
    without alarm as the images `made`, or under the detector-aware `attack`; None if clean is 0."""
    adaptive, oblivious = (undetected(guarded, x, a, y) for a in (DetectorAware(attack)(guarded, x, y), made))
    return {"clean": adaptive.correct / len(x), "oblivious": oblivious.value, "adaptive": adaptive.value}


def report(title: str, found: Comparison, results: Mapping[str, Any]) -> Report:
    """A report page; results: those of `found.results`, and "evasion"."""
    page = Report(title)
    _table(page, "Areas under the curve", "1: perfect detection; 0.5: chance.", results["areas"])
    for kind in found.suspects:
        page.picture(found.curves(kind))
    for kind, rows in results["costs"].items():
        _table(
            page, f"Costs: {kind}", "Mean cost per image. none: the better of never and always raising an alarm.", rows
        )
    text = "Share of the images classified correctly without alarm that an attack turns wrong without alarm."
    _table(page, "Oblivious and adaptive attacks", text, results["evasion"])
    areas = {row["detector"]: [value for name, value in row.items() if name != "detector"] for row in results["areas"]}
    means = listed({name: fmean(values) for name, values in areas.items()}, ".2f")
    text = f"Mean area under the ROC curve, attacked and foreign images against held-out ones: {means}."
    return page.opening(text, bars(areas, x="areas under the curve, of every kind of images, and their mean"))


def _table(page: Report, title: str, text: str, rows: Rows) -> None:
    page.section(title, text).table(list(rows[0]), [list(row.values()) for row in rows])
