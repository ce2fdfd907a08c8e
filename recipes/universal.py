"""One perturbation for all images: ways to learn it, how far it transfers, and noise of the same size.

python recipes/universal.py                                    # scikit-learn's digits, minutes on one core
python recipes/universal.py --data mnist --data-root DIR --nets lenet-5 cnn mlp --classifier-images 200000
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import nn

import genlab
from attacks import Linf, Universal, UniversalCount, UniversalGenerator, UniversalGradient, UniversalTargeted
from attacks.core.model import Attack
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import CAPTIONS, add_evaluation
from attacks.evaluation.results import Evaluation
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, NonEmpty, Range, Seed
from genlab.data import Images
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig, NetName
from genlab.reporting.finish import finish
from genlab.reporting.labelled import changes, labelled_grid_png

TRANSFERRED = "then at the number fooled"  # the strongest of one perturbation for all images
SHOWN = 8  # images in the picture


@dataclass(frozen=True)
class Config:
    """Success of universal perturbations on held-out images."""

    data: genlab.DataOptions = field(default_factory=genlab.DataOptions)
    """which images"""
    nets: NonEmpty[NetName] = ("cnn", "resnet", "mlp")
    """classifiers; the first is attacked in every way, the others for the transfer"""
    classifier_images: Length = 20_000
    """length of each classifier's training"""
    length: Length = 10_000
    """length of each perturbation's training"""
    eps: NonEmpty[Annotated[float, Range(0, 1, above=True)]] = (0.1, 0.2, 0.3)
    """sizes in pixels of [0, 1]; transfer and pictures are at the last"""
    known: NonEmpty[Count] = (10, 100, 1000)
    """how many images the attacker has"""
    out: Path = Path("runs/universal")
    """folder of the classifiers and the report"""
    seed: Seed = 0
    """of every training"""


def main(config: Config) -> None:
    attacks = ways_to_learn(config)
    models = train_classifiers(config)
    target = models[config.nets[0]]
    train, test = config.data.load("train"), config.data.load("test").subset(slice(0, 500))
    found = evaluate({config.nets[0]: target}, attacks, test.x, test.labels, eps=config.eps, data=train)
    known = by_images_known(attacks["gradient"], target, train, test, config)
    learnt = {net: attacks[TRANSFERRED].prepare(model, train) for net, model in models.items()}
    transfer = transferred(learnt, models, test)

    page = genlab.Report(f"Universal perturbations on {config.data.data}")
    page.section("One perturbation for all images", message(found, config.nets[0]))
    page.picture(pictures(models, learnt, test.subset(slice(0, SHOWN)), config.eps[-1]))
    page.text(f"At eps {config.eps[-1]}. {CAPTIONS}")
    add_evaluation(page, found, test.classes)
    page.section(f"Images the attacker knows, eps {config.eps[-1]}").table(list(known[0]), map(dict.values, known))
    page.section(f"Success of transfer, eps {config.eps[-1]}").table(*matrix(transfer))
    finish(config.out, page, {**found.to_json(), "known": known, "transfer": transfer})


def ways_to_learn(config: Config) -> dict[str, Any]:
    """Attacks at the largest eps, by name."""
    ball = Linf(config.eps[-1])
    training: dict[str, Any] = {"images": config.length, "seed": config.seed}
    return {
        "algorithm 1": Universal(ball, images=min(500, config.length), epochs=2, seed=config.seed),
        "gradient": UniversalGradient(ball, **training),
        "gradient, at one class": UniversalTargeted(ball, **training),
        TRANSFERRED: UniversalCount(ball, **training),
        "generator": UniversalGenerator(ball, **training),
        "generator, per image": UniversalGenerator(ball, **training, per_image=True),
    }


def train_classifiers(config: Config) -> dict[str, nn.Module]:
    training: dict[str, Any] = {"images": config.classifier_images, "seed": config.seed}
    plan = {net: genlab.Experiment(ClassifierConfig(net=net), config.data, **training) for net in config.nets}
    check_all(plan.values())
    return {net: experiment.run(config.out / net, pictures=1) for net, experiment in plan.items()}


def by_images_known(
    attack: Attack, target: nn.Module, train: Images, test: Images, config: Config
) -> list[dict[str, Any]]:
    """The success on `test` of what was learnt from the first images of `train`, by their number."""
    learnt = {n: attack.prepare(target, train.subset(slice(0, n))) for n in config.known}
    rates = {n: evaluate({"target": target}, {"gradient": each}, test.x, test.labels) for n, each in learnt.items()}
    return [{"images": n, "success": found.rows[0].success.value} for n, found in rates.items()]


def transferred(learnt: dict[str, Any], models: dict[str, nn.Module], test: Images) -> list[dict[str, Any]]:
    """The success on every model of the perturbations learnt on each, and of random noise of their size."""
    rows = evaluate(models, learnt, test.x, test.labels).rows
    return [{"learnt on": row.attack, "model": row.model, "success": row.success.value} for row in rows]


def matrix(transfer: list[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Head and rows: a line per source, a column per attacked model."""
    lines: dict[str, dict[str, Any]] = {}
    for row in transfer:
        lines.setdefault(row["learnt on"], {})[row["model"]] = row["success"]
    models = list(dict.fromkeys(row["model"] for row in transfer))
    return ["learnt on", *models], [[source, *(line[model] for model in models)] for source, line in lines.items()]


def message(found: Evaluation, net: str) -> str:
    """What one perturbation and noise of the largest size do, in a sentence."""
    last = {row.attack: row.success.percent for row in found.rows if not row.error}  # the last eps of each attack
    return (
        f"One perturbation, learnt from other images and added to all, fools the {net} on {last[TRANSFERRED]} % of the "
        f"held-out images that it classifies correctly; noise of its size on {last['noise-linf']} %."
    )


@torch.no_grad()
def pictures(models: dict[str, nn.Module], learnt: dict[str, Any], images: Images, eps: float) -> bytes:
    """A row per model: the perturbation learnt on it, around grey and scaled to full contrast, then the images with it
    and, under each, its true class and the one predicted."""
    shown, captions = [], []
    for net, model in models.items():
        delta = learnt[net].delta
        x = (images.x + delta).clamp(0, 1)
        shown += [0.5 + delta[None] / (2 * eps), x]
        captions += ["", *changes(images.labels, model(x).argmax(1), images.classes)]
    heads = ["added", *[""] * len(images)]
    return labelled_grid_png(torch.cat(shown), 1 + len(images), rows=tuple(models), heads=heads, captions=captions)


if __name__ == "__main__":
    start(main, Config)
