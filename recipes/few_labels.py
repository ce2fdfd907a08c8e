"""Few labels: Triple GAN, which sees all images and few labels, against the same classifier on the labelled ones alone.

python recipes/few_labels.py                                     # scikit-learn's digits, minutes on one core
python recipes/few_labels.py --data mnist --data-root DIR
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, Seed, Width
from genlab.data import Images, Stream
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.gan.triple_gan import TripleGANConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """Held-out accuracy from few labels, with and without the unlabelled images."""

    data: str = "digits"
    """labelled images, of whose labels few are used"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    labels: tuple[Count, ...] = (5, 10)
    """labelled images per class"""
    images: Length = 80_000
    """length of Triple GAN's training"""
    supervised_images: Length = 30_000
    """length of the supervised training"""
    width: Width = 32
    """channels at the finest level"""
    out: Path = Path("runs/few-labels")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of every training"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    experiments = {labels: triple_gan(labels, data, config) for labels in config.labels}
    check_all(experiments.values())
    test = data.load("test")
    page = genlab.Report(f"Few labels on {config.data}")
    header = ["labels per class", "supervised", "Triple GAN"]
    rows = []
    for labels, experiment in experiments.items():
        out = config.out / f"triple-{labels}"
        few = labelled_images(experiment.run(out, pictures=2), test.classes)
        classifier = supervised(few, config)
        run = genlab.Run(out)
        rows.append([labels, classifier.evaluate(test)["accuracy"], run.results()["accuracy"]])
        page.section(
            f"{labels} labels per class", "The labelled images and those that Triple GAN draws; rows: classes."
        )
        page.picture(grid_png(few.x, labels), "labelled").picture(run.samples()[-1], "drawn")
    page.section("Accuracy", f"On {len(test)} held-out images.").table(header, rows)
    finish(config.out, page, records(header, rows))


def triple_gan(labels: int, data: genlab.DataOptions, config: Config) -> genlab.Experiment:
    method = TripleGANConfig(labels_per_class=labels, width=config.width)
    return genlab.Experiment(method, data, images=config.images, seed=config.seed)


def labelled_images(triple: Any, classes: tuple[str, ...]) -> Images:
    """The images whose labels Triple GAN has used."""
    pixels = triple.labelled_x[:-1].mul(255).round().byte()  # the last one is a spare
    return Images(pixels, triple.labelled_y, classes, "few")


def supervised(few: Images, config: Config) -> Any:
    """Triple GAN's classifier, trained on the labelled images alone."""
    options = replace(ClassifierConfig.training, images=config.supervised_images, seed=config.seed)
    classifier = ClassifierConfig(width=config.width).build(few.shape, len(few.classes)).to(few.device)
    return genlab.fit(classifier, Stream(few, options.batch, seed=config.seed), options, title="supervised")


if __name__ == "__main__":
    start(main, Config)
