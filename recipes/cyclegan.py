"""CycleGAN and what ties a translation to its input: the cycle, the features of a network trained beforehand on other
images, or nothing, with generators of different depth. The true partners are known, and used only to measure.

A classifier of the second domain tells whether the class is preserved; of domains with other classes, one tells the two
domains apart.

python recipes/cyclegan.py                                            # rendered digits, plain and on texture
python recipes/cyclegan.py --data unpaired:glyphs,textured:glyphs     # colours that the translation has no place for
python recipes/cyclegan.py --data unpaired:sprites,grey:sprites --variants shallow 'no cycle' deep features
python recipes/cyclegan.py --data unpaired:cifar10:horse,cifar10:deer --size 32 --images 20000
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

import genlab
from genlab.cli.main import start
from genlab.core.picture import MOST, Picture, in_rows
from genlab.core.ranges import Count, LearningRate, Length, NonEmpty, Seed, Side, Weight, Width
from genlab.core.registry import choose
from genlab.data import Pair
from genlab.data.domains import names
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.classification.features import default_features
from genlab.methods.translation.cyclegan import CycleGANConfig
from genlab.metrics.features import ClassifierFeatures
from genlab.metrics.partner import PARTNER_ERROR
from genlab.metrics.translation import hidden_code, side_by_side, translation
from genlab.reporting.finish import finish
from genlab.reporting.labelled import picture_png
from genlab.reporting.plots import bars

SMALL = CycleGANConfig(blocks=3, levels=1)
VARIANTS = {
    "cycle": SMALL,
    "no cycle": replace(SMALL, cycle=0.0),  # the adversarial loss alone, which nothing ties to the input
    "cycle and identity": replace(SMALL, identity=5.0),
    "shallow": replace(SMALL, cycle=0.0, blocks=1, levels=0),  # as "no cycle", with a generator of few layers
    "deep": replace(SMALL, cycle=0.0, blocks=6, levels=2),
    "features": replace(SMALL, cycle=0.0),  # and the distance of the features of a network trained beforehand
}


@dataclass(frozen=True)
class Config:
    """Trains CycleGAN with and without its cycle loss and compares translations with the true partners."""

    data: str = "unpaired:grey:glyphs,textured:glyphs"
    """two sets"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width in pixels; none: the set's own"""
    variants: NonEmpty[str] = ("cycle", "no cycle", "cycle and identity")
    """which losses: 'cycle', 'no cycle', 'cycle and identity'; without cycle: shallow, deep, features"""
    images: Length = 5_000
    """length of every training"""
    batch: Count = 4
    """images per batch"""
    width: Width = 16
    """channels at full resolution"""
    lr: LearningRate = 4e-4
    """learning rate"""
    perceptual: Weight = 1.0
    """weight of the distance of features"""
    pretraining: str = "letters"
    """images with other classes, on which the network of these features is trained"""
    classifier_images: Length | None = None
    """length of the classifier's training; none: 60 epochs, at most 100,000"""
    split: Literal["test", "validation"] = "test"
    """images that are measured; validation images are left out of training"""
    out: Path = Path("runs/cyclegan")
    """folder of the runs and the report"""
    seed: Seed = 0
    """seed of every training"""


