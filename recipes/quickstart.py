"""Train a classifier and a GAN, draw samples, attack the classifier, put filters in front of it, write the report.

python recipes/quickstart.py                                     # scikit-learn's digits, minutes on one core
python recipes/quickstart.py --data mnist --data-root DIR
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from torch import nn

import genlab
from attacks import FGSM, IFGSM, PGD, Linf
from attacks.defences.smoothing import BitDepth, Filtered, Gaussian
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import add_evaluation, progress
from attacks.evaluation.results import Evaluation
from attacks.evaluation.verdict import models_and_sources, to_json
from genlab.cli.main import start
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Positive, Range, Seed, Width
from genlab.data import Images
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.gan.gan import GANConfig
from genlab.reporting.finish import finish
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """Train, sample, attack and defend on real images."""

    data: str = "digits"
    """digits, mnist, fashion, folder:PATH, ...; `genlab list` names all"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    out: Path | None = None
    """folder of the runs and the report; none: runs/quickstart-DATA"""
    classifier_images: Length = 300_000
    """length of the classifier's training"""
    gan_images: Length = 250_000
    """length of the GAN's training"""
    gan_width: Width = 64
    """channels of the GAN's finest level"""
    eps: NonEmpty[Eps] = (0.05, 0.1, 0.2, 0.3)
    """sizes of the perturbation, in pixels of [0, 1]"""
    attacked: Count = 1000
    """held-out images to attack"""
    sigma: Positive = 0.5
    """width of the Gaussian filter, in pixels"""
    bits: Annotated[int, Range(1, 8)] = 1
    """bits per pixel that the other filter leaves"""
    seed: Seed = 0
    """of both trainings"""


def main(config: Config) -> None:
    out = config.out or Path("runs") / f"quickstart-{config.data.replace(':', '-').replace('/', '-')}"
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    classification = genlab.Experiment(ClassifierConfig(), data, images=config.classifier_images, seed=config.seed)
    generation = genlab.Experiment(GANConfig(width=config.gan_width), data, images=config.gan_images, seed=config.seed)
    check_all([classification, generation])
    classifier = classification.run(out / "classifier")
    generation.run(out / "gan")
    test = data.load("test").subset(slice(0, config.attacked))
    found = attack(classifier, test, config)

    accuracy = genlab.Run(out / "classifier").results()["accuracy"]
    page = genlab.Report(f"Quickstart on {config.data}")
    eps = max(row.eps for row in found.rows if row.eps is not None)
    undefended = [row for row in found.rows if row.model == found.rows[0].model and row.eps == eps]
    fooled = ", ".join(f"{row.attack} {row.success.value:.0%}" for row in undefended)
    page.text(f"The classifier is right on {accuracy:.1%} of the held-out images. Attacks of radius {eps:g}: {fooled}.")
    page.section("GAN").picture(genlab.Run(out / "gan").samples()[-1], "samples")
    page.picture(grid_png(test.x[:64]), "held-out images, for comparison")
    add_evaluation(page, found)
    finish(out, page, {"accuracy": accuracy, **to_json(found)})


def attack(classifier: nn.Module, test: Images, config: Config) -> Evaluation:
    """Three attacks on the classifier, and on the classifier behind each of two filters, obliviously and adaptively."""
    filters = {"gaussian": Gaussian(config.sigma), "bits": BitDepth(config.bits)}
    attacks = {"fgsm": FGSM(Linf(0.1)), "ifgsm": IFGSM(Linf(0.1)), "pgd": PGD(Linf(0.1))}
    models, sources = models_and_sources(
        classifier, {name: Filtered(each, classifier) for name, each in filters.items()}
    )
    with progress() as options:
        return evaluate(models, attacks, test.x, test.labels, eps=config.eps, sources=sources, options=options)


if __name__ == "__main__":
    start(main, Config)
