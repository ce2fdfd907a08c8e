"""One perturbation for all images: ways to learn it, how far it carries, and noise of the same size.

python recipes/universal.py                                    # scikit-learn's digits, minutes on one core
python recipes/universal.py --data mnist --data-root DIR --nets lenet-5 cnn mlp --classifier-images 200000
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch

import genlab
from attacks import (
    Linf,
    RandomNoise,
    Universal,
    UniversalCount,
    UniversalGenerator,
    UniversalGradient,
    UniversalTargeted,
)
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import add_evaluation
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Length, NonEmpty, Range, Seed
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig, NetName
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """Success of universal perturbations on held-out images."""

    data: genlab.DataOptions = field(default_factory=genlab.DataOptions)
    nets: NonEmpty[NetName] = ("cnn", "resnet", "mlp")
    """classifiers; the first is attacked in every way, the others for the transfer"""
    classifier_images: Length = 20_000
    """length of each classifier's training"""
    length: Length = 10_000
    """length of each perturbation's training"""
    eps: NonEmpty[Annotated[float, Range(0, 1, above=True)]] = (0.1, 0.2, 0.3)
    """sizes in pixels of [0, 1]; transfer and pictures are at the last"""
    known: tuple[Count, ...] = (10, 100, 1000)
    """how many images the attacker has"""
    out: Path = Path("runs/universal")
    seed: Seed = 0


def main(config: Config) -> None:
    training = genlab.TrainOptions(config.classifier_images, seed=config.seed, schedule="cosine")
    kinds = {net: genlab.Experiment(ClassifierConfig(net=net), config.data, **vars(training)) for net in config.nets}
    check_all(kinds.values())
    top, options = Linf(config.eps[-1]), {"images": config.length, "seed": config.seed}
    forms: dict[str, Any] = {
        "algorithm 1": Universal(top, images=min(500, config.length), epochs=2, seed=config.seed),
        "gradient": UniversalGradient(top, **options),
        "gradient, at one class": UniversalTargeted(top, **options),
        "then at the number fooled": UniversalCount(top, **options),
        "generator": UniversalGenerator(top, **options),
        "generator, per image": UniversalGenerator(top, **options, per_image=True),
    }
    models: dict[str, Any] = {net: kind.run(config.out / net, pictures=1) for net, kind in kinds.items()}
    first = {config.nets[0]: models[config.nets[0]]}
    train, test = config.data.load("train"), config.data.load("test").subset(slice(0, 500))
    x, y = test.x, test.labels
    found = evaluate(first, forms, x, y, eps=config.eps, data=train)
    few = {n: forms["gradient"].prepare(first[config.nets[0]], train.subset(slice(0, n))) for n in config.known}
    known = [[n, evaluate(first, {"u": a}, x, y).rows[0].success.value] for n, a in few.items()]
    fixed = {source: forms["then at the number fooled"].prepare(model, train) for source, model in models.items()}
    rates = evaluate(models, {**fixed, "noise": RandomNoise(top)}, x, y).rows
    transfer = [[name, *(r.success.value for r in rates if r.attack == name)] for name in [*fixed, "noise"]]
    page = add_evaluation(genlab.Report(f"Universal perturbations on {config.data.data}"), found)
    page.section("Images the attacker knows").table(["images", "success"], known)
    page.section(f"Transfer at eps {top.eps}").table(["learnt on", *models], transfer)
    for name, ready in fixed.items():
        shown = torch.cat([0.5 + ready.delta[None] / (2 * top.eps), (x[:7] + ready.delta).clamp(0, 1)])
        page.picture(grid_png(shown, 8), f"learnt on {name}: the perturbation, and images with it")
    print(found, *known, *transfer, sep="\n")
    results = json.dumps({**found.to_json(), "known": known, "transfer": transfer}, indent=1)
    write_atomically(config.out / "results.json", results.encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
