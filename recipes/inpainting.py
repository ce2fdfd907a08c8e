"""Inpainting: a hole filled by pix2pix at once, or by a gated PixelCNN pixel by pixel.

A PixelCNN draws one of the possible fillings, but sees nothing below the pixel that it draws; pix2pix sees all around.

python recipes/inpainting.py                                     # rendered digits, minutes on one core
python recipes/inpainting.py --data mnist --data-root DIR --size 32 --hole 14
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Count, Length, Range, Seed, Side
from genlab.data import Images
from genlab.data.pairs import GREY, Inpainting
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig
from genlab.methods.translation.pix2pix import Pix2PixConfig
from genlab.metrics.features import ClassifierFeatures
from genlab.metrics.partner import against_partners
from genlab.reporting.finish import finish
from genlab.reporting.labelled import picture_png


@dataclass(frozen=True)
class Config:
    """Fills the same holes in held-out images by three methods; the known pixels are kept."""

    data: str = "glyphs"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width in pixels; none: the set's own"""
    channels: Literal[1, 3] | None = 1
    """1 (grey) or 3 (colour); none: the set's own"""
    hole: Side = 8
    """side of the hole, in pixels"""
    images: Length = 16_000
    """length of every training"""
    width: Annotated[int, Range(2, 2**15)] = 16
    """channels of pix2pix at the finest level; the PixelCNN has twice as many"""
    n: Count = 500
    """held-out images"""
    classifier_images: Length | None = None
    """training length of the classifier that judges; none: 60 epochs, at most 100,000"""
    out: Path = Path("runs/inpainting")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of every training and of the holes"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, config.channels, config.data_root)
    translations = {
        "L1 alone": pix2pix(0.0, data, config),
        "L1 and GAN": pix2pix(1.0, data, config),
    }
    completion = pixel_cnn(data, config)
    check_all([*translations.values(), completion])
    judge, test = default_features(data, images=config.classifier_images), data.load("test").subset(slice(0, config.n))
    torch.manual_seed(config.seed)
    hole = Inpainting(config.hole).holes(test.x)

    filled = {"the input": test.x.masked_fill(hole, GREY)}
    for name, experiment in translations.items():
        filled[name] = translated(experiment, config.out / name.replace(" ", "-"), test.x, hole)
    filled["PixelCNN"] = completed(completion, config.out / "PixelCNN", test.x, hole)

    rows = judged(filled, test, judge)
    page = genlab.Report(f"Holes of {config.hole}x{config.hole} in {config.data}")
    kept = ", ".join(f"{row['by']} {row['content preservation']:.0%}" for row in rows)
    page.text(f"Filled images that keep their class: {kept}.")
    page.picture(picture_png(in_rows({**filled, "the original": test.x})))
    page.section("Held-out images").table(list(rows[0]), (row.values() for row in rows))
    finish(config.out, page, rows)


def pix2pix(adversarial: float, data: genlab.DataOptions, config: Config) -> genlab.Experiment:
    """adversarial: weight of the adversarial loss."""
    method = Pix2PixConfig(f"inpainting:{config.hole}", gan=adversarial, width=config.width)
    return genlab.Experiment(method, data, images=config.images, batch=8, seed=config.seed, schedule="linear")


def pixel_cnn(data: genlab.DataOptions, config: Config) -> genlab.Experiment:
    method = AutoregressiveConfig("gated", levels=16, width=2 * config.width, layers=4, lr=2e-3)
    train = {"images": config.images, "batch": 16, "seed": config.seed, "half_life": 5_000, "warmup": 0.0}
    return genlab.Experiment(method, data, **train)


def translated(experiment: genlab.Experiment, out: Path, x: Tensor, hole: Tensor) -> Tensor:
    """x with its holes filled by pix2pix, at once."""
    method: Any = experiment.run(out, pictures=1)
    return torch.where(hole, method.translate(x.masked_fill(hole, GREY)), x)


def completed(experiment: genlab.Experiment, out: Path, x: Tensor, hole: Tensor) -> Tensor:
    """x with its holes filled by the PixelCNN, pixel by pixel."""
    method: Any = experiment.run(out, pictures=1)
    return method.complete(x, ~hole)


def judged(filled: dict[str, Tensor], test: Images, judge: ClassifierFeatures) -> list[dict[str, Any]]:
    """A row per method: error against the originals, FID, and the share that keep their class."""
    return [{"by": name, **against_partners(x, test, judge)} for name, x in filled.items()]


if __name__ == "__main__":
    start(main, Config)
