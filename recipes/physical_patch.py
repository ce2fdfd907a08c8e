"""A printable patch: learnt on training images under random views, measured on others under each kind of view.

python recipes/physical_patch.py                                 # scikit-learn's digits, minutes on one core
python recipes/physical_patch.py --data mnist --data-root DIR
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from rich.table import Table

import genlab
from attacks import Patch, Views
from attacks.evaluation.results import Rate
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Length, Range
from genlab.core.text import Console
from genlab.data.jpeg import jpeg
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """How often a sticker makes a classifier see what its maker wants."""

    data: str = "digits"
    """digits, mnist, fashion, folder:PATH, ..."""
    data_root: Path | None = None
    """where downloaded sets lie"""
    target: Annotated[int, Range(0, 10**6)] = 3
    """the class to be seen"""
    size: Annotated[float, Range(0, 1, above=True)] = 0.6
    """side of the patch, as a share of the image's"""
    shapes: tuple[Literal["square", "disc", "glasses"], ...] = ("square", "glasses")
    """outlines; glasses are as wide as the image"""
    classifier_images: Length = 100_000
    """length of the classifier's training"""
    images: Length = 30_000
    """length of each patch's training"""
    out: Path = Path("runs/physical-patch")
    """folder of the run and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    test = data.load("test").subset(slice(0, 1000))
    if config.target >= len(test.classes):
        raise ValueError(f"--target must be a class, from 0 to {len(test.classes) - 1}, got {config.target}")
    views = Views()
    sizes = {shape: 1.0 if shape == "glasses" else config.size for shape in config.shapes}
    patches = {shape: Patch(config.target, s, shape, views, images=config.images) for shape, s in sizes.items()}
    train = genlab.TrainOptions(config.classifier_images, schedule="cosine")
    model = genlab.Experiment(ClassifierConfig(), data, **vars(train)).run(config.out / "classifier")
    test = test.subset((model(test.x).argmax(1) == test.labels) & (test.labels != config.target))
    still = Views(0.0, (1.0, 1.0), 0.0, 0.0)
    looks = {"still": still, "all": views}
    looks |= {name: replace(still, **{name: value}) for name, value in vars(views).items()}
    page, rows = genlab.Report(f"A patch that makes {config.data} look like class {config.target}"), []
    for shape, patch in patches.items():
        size, ready = sizes[shape], patch.prepare(model, data.load("train"))
        seen = {
            name: replace(ready, views=extract_features)(model, test.x, test.labels)
            for name, extract_features in looks.items()
        }
        seen["all, as JPEG"] = jpeg(seen["all"])
        seen["all, grey patch"] = replace(ready, patch=0 * ready.patch + 0.5)(model, test.x, test.labels)
        rates = {
            extract_features: Rate(int((model(x).argmax(1) == config.target).sum()), len(x))
            for extract_features, x in seen.items()
        }
        rows += [
            [shape, size, extract_features, rate.value, *rate.interval] for extract_features, rate in rates.items()
        ]
        page.section(f"{shape}, {size:.0%} of the image's side").picture(grid_png((ready.patch * ready.mask)[None]))
        page.picture(grid_png(seen["all"][:32], 8), "held-out images that wear it")
    head = ["shape", "size", "view", "seen as the target", "from", "to (95 %)"]
    page.section("Success", "Of the images of other classes that were classified correctly.").table(head, rows)
    table = Table(*head, title=f"{len(test)} held-out images of other classes")
    for row in rows:
        table.add_row(*(str(cell)[:21] if isinstance(cell, str) else f"{cell:.3f}" for cell in row))
    Console().print(table)
    write_atomically(config.out / "results.json", json.dumps([dict(zip(head, row)) for row in rows]).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
