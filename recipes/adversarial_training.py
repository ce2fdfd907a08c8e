"""Adversarial training: rounds against one attack, five schemes, and how FGSM training fails and is cured.

First a classifier is trained in rounds, on all adversarial images that FGSM made of it so far. Then one is trained from
the start by each scheme: FGSM, FGSM from a random point ("fast"), "free" training, TRADES and PGD. Robust accuracy
during training shows catastrophic overfitting; --eps-warmup is its cure.

python recipes/adversarial_training.py                           # scikit-learn's digits, minutes on one core
python recipes/adversarial_training.py --data mnist --data-root DIR --images 60000 --eps 0.3 --eps-warmup 0.3
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

import genlab
from attacks import FGSM, PGD, Linf
from attacks.defences.adversarial_training import AdversarialTrainingConfig
from attacks.evaluation.evaluate import evaluate
from genlab.cli.main import start
from genlab.core.ranges import Count, Eps, Length, Repeats, Seed, Share
from genlab.core.text import listed
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import ClassifierConfig, FineTuning
from genlab.reporting.finish import finish
from genlab.reporting.plots import curves

SCHEMES: tuple[Literal["fgsm", "fast", "free", "trades", "pgd"], ...] = ("fgsm", "fast", "free", "trades", "pgd")


@dataclass(frozen=True)
class Config:
    """Success of attacks on networks that were trained on adversarial images."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 60_000
    """length of every training, and of every round"""
    rounds: Repeats = 3
    """rounds of attacking the training set with FGSM and training on all images made so far"""
    eps: Eps = 0.15
    """L-infinity radius of training and attacks, in pixels of [0, 1]"""
    eps_warmup: Share = 0.0
    """share of training over which eps rises from 0"""
    attacked: Count = 300
    """held-out images to attack"""
    looks: Count = 8
    """times that robust accuracy is measured during a training"""
    out: Path = Path("runs/adversarial-training")
    """folder of the runs and the report"""
    seed: Seed = 0
    """seed of every training"""

    @property
    def data_options(self) -> genlab.DataOptions:
        return genlab.DataOptions(self.data, data_root=self.data_root)

    @property
    def training(self) -> dict[str, Any]:
        return {"images": self.images, "seed": self.seed, "schedule": "cosine", "warmup": 0.05}


def main(config: Config) -> None:
    test = config.data_options.load("test").subset(slice(0, config.attacked))
    rows = train_in_rounds(config, test)
    robust_accuracy = {}
    for scheme in SCHEMES:
        model, robust_accuracy[scheme] = train_by(scheme, config, test)
        rows.append({"training": scheme, **measured(model, config, test)})

    page = genlab.Report(f"Adversarial training: {config.data}, L-infinity {config.eps:g}")
    ends = {scheme: curve["robust accuracy"][-1] for scheme, curve in robust_accuracy.items()}
    page.text(f"Robust accuracy under PGD at the end of training, by what it learnt from: {listed(ends, '.0%')}.")
    lines = {scheme: (curve["images"], curve["robust accuracy"]) for scheme, curve in robust_accuracy.items()}
    page.picture(curves(lines, x="images", y="robust accuracy under PGD", limits=(-0.02, 1.02)))
    page.table(list(rows[0]), (row.values() for row in rows))
    finish(config.out, page, {"rows": rows, "curves": robust_accuracy})


def train_in_rounds(config: Config, test: Images) -> list[dict[str, Any]]:
    """A row for the classifier after plain training, and one after each round; every round makes adversarial images of
    the training set and trains on, on all images so far."""
    experiment = genlab.Experiment(ClassifierConfig(), config.data_options, **config.training)
    model: Any = experiment.run(config.out / "plain", pictures=1)
    rows = [{"training": "round 0", **measured(model, config, test)}]
    clean = everything = config.data_options.load("train")
    for number in range(1, config.rounds + 1):
        everything = joined(everything, adversarial(model, clean, config.eps))
        stream = Stream(everything, 64, seed=number)
        genlab.fit(FineTuning(model.net), stream, genlab.TrainOptions(**config.training), title=f"round {number}")
        rows.append({"training": f"round {number}", **measured(model, config, test)})
    return rows


def train_by(scheme: Any, config: Config, test: Images) -> tuple[Any, dict[str, list[float]]]:
    """The model that a scheme trains, and its robust accuracy during the training."""
    curve: dict[str, list[float]] = {"images": [], "robust accuracy": []}

    def record(images: int, model: Any) -> None:
        curve["images"].append(images)
        curve["robust accuracy"].append(1 - measured(model, config, test)["PGD success"])

    method = AdversarialTrainingConfig(scheme, eps=config.eps, eps_warmup=config.eps_warmup)
    experiment = genlab.Experiment(method, config.data_options, **config.training)
    experiment.run(config.out / scheme, [(max(1, config.images // config.looks), record)])
    return genlab.load(config.out / scheme), curve


def adversarial(model: Any, data: Images, eps: float) -> Images:
    """FGSM's images of a whole set, with the labels of the originals."""
    batches = zip(data.x.split(500), data.labels.split(500))
    made = torch.cat([FGSM(Linf(eps))(model, x, y) for x, y in batches])
    return Images((made * 255).round().byte(), data.labels, data.classes, data.name)


def joined(first: Images, second: Images) -> Images:
    pixels = torch.cat([first.pixels, second.pixels])
    return Images(pixels, torch.cat([first.labels, second.labels]), first.classes, first.name)


def measured(model: Any, config: Config, test: Images) -> dict[str, float]:
    """Clean accuracy, and the success rates of FGSM and of PGD with 40 steps."""
    attacks = {"FGSM": FGSM(Linf(config.eps)), "PGD": PGD(Linf(config.eps), steps=40)}
    rows = {row.attack: row for row in evaluate({"model": model}, attacks, test.x, test.labels).rows}
    success = {f"{name} success": rows[name].success.value or 0.0 for name in attacks}
    return {"clean accuracy": rows["PGD"].clean_accuracy, **success}


if __name__ == "__main__":
    start(main, Config)
