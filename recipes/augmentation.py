"""Augmentation while training and while testing, and a spatial transformer: accuracy on turned and moved digits.

Four CNNs: with and without a spatial transformer (arXiv:1506.02025), trained on the images as they are or randomly
turned and moved; each alone and with test-time augmentation, whose turns are chosen on distorted validation images with
the first seed. PGD attacks the first CNN and its test-time augmentation, obliviously and adaptively.

python recipes/augmentation.py                                   # rendered digits, minutes on one core
python recipes/augmentation.py --data mnist --data-root DIR --size 28 --images 300000
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from attacks import PGD, Linf
from attacks.defences.test_time import TestTimeAugmented
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import progress
from attacks.evaluation.verdict import models_and_sources
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Count, Eps, LearningRate, Length, NonEmpty, Range, Seeds, Side, Width
from genlab.core.text import counted
from genlab.data import Augment, Images, Stream
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.metrics.accuracy import accuracy
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import picture_png
from genlab.reporting.plots import curves
from genlab.reporting.spread import spread

NETS = {  # name -> spatial transformer, augmented training
    "CNN": (False, False),
    "spatial transformer": (True, False),
    "augmented training": (False, True),
    "both": (True, True),
}
HEADER = ["network", "tested with", "turns", "as they are", "(sd)", "distorted", "(sd) "]
ATTACKED = ["model", "clean accuracy", "(sd)", "accuracy under PGD", "(sd) "]
SHOWN, BATCH = 10, 32


@dataclass(frozen=True)
class Config:
    """What augmentation and a spatial transformer are worth."""

    data: str = "glyphs"
    """labelled images"""
    size: Side | None = 16
    """height and width of the images in pixels"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 16_000
    """length of every training"""
    width: Width = 8
    """channels of the CNN's first level"""
    rotate: Annotated[float, Range(0, 180, above=True)] = 45.0
    """distortion: turned by up to so many degrees"""
    shift: Annotated[float, Range(0, 0.5)] = 0.1
    """distortion: moved by up to this share of the size"""
    turns: NonEmpty[Annotated[float, Range(0, 180)]] = (10.0, 20.0, 30.0)
    """degrees of test-time augmentation to choose from"""
    eps: Eps = 0.05
    """L-infinity size of the attack, in pixels of [0, 1]"""
    steps: Count = 10
    """of the attack"""
    tested: Count = 500
    """test images, and validation images"""
    attacked: Count = 100
    """test images to attack"""
    lr: LearningRate = 3e-3
    """learning rate of Adam"""
    out: Path = Path("runs/augmentation")
    """folder of the report"""
    seeds: Seeds = (0, 1, 2)
    """of the trainings"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, 1, config.data_root, hold_out=True)
    train, validation, test = (data.load(split) for split in ("train", "validation", "test"))  # type: ignore[arg-type]
    validation, test = (images.subset(slice(0, config.tested)) for images in (validation, test))
    distortion = Augment(rotate=config.rotate, shift=config.shift)
    bad = distorted(test, distortion, 0)
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    angles = [config.rotate * i / 4 for i in range(7)]
    by_angle: dict[str, list[list[float]]] = {}
    nets: dict[str, list[Classifier]] = {}
    turn: dict[str, float] = {}
    for name, (transformer, augmented) in NETS.items():
        options = ClassifierConfig(
            width=config.width, optimizer="adam", lr=config.lr, weight_decay=0.0, spatial_transformer=transformer
        )
        augment = distortion if augmented else None
        nets[name] = [fitted(options, train, augment, config.images, seed, name) for seed in config.seeds]
        chosen = distorted(validation, distortion, 1)
        scores = {angle: accuracy(tta(nets[name][0], angle), chosen) for angle in config.turns}
        turn[name] = max(scores, key=scores.__getitem__)
        averaged = [tta(net, turn[name]) for net in nets[name]]
        for way, models in (("itself", nets[name]), ("TTA", averaged)):
            found[name, way] = [(accuracy(model, test), accuracy(model, bad)) for model in models]
            if way == "itself" or name == "CNN":
                label = name if way == "itself" else "CNN with TTA"
                by_angle[label] = [[accuracy(model, turned(test, angle)) for angle in angles] for model in models]

    rows = [
        [name, way, turn[name] if way == "TTA" else 0.0, *spread(a for a, _ in runs), *spread(b for _, b in runs)]
        for (name, way), runs in found.items()
    ]
    attacked = under_attack(nets["CNN"], turn["CNN"], test, config)
    results = {"accuracy": records(HEADER, rows), "attack": records(ATTACKED, attacked)}
    page = genlab.Report(f"Augmentation on {config.data}").text(message(rows))
    page.picture(curves(bands(angles, by_angle), x="turned by, degrees", y="test accuracy"))
    page.section("Accuracy", about(config, len(test))).table(HEADER, rows)
    shown = bad.subset(slice(0, SHOWN)).x
    with torch.no_grad():
        seen = {name: nets[name][0].net[0](shown) for name, (transformer, _) in NETS.items() if transformer}
    page.section("What the spatial transformers make of distorted images", f"Seed {config.seeds[0]}.")
    page.picture(picture_png(in_rows({"distorted": shown, **{f"seen by: {name}": x for name, x in seen.items()}})))
    page.section(
        "Test-time augmentation under attack",
        f"PGD with {config.steps} steps, L-infinity {config.eps:g}, on {config.attacked:,} test images as they are: "
        "oblivious attacks know the CNN alone, adaptive ones the mean over the copies, whose gradient is exact.",
    )
    page.table(ATTACKED, attacked)
    finish(config.out, page, results)


def fitted(
    method: ClassifierConfig, train: Images, augment: Augment | None, images: int, seed: int, name: str
) -> Classifier:
    torch.manual_seed(seed)
    options = replace(ClassifierConfig.training, images=images, batch=BATCH, seed=seed)
    built = method.build(train.shape, len(train.classes)).to(train.device)
    stream = Stream(train, options.batch, seed=seed, augment=augment)
    trained: Any = genlab.fit(built, stream, options, title=f"{seed}: {name}")
    return trained.requires_grad_(False)


def tta(net: Classifier, angle: float) -> TestTimeAugmented:
    return TestTimeAugmented(net, shift=1, rotate=angle)


def changed(images: Images, change: Callable[[Tensor], Tensor]) -> Images:
    return replace(images, pixels=change(images.x).mul(255).round().byte(), factors={})


def distorted(images: Images, how: Augment, seed: int) -> Images:
    params = how.draw(len(images), torch.Generator().manual_seed(seed))
    return changed(images, lambda x: how.apply(x, params))


def turned(images: Images, angle: float) -> Images:
    """Half of the images by `angle` degrees, the others by as many in the other direction."""
    params = Augment(rotate=360.0).draw(len(images), torch.Generator())
    params[:, 3] = angle * (1 - 2 * (torch.arange(len(images)) % 2))
    return changed(images, lambda x: Augment(rotate=360.0).apply(x, params))


def under_attack(nets: list[Classifier], angle: float, test: Images, config: Config) -> list[list[Any]]:
    """Rows of ATTACKED."""
    few = test.subset(slice(0, config.attacked))
    clean: dict[str, list[float]] = {}
    robust: dict[str, list[float]] = {}
    for net in nets:
        models, sources = models_and_sources(net, {"TTA": tta(net, angle)})
        pgd = {"pgd": PGD(Linf(config.eps), steps=config.steps)}
        with progress() as options:
            result = evaluate(models, pgd, few.x, few.labels, eps=[config.eps], sources=sources, options=options)
        for row in (row for row in result.rows if row.attack == "pgd"):
            clean.setdefault(row.model, []).append(row.clean_accuracy)
            robust.setdefault(row.model, []).append(row.robust_accuracy)
    names = {"none": "CNN", "TTA": "TTA, oblivious attack", "TTA, adaptive": "TTA, adaptive attack"}
    return [[names[model], *spread(clean[model]), *spread(robust[model])] for model in clean]


def bands(angles: list[float], by_angle: dict[str, list[list[float]]]) -> dict[str, Any]:
    """Curves with bands: mean and deviation over the seeds."""
    found = {}
    for name, runs in by_angle.items():
        mean, sd = zip(*(spread(values) for values in zip(*runs)))
        found[name] = (angles, mean, [m - s for m, s in zip(mean, sd)], [min(1.0, m + s) for m, s in zip(mean, sd)])
    return found


def about(config: Config, n: int) -> str:
    return (
        f"On {n:,} test images, as they are, and each turned by up to {config.rotate:g}° and moved by up to "
        f"{100 * config.shift:g} % of its size; mean ± standard deviation over {counted(config.seeds)}. TTA: "
        "test-time augmentation, the mean over copies moved by a pixel and turned by so many degrees in either "
        "direction, as chosen on validation images."
    )


def message(rows: list[list[Any]]) -> str:
    """What the figure shows, in words."""
    alone = {name: row for name, row in zip(NETS, rows[::2])}
    averaged = {name: row for name, row in zip(NETS, rows[1::2])}
    plain = alone["CNN"][5]
    gain = lambda row: f"{100 * (row[5] - plain):+.1f}"
    return (
        f"The plain CNN is right on {100 * plain:.1f} % of the distorted images. Against it, in points: test-time "
        f"augmentation {gain(averaged['CNN'])}, a spatial transformer {gain(alone['spatial transformer'])}, augmented "
        f"training {gain(alone['augmented training'])}, both {gain(alone['both'])}."
    )


if __name__ == "__main__":
    start(main, Config)
