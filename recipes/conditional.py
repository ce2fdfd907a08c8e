"""Does the generator draw what it is asked for? A classifier judges conditional GANs with and without mismatched pairs.

python recipes/conditional.py                                     # rendered digits, minutes on one core
python recipes/conditional.py --data mnist --data-root DIR
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Length, Seed, Side, Width
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.gan.conditional_gan import ConditionalGANConfig, Heads, conditional_accuracy
from genlab.methods.gan.stack_gan import StackGANConfig


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


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, channels=1, data_root=config.data_root)
    methods: dict[str, Any] = {
        f"{heads}, mismatched pairs" if mismatched else f"{heads}, no mismatched pairs": ConditionalGANConfig(
            heads=heads, mismatched=mismatched, width=config.width
        )
        for heads, mismatched in product(get_args(Heads), (True, False))
    }
    if config.stack:
        methods["stack"] = StackGANConfig(width=config.width)
    train = genlab.TrainOptions(config.images, batch=32, seed=config.seed, half_life=5_000)
    plan = {name: genlab.Experiment(method, data, **vars(train)) for name, method in methods.items()}
    train = genlab.TrainOptions(config.classifier_images, seed=config.seed, schedule="cosine")
    judge = genlab.Experiment(ClassifierConfig(), data, **vars(train))
    check_all([judge, *plan.values()])
    classifier = judge.run(config.out / "classifier")
    accuracy = genlab.Run(config.out / "classifier").results()["accuracy"]
    page = genlab.Report(f"Conditional GANs on {config.data}")
    page.text(f"The classifier that judges them is right on {accuracy:.2%} of the held-out images.")
    rows = []
    for name, each in plan.items():
        out = config.out / name.replace(", ", "-").replace(" ", "-")
        trained: Any = each.run(out, pictures=2)
        rows.append([name, conditional_accuracy(trained, classifier)])
        page.section(name, "A row per class asked for.").picture(genlab.Run(out).samples()[-1], "samples")
        print(f"{name}: {rows[-1][1]:.1%} of the samples are classified as asked")
    page.section("Classified as asked").table(["discriminator", "share"], rows)
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
