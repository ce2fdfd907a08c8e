"""Adversarial training with few real images, alone and with a GAN's added; after Gowal et al. 2021, arXiv:2110.09468.

A GAN learns from the few images; its samples get their labels from a classifier that learnt from the same few.

python recipes/generated_data.py                                 # scikit-learn's digits, minutes on one core
python recipes/generated_data.py --data mnist --data-root DIR --known 2000 --eps 0.2
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import genlab
from attacks import PGD, Linf
from attacks.defences.adversarial_training import AdversarialTrainingConfig
from attacks.evaluation.evaluate import evaluate
from genlab.cli.main import start
from genlab.core.ranges import Count, Eps, Length, Seeds, Share, Width
from genlab.data import Images, Stream
from genlab.data.mixed import Mixed
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.gan.gan import GANConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.grid import grid_png
from genlab.reporting.plots import bars
from genlab.reporting.spread import spread

Draw = Callable[[int], tuple[Tensor, Tensor]]  # n -> images (n, C, H, W), labels (n,)


@dataclass(frozen=True)
class Config:
    """Clean and robust accuracy with and without generated images."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    known: Count = 300
    """real training images"""
    share: Share = 0.5
    """share of generated images in a batch"""
    images: Length = 60_000
    """length of the classifiers' trainings"""
    gan_images: Length = 150_000
    """length of the GAN's training"""
    width: Width = 32
    """channels of all networks at the finest level"""
    eps: Eps = 0.1
    """L-infinity radius of training and attack, in pixels of [0, 1]"""
    attacked: Count = 300
    """held-out images to attack"""
    seeds: Seeds = (0, 1, 2)
    """trainings of everything, each from its own random numbers"""
    out: Path = Path("runs/generated-data")
    """folder of the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    few = data.load("train").subset(slice(0, config.known))
    test = data.load("test").subset(slice(0, config.attacked))
    page = genlab.Report(f"Generated training data: {config.data}, eps {config.eps:g}")
    measured: dict[str, list[dict[str, float]]] = {}
    for seed in config.seeds:
        models, generated = train(few, seed, config)
        page.picture(grid_png(generated, 20), f"generated, seed {seed}")
        for name, accuracies in attack(models, test, config).items():
            measured.setdefault(name, []).append(accuracies)
    header = ["training images", "clean accuracy", "clean accuracy (sd)", "robust accuracy", "robust accuracy (sd)"]
    rows = [
        [name, *spread(each["clean"] for each in found), *spread(each["robust"] for each in found)]
        for name, found in measured.items()
    ]
    page.section("Accuracy", f"On {len(test)} held-out images; robust: under PGD; mean and spread over seeds.")
    page.table(header, rows)
    page.opening(
        "Robust accuracy by training images: " + ", ".join(f"{row[0]} {row[3]:.0%}" for row in rows) + ".",
        bars({name: [each["robust"] for each in found] for name, found in measured.items()}, x="robust accuracy"),
    )
    finish(config.out, page, records(header, rows))


def train(few: Images, seed: int, config: Config) -> tuple[dict[str, Any], Tensor]:
    """Three classifiers by what they learn from, and 40 generated images."""
    gan = fitted(GANConfig(width=config.width, hidden=0, lr_generator=None), few, config.gan_images, seed, "GAN")
    labeller = fitted(ClassifierConfig(width=config.width), few, config.images, seed, "classifier", warmup=0.05)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        x = gan.sample(n)
        return x, labeller(x).argmax(1)

    robust = AdversarialTrainingConfig(eps=config.eps, width=config.width)
    mixed = fitted(robust, few, config.images, seed, "adversarial, real and generated", draw=draw, share=config.share)
    with torch.no_grad():
        generated = gan.sample(40)
    real = fitted(robust, few, config.images, seed, "adversarial, real")
    return {"real, not adversarial": labeller, "real": real, "real and generated": mixed}, generated


def fitted(
    method_config: genlab.Config,
    few: Images,
    images: int,
    seed: int,
    title: str,
    *,
    draw: Draw | None = None,
    share: float = 0.0,
    **training: Any,
) -> Any:
    """The method, trained on the few images, of which `draw` replaces a share in every batch."""
    torch.manual_seed(seed)
    options = replace(method_config.training, images=images, seed=seed, **training)
    stream = Stream(few, options.batch, seed=seed)
    method = method_config.build(few.shape, len(few.classes)).to(few.device)
    return genlab.fit(method, Mixed(stream, draw, share) if draw else stream, options, title=f"{title}, seed {seed}")


def attack(models: dict[str, Any], test: Images, config: Config) -> dict[str, dict[str, float]]:
    """Clean accuracy and that under PGD, by model."""
    found = evaluate(models, {"PGD": PGD(Linf(config.eps), steps=40)}, test.x, test.labels)
    return {
        row.model: {"clean": row.clean_accuracy, "robust": row.robust_accuracy or 0.0}
        for row in found.rows
        if row.attack == "PGD"  # beside it stands random noise
    }


if __name__ == "__main__":
    start(main, Config)
