"""Filters as defences: every filter, attack and eps, by an attacker who knows of the filter and by one who does not.

python recipes/smoothing_defence.py                              # scikit-learn's digits, minutes on one core
python recipes/smoothing_defence.py --data mnist --data-root DIR --eps 0.1 0.15 0.2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

import genlab
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import CAPTIONS, add_evaluation, least_robust, predictions_picture, progress
from attacks.evaluation.results import Evaluation
from attacks.evaluation.verdict import UNDEFENDED, models_and_sources, to_json
from attacks.plugin import attack, defence
from genlab.cli.main import start
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Seed
from genlab.core.text import listed
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.finish import finish

FILTERS = ("mean", "gaussian", "median", "bits", "jpeg", "bilateral", "non-local", "tv", "resize-pad")


@dataclass(frozen=True)
class Config:
    """What filters in front of a classifier are worth."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 100_000
    """length of the classifier's training"""
    filters: NonEmpty[str] = FILTERS
    """names as `genlab list` tells them, with options as in bits:bits=1; median+bits: one after the other"""
    attacks: NonEmpty[str] = ("fgsm", "pgd")
    """names as `genlab list` tells them"""
    eps: NonEmpty[Eps] = (0.05, 0.1, 0.2)
    """L-infinity sizes, in pixels of [0, 1]"""
    attacked: Count = 300
    """held-out images to attack"""
    out: Path = Path("runs/smoothing-defence")
    """folder of the run and the report"""
    seed: Seed = 0
    """of the classifier's training"""


def main(config: Config) -> None:
    for name in config.filters:
        defence(name, nn.Identity())  # what it does not take is said before anything is trained
    attacks = {name: attack(name, max(config.eps)) for name in config.attacks}
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    experiment = genlab.Experiment(ClassifierConfig(), data, images=config.images, seed=config.seed)
    model = experiment.run(config.out / "classifier", pictures=1)
    test = data.load("test").subset(slice(0, config.attacked))
    filters: dict[str, Any] = {name: defence(name, model) for name in config.filters}
    models, sources = models_and_sources(model, filters)
    with progress() as options:
        found = evaluate(models, attacks, test.x, test.labels, eps=config.eps, sources=sources, options=options)
    page = genlab.Report(f"Filters as defences: {config.data}")
    show_filters(page, model, filters, found, test.classes, config)
    finish(config.out, add_evaluation(page, found), to_json(found))


def show_filters(
    page: genlab.Report,
    model: nn.Module,
    filters: dict[str, Any],
    found: Evaluation,
    classes: Sequence[str],
    config: Config,
) -> None:
    """Clean and adversarial images (of the last attack, at the first eps), and each through every filter."""
    page.text(f"Right under the strongest attack that knows the filter: {listed(least_robust(found), '.0%')}.")
    text = "Clean and adversarial images, as they are and through every filter."
    page.section("What the classifier sees", f"{text} {CAPTIONS}")
    wanted = (UNDEFENDED, config.attacks[-1])
    for example in found.examples:
        if (example.model, example.attack) == wanted and example.eps in (None, config.eps[0]):
            for kind, x in {"clean": example.x, "adversarial": example.adversarial}.items():
                seen = {name: defended.filter(x) for name, defended in filters.items()}
                page.picture(predictions_picture({"no filter": x, **seen}, model, example.y, classes), kind)


if __name__ == "__main__":
    start(main, Config)
