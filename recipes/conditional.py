"""Conditional GANs with and without mismatched pairs: does the generator draw the class that it is asked for?

A mismatched pair is a real image with a wrong label, which the discriminator learns to reject (Reed et al. 2016,
arXiv:1605.05396). The discriminator has one score for image and label together, or separate ones for realism and match.
A classifier judges the samples.

python recipes/conditional.py                                     # rendered digits, minutes on one core
python recipes/conditional.py --data mnist --data-root DIR
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Length, Seed, Side, Width
from genlab.core.text import listed
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.gan.conditional_gan import ConditionalGANConfig, conditional_accuracy
from genlab.methods.gan.stack_gan import StackGANConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.plots import bars

HEADER = ["model", "mismatched pairs", "conditional accuracy"]


@dataclass(frozen=True)
class Config:
    """One classifier, four conditional GANs, and the share of samples classified as asked."""

    data: str = "glyphs"
    """labelled images: glyphs, digits, mnist, fashion, ..."""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width in pixels; none: the set's own"""
    images: Length = 60_000
    """length of every GAN's training"""
    classifier_images: Length = 60_000
    """length of the classifier's training"""
    width: Width = 32
    """channels at the finest level"""
    stack: bool = False
    """train the two-stage StackGAN, too"""
    out: Path = Path("runs/conditional")
    """folder of the runs and the report"""
    seed: Seed = 0
    """seed of every training and of the samples"""


@dataclass(frozen=True)
class Variant:
    """A conditional GAN that is compared."""

    model: str
    mismatched: bool
    method: genlab.Config

    @property
    def name(self) -> str:
        return f"{self.model} {'with' if self.mismatched else 'without'} mismatched pairs"

    @property
    def folder(self) -> str:
        pairs = "mismatched" if self.mismatched else "no-mismatched"
        return f"{self.model.replace(' ', '-')}-{pairs}-pairs"


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, channels=1, data_root=config.data_root)
    judge = genlab.Experiment(ClassifierConfig(), data, images=config.classifier_images, seed=config.seed)
    gan = {"images": config.images, "batch": 32, "seed": config.seed, "half_life": 5_000}
    plan = [(variant, genlab.Experiment(variant.method, data, **gan)) for variant in variants(config)]
    check_all([judge, *(experiment for _, experiment in plan)])

    classifier = judge.run(config.out / "classifier")
    page = genlab.Report(f"Conditional GANs on {config.data}")
    rows = []
    for variant, experiment in plan:
        folder = config.out / variant.folder
        model: Any = experiment.run(folder, pictures=2)
        torch.manual_seed(config.seed)
        rows.append([variant.model, variant.mismatched, conditional_accuracy(model, classifier)])
        page.section(f"Samples: {variant.name}").picture(genlab.Run(folder).samples()[-1], "a row per class asked for")

    accuracy = genlab.Run(config.out / "classifier").results()["accuracy"]
    page.section("Conditional accuracy", f"The classifier is right on {accuracy:.2%} of the test images.")
    page.table(HEADER, rows)
    shares = {variant.name: row[-1] for (variant, _), row in zip(plan, rows)}
    page.opening(
        f"Share of the samples that a classifier assigns to the class asked for: {listed(shares, '.1%')}.",
        bars({name: [share] for name, share in shares.items()}, x="share of samples of the class asked for"),
    )
    finish(config.out, page, {"classifier accuracy": accuracy, "models": records(HEADER, rows)})


def variants(config: Config) -> list[Variant]:
    found = [
        Variant(name, mismatched, ConditionalGANConfig(heads=heads, mismatched=mismatched, width=config.width))
        for name, heads in (("joint score", "joint"), ("separate scores", "separate"))
        for mismatched in (True, False)
    ]
    if config.stack:
        found.append(Variant("StackGAN", True, StackGANConfig(width=config.width)))
    return found


if __name__ == "__main__":
    start(main, Config)
