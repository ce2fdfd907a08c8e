"""Filters in front of a classifier: every filter, attack and eps, by an attacker who knows of the filter or does not.

python recipes/smoothing_defence.py                              # scikit-learn's digits, minutes on one core
python recipes/smoothing_defence.py --data mnist --data-root DIR --eps 0.1 0.15 0.2
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from torch import nn

import genlab
from attacks.defences import models_and_sources
from attacks.defences.verdict import table, to_json, verdicts
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import add_evaluation, progress
from attacks.plugin import attack, defence
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Seed
from genlab.core.text import Console
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """What filters are worth."""

    data: str = "digits"  # labelled images
    data_root: Path | None = None  # where downloaded sets lie
    images: Length = 100_000  # length of the classifier's training
    filters: tuple[str, ...] = (
        "mean",
        "gaussian",
        "median",
        "bits",
        "jpeg",
        "bilateral",
        "non-local",
        "tv",
        "resize-pad",
    )
    """names as `genlab list` tells them, with options as in bits:bits=1; median+bits: one after the other"""
    attacks: NonEmpty[str] = ("fgsm", "pgd")  # names as `genlab list` tells them
    eps: NonEmpty[Eps] = (0.05, 0.1, 0.2)  # L-infinity sizes, in pixels of [0, 1]
    attacked: Count = 300  # held-out images to attack
    out: Path = Path("runs/smoothing-defence")  # folder of the run and the report
    seed: Seed = 0


def main(config: Config) -> None:
    for name in config.filters:
        defence(name, nn.Identity())  # what it does not take is said before anything is trained
    attacks = {name: attack(name, max(config.eps)) for name in config.attacks}
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    train = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine")
    model = genlab.Experiment(ClassifierConfig(), data, **vars(train)).run(config.out / "classifier", pictures=1)
    test = data.load("test").subset(slice(0, config.attacked))
    models, sources = models_and_sources(model, {name: defence(name, model) for name in config.filters})
    with progress() as tell:
        found = evaluate(models, attacks, test.x, test.labels, eps=config.eps, sources=sources, progress=tell)
    Console().print(table(verdicts(found)))
    page = genlab.Report(f"Filters as defences: {config.data}")
    page.section("What the classifier sees", "An image and an adversarial one, then both through every filter.")
    seen = [example for example in found.examples if example.model == "none"][-2 * len(config.eps)]
    for name, extract_features in (("clean", seen.x), ("adversarial", seen.adversarial)):
        page.picture(grid_png(extract_features, len(extract_features)), name)
        for filter in config.filters:
            page.picture(grid_png(models[filter].filter(extract_features), len(extract_features)), f"{name}, {filter}")
    add_evaluation(page, found)
    write_atomically(config.out / "results.json", json.dumps(to_json(found), indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