def main(config: Config) -> None:
    held = config.split == "validation"
    data = genlab.DataOptions(config.data, config.size, data_root=config.data_root, hold_out=held)
    train = {"images": config.images, "batch": config.batch, "seed": config.seed}
    chosen = {name: VARIANTS[choose(name, VARIANTS, "variant")] for name in config.variants}
    methods = {name: replace(method, width=config.width, lr=config.lr) for name, method in chosen.items()}
    plan = {name: genlab.Experiment(method, data, **train) for name, method in methods.items()}
    check_data(config, data)
    check_all(plan.values())
    judge, test = judge_of(config, data), data.load(config.split)
    if "features" in plan:
        tied = replace(methods["features"], perceptual=config.perceptual, classifier=pretrained(config, data))
        plan["features"] = genlab.Experiment(tied, data, **train)

    page = genlab.Report(f"CycleGAN: {config.data}")
    models: dict[str, Any] = {}
    rows = []
    for name, experiment in plan.items():
        models[name] = experiment.run(config.out / name.replace(" ", "-"), pictures=4)
        rows.append({"variant": name, "layers": layers(models[name].G), **measured(models[name], test, judge)})
    figures = [name for name in rows[0] if name != "variant"]
    kept = figures[1]  # the class, or the domain
    page.text(f"{kept.capitalize()}: " + ", ".join(f"{row['variant']} {row[kept]:.0%}" for row in rows) + ".")
    page.picture(picture_png(translations(models, test)))
    for figure in (kept, *(name for name in figures if name == PARTNER_ERROR)):
        page.picture(bars({f"{row['variant']}, {row['layers']} layers": [row[figure]] for row in rows}, x=figure))
    for name, model in models.items():
        show(page.section(name), model, test)
    page.section("Figures", "Errors are mean absolute errors in pixels of [0, 1].")
    page.table(["figure", *plan], ([name, *(row[name] for row in rows)] for name in figures))
    finish(config.out, page, rows)


def check_data(config: Config, data: genlab.DataOptions) -> None:
    """Raises ValueError if the domains have no names, or the images of --pretraining no classes."""
    if config.data.startswith("unpaired:") and "," not in config.data:
        raise ValueError(f"--data names two sets, whose classes are measured, as in unpaired:A,B, got {config.data!r}")
    if "features" in config.variants:
        other = replace(data, data=config.pretraining).load("train", option="pretraining")
        if len(getattr(other, "classes", ())) < 2:
            raise ValueError(f"--pretraining must be images of at least two classes, got {config.pretraining!r}")


def judge_of(config: Config, data: genlab.DataOptions) -> ClassifierFeatures:
    """A classifier of the second domain, if both have the same classes; else one that tells the domains apart."""
    test = data.load("test")
    first, second = names(config.data)
    name = second if test.a.classes == test.b.classes else f"domains:{first},{second}"
    judged = replace(data, data=name, size=test.shape[1], channels=test.shape[0])
    return default_features(judged, images=config.classifier_images)


def pretrained(config: Config, data: genlab.DataOptions) -> Path:
    """The run of a classifier of `config.pretraining`, whose features are to tie a translation to its input."""
    c, h, _ = data.load("test").shape
    other = replace(data, data=config.pretraining, size=h, channels=c)
    folder = config.out / "pretrained"
    genlab.Experiment(ClassifierConfig(), other, images=config.classifier_images or 200_000).run(folder, pictures=1)
    return folder


def layers(net: nn.Module) -> int:
    """The number of convolutions of a network."""
    return sum(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in net.modules())


def measured(model: Any, test: Pair, judge: ClassifierFeatures) -> dict[str, float]:
    return translation(partial(model.translate, to=1), partial(model.translate, to=0), test, judge)


@torch.no_grad()
def translations(models: dict[str, Any], test: Pair) -> Picture:
    """Rows: originals, their true partners if they are known, and the translations of every variant."""
    x = test.a.x[:MOST]
    partners = {"true partner": test.b.x} if test.aligned else {}
    return in_rows({"original": x, **partners, **{name: model.translate(x, to=1) for name, model in models.items()}})


def show(page: genlab.Report, model: Any, test: Pair) -> None:
    there, back = partial(model.translate, to=1), partial(model.translate, to=0)
    page.text("Original, translation, translated back, true partner; twice a row.")
    page.picture(picture_png(side_by_side(there, back, test)), "to the second domain")
    page.picture(picture_png(side_by_side(back, there, test.swapped())), "to the first domain")
    page.picture(picture_png(hidden_code(there, back, test)), "what the translation hides, and what destroys it")


if __name__ == "__main__":
    start(main, Config)
