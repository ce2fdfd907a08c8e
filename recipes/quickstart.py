"""Train a classifier and a GAN, sample a grid, attack the classifier, put a filter in front, write the report.

On scikit-learn's digits by default; `--data mnist --data-root DIR` does the same on MNIST."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import genlab
from attacks import FGSM, IFGSM, PGD, Linf
from attacks.defences import models_and_sources
from attacks.defences.smoothing import BitDepth, Filtered, Gaussian
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import add_evaluation, progress
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Positive, Range, Seed, Width
from genlab.core.text import Console
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.gan.gan import GANConfig
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


def main(config: Config) -> None:
    out = config.out or Path("runs") / f"quickstart-{config.data.replace(':', '-').replace('/', '-')}"
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    filters = {"gaussian": Gaussian(config.sigma), "bits": BitDepth(config.bits)}
    train = genlab.TrainOptions(config.classifier_images, seed=config.seed, schedule="cosine")
    classification = genlab.Experiment(ClassifierConfig(), data, **vars(train))
    train = genlab.TrainOptions(config.gan_images, seed=config.seed, half_life=10_000)
    generation = genlab.Experiment(GANConfig(width=config.gan_width), data, **vars(train))
    check_all([classification, generation])
    classifier = classification.run(out / "classifier")
    generation.run(out / "gan")

    test = data.load("test").subset(slice(0, config.attacked))
    attacks = {"fgsm": FGSM(Linf(0.1)), "ifgsm": IFGSM(Linf(0.1)), "pgd": PGD(Linf(0.1))}
    models, sources = models_and_sources(classifier, {name: Filtered(f, classifier) for name, f in filters.items()})
    with progress() as tell:
        found = evaluate(models, attacks, test.x, test.labels, eps=config.eps, sources=sources, progress=tell)
    Console().print(found.table(), *(f"warning: {sentence}" for sentence in found.warnings), sep="\n")

    accuracy, grid = genlab.Run(out / "classifier").results()["accuracy"], genlab.Run(out / "gan").samples()[-1]
    print(f"test accuracy {accuracy:.2%}; grid {grid}")
    write_atomically(out / "results.json", json.dumps({"accuracy": accuracy, **found.to_json()}, indent=1).encode())
    page = genlab.Report(f"Quickstart on {config.data}")
    page.section("Classifier", f"{accuracy:.2%} of the held-out images are classified correctly.")
    page.section("GAN").picture(grid, "samples").picture(grid_png(test.x[:64]), "held-out images, for comparison")
    print(f"report {add_evaluation(page, found).save(out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
