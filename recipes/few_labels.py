"""Few labels: Triple GAN, which sees all images and few labels, against the same classifier on the labelled ones alone.

python recipes/few_labels.py                                     # scikit-learn's digits, minutes on one core
python recipes/few_labels.py --data mnist --data-root DIR
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, Seed, Width
from genlab.data import Images, Stream
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.gan.triple_gan import TripleGANConfig
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


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    train = genlab.TrainOptions(config.images, seed=config.seed, half_life=10_000)
    plan = {each: TripleGANConfig(labels_per_class=each, width=config.width) for each in config.labels}
    check_all(genlab.Experiment(method, data, **vars(train)) for method in plan.values())
    test, page, rows = data.load("test"), genlab.Report(f"Few labels on {config.data}"), []
    for each, method in plan.items():
        out = config.out / f"triple-{each}"
        triple: Any = genlab.Experiment(method, data, **vars(train)).run(out, pictures=2)

        pixels = triple.labelled_x[:-1].mul(255).round().byte()
        few = Images(pixels, triple.labelled_y, test.classes, "few")
        classifier = ClassifierConfig(width=config.width).build(few.shape, len(few.classes)).to(few.device)
        short = genlab.TrainOptions(config.supervised_images, seed=config.seed, schedule="cosine")
        genlab.fit(classifier, Stream(few, short.batch, seed=config.seed), short, title=f"{each} labels per class")

        figures = classifier.evaluate(test)["accuracy"], genlab.Run(out).results()["accuracy"]
        rows.append([each, *figures])
        page.section(f"{each} labels per class", "All that is labelled, and what the generator draws: a row per class.")
        page.picture(grid_png(few.x, each), "labelled").picture(genlab.Run(out).samples()[-1], "drawn")
        print(f"{each} labels per class: supervised {figures[0]:.1%}, Triple GAN {figures[1]:.1%} of {len(test)}")
    page.section("Held-out accuracy").table(["labels per class", "supervised", "Triple GAN"], rows)
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
