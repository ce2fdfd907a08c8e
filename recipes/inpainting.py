"""Inpainting: a hole filled at one go by pix2pix, or pixel after pixel by a gated PixelCNN.

python recipes/inpainting.py                                     # rendered digits, minutes on one core
python recipes/inpainting.py --data mnist --data-root DIR --size 32 --hole 14

A PixelCNN draws one of the possible fillings, but sees nothing below the pixel that it draws; pix2pix sees all around.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Length, Range, Seed, Side
from genlab.data.pairs import GREY, Inpainting
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig
from genlab.methods.translation.pix2pix import Pix2PixConfig
from genlab.metrics.partner import against_partners
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """Fills the same holes in held-out images by three methods; what is known stays as it is."""

    data: str = "glyphs"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    channels: Literal[1, 3] | None = 1
    hole: Side = 8
    """side of the hole, in pixels"""
    images: Length = 16_000
    """length of every training"""
    width: Annotated[int, Range(2, 2**15)] = 16
    """channels of pix2pix at the finest level; the PixelCNN has twice as many"""
    n: Count = 500
    """held-out images"""
    classifier_images: Length | None = None
    """training length of the classifier that judges; none: as always"""
    out: Path = Path("runs/inpainting")
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, config.channels, config.data_root)
    train = genlab.TrainOptions(config.images, 8, config.seed, schedule="linear", half_life=5_000)
    task = f"inpainting:{config.hole}"
    games = {"L1 alone": 0.0, "L1 and GAN": 1.0}
    plan = {
        n: genlab.Experiment(Pix2PixConfig(task, gan, width=config.width), data, **vars(train))
        for n, gan in games.items()
    }
    pixels = AutoregressiveConfig("gated", levels=16, width=2 * config.width, layers=4, lr=2e-3)
    train = genlab.TrainOptions(config.images, 16, config.seed, schedule="cosine", half_life=5_000, clip=100.0)
    pixel_cnn = genlab.Experiment(pixels, data, **vars(train))
    check_all([*plan.values(), pixel_cnn])
    judge, test = default_features(data, images=config.classifier_images), data.load("test").subset(slice(config.n))
    torch.manual_seed(config.seed)
    hole = Inpainting(config.hole).holes(test.x)
    x = test.x.masked_fill(hole, GREY)
    drawn = {"the input": x}
    for name, each in plan.items():
        filler: Any = each.run(config.out / name.replace(" ", "-"), pictures=1)
        drawn[name] = torch.where(hole, filler.translate(x), x)
    model: Any = pixel_cnn.run(config.out / "PixelCNN", pictures=1)
    drawn["PixelCNN"] = model.complete(test.x, ~hole)
    rows = [{"by": name, **against_partners(filled, test, judge)} for name, filled in drawn.items()]
    page = genlab.Report(f"Holes of {config.hole}x{config.hole} in {config.data}")
    page.table(list(rows[0]), [list(row.values()) for row in rows])
    page.section("Pictures", f"From above: {', '.join(drawn)}, the original.")
    page.picture(grid_png(torch.cat([image[:16] for image in (*drawn.values(), test.x)]), 16))
    for row in rows:
        print("  ".join(f"{name} {value:.4g}" if name != "by" else value for name, value in row.items()))
    write_atomically(config.out / "results.json", json.dumps(rows, indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
