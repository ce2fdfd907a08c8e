"""A printable patch: learnt on training images under random views, measured on others under each kind of view.

python recipes/physical_patch.py                                 # scikit-learn's digits, minutes on one core
python recipes/physical_patch.py --data mnist --data-root DIR
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

import genlab
from attacks import Patch, Views
from attacks.core.rate import Rate
from attacks.evaluation.report import CAPTIONS, predictions_picture
from genlab.cli.main import start
from genlab.core.ranges import Length, NonEmpty, Range, Seed
from genlab.data import Images
from genlab.data.jpeg import jpeg
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.finish import finish
from genlab.reporting.grid import grid_png
from genlab.reporting.plots import bars

LEARNT = Views()  # those under which the patch is learnt
FIXED = Views(rotation=0.0, scale=(1.0, 1.0), place=0.0, brightness=0.0)
VIEWS = {
    "fixed": FIXED,
    "rotation alone": replace(FIXED, rotation=LEARNT.rotation),
    "scale alone": replace(FIXED, scale=LEARNT.scale),
    "place alone": replace(FIXED, place=LEARNT.place),
    "brightness alone": replace(FIXED, brightness=LEARNT.brightness),
    "all": LEARNT,
}

SHOWN = 12  # images in a row of a picture


@dataclass(frozen=True)
class Config:
    """How often a patch makes a classifier see its target class."""

    data: str = "digits"
    """digits, mnist, fashion, folder:PATH, ..."""
    data_root: Path | None = None
    """where downloaded sets lie"""
    target: Annotated[int, Range(0, 10**6)] = 3
    """the class to be seen"""
    size: Annotated[float, Range(0, 1, above=True)] = 0.6
    """side of the patch, as a share of the image's"""
    shapes: NonEmpty[Literal["square", "disc", "glasses"]] = ("square", "glasses")
    """outlines; glasses are as wide as the image"""
    classifier_images: Length = 100_000
    """length of the classifier's training"""
    images: Length = 30_000
    """length of each patch's training"""
    out: Path = Path("runs/physical-patch")
    """folder of the run and the report"""
    seed: Seed = 0
    """seed of the trainings"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    test = data.load("test").subset(slice(0, 1000))
    if config.target >= len(test.classes):
        raise ValueError(f"--target must be a class, from 0 to {len(test.classes) - 1}, got {config.target}")
    experiment = genlab.Experiment(ClassifierConfig(), data, images=config.classifier_images, seed=config.seed)
    model = experiment.run(config.out / "classifier")
    victims = correct_and_of_other_classes(model, test, config.target)
    page = genlab.Report(f"A patch that makes {config.data} look like class {config.target}")
    rows = []
    for shape in config.shapes:
        size = 1.0 if shape == "glasses" else config.size
        patch = Patch(config.target, size, shape, LEARNT, images=config.images, seed=config.seed)
        rows += measure(page, patch, model, data.load("train"), victims)
    page.section("Success", f"On {len(victims)} held-out images of other classes that were classified correctly.")
    page.table(list(rows[0]), (row.values() for row in rows))
    of_all = ", ".join(f"{row['shape']} {row['success']:.0%}" for row in rows if row["view"] == "all, as JPEG")
    page.opening(
        f"Share of the images of other classes that are classified as {test.classes[config.target]} with the patch on "
        f"them, under all views and as JPEG: {of_all}.",
        bars({f"{row['shape']}, {row['view']}": [row["success"]] for row in rows}, x="share of the images"),
    )
    finish(config.out, page, rows)


def correct_and_of_other_classes(model: nn.Module, images: Images, target: int) -> Images:
    correct = model(images.x).argmax(1) == images.labels
    return images.subset(correct & (images.labels != target))


def measure(
    page: genlab.Report, patch: Patch, model: nn.Module, train: Images, victims: Images
) -> list[dict[str, Any]]:
    """Learns a patch; a row per view."""
    printed: Any = patch.prepare(model, train)
    seen = {name: replace(printed, views=views)(model, victims.x, victims.labels) for name, views in VIEWS.items()}
    seen["all, as JPEG"] = jpeg(seen["all"])
    grey = replace(printed, patch=torch.full_like(printed.patch, 0.5))
    seen["all, grey patch"] = grey(model, victims.x, victims.labels)
    page.section(f"{patch.shape}, {patch.size:.0%} of the image's side")
    page.picture(grid_png((printed.patch * printed.mask)[None]), "the patch")
    shown = {name: x[:SHOWN] for name, x in seen.items()}
    page.text(f"Held-out images with it, by view. {CAPTIONS}")
    page.picture(predictions_picture(shown, model, victims.labels[:SHOWN], victims.classes))
    return [row(patch, view, model, x) for view, x in seen.items()]


def row(patch: Patch, view: str, model: nn.Module, x: Tensor) -> dict[str, Any]:
    """How many of the images x are classified as the target."""
    rate = Rate(int((model(x).argmax(1) == patch.target).sum()), len(x))
    low, high = rate.interval
    return {
        "shape": patch.shape,
        "size": patch.size,
        "view": view,
        "success": rate.value,
        "from": low,
        "to (95 %)": high,
    }


if __name__ == "__main__":
    start(main, Config)
