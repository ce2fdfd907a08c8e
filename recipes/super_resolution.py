"""Super-resolution: what the GAN adds to the L1 distance, and both to bicubic interpolation, by factor.

python recipes/super_resolution.py                               # rendered digits, minutes on one core
python recipes/super_resolution.py --data mnist --data-root DIR --size 32
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch.nn.functional import avg_pool2d, interpolate

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Length, Range, Seed, Side, Width
from genlab.data import batches
from genlab.data.pairs import paired, task
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.translation.pix2pix import Pix2PixConfig
from genlab.metrics.partner import against_partners
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """Enlarges held-out images by every factor, by interpolation and by networks trained for it."""

    data: str = "glyphs"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    channels: Literal[1, 3] | None = 1
    factors: tuple[Annotated[int, Range(2, 64)], ...] = (2, 4)
    """how many pixels of a side become one"""
    images: Length = 16_000
    """length of every training"""
    width: Width = 16
    """channels at the finest level"""
    classifier_images: Length | None = None
    """training length of the classifier that judges; none: as always"""
    out: Path = Path("runs/super-resolution")
    """folder of the runs and the report"""
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, config.channels, config.data_root)
    train = genlab.TrainOptions(config.images, 8, config.seed, schedule="linear", half_life=5_000)
    plan = {
        (factor, name): genlab.Experiment(
            Pix2PixConfig(f"super-resolution:{factor}", gan, width=config.width, layers=1), data, **vars(train)
        )
        for factor in config.factors
        for name, gan in (("L1 alone", 0.0), ("L1 and GAN", 1.0))
    }
    check_all(plan.values())
    judge, test = default_features(data, images=config.classifier_images), data.load("test")
    page, rows = genlab.Report(f"Super-resolution of {config.data}"), []
    for factor in config.factors:
        pairs = paired(task(f"super-resolution:{factor}"), test)
        small = avg_pool2d(pairs.a.x, factor)
        drawn = {"pixels": pairs.a.x, "bicubic": interpolate(small, scale_factor=factor, mode="bicubic").clamp(0, 1)}
        for name in ("L1 alone", "L1 and GAN"):
            out = config.out / f"{name.replace(' ', '-')}-{factor}"
            trained: Any = plan[factor, name].run(out, pictures=1)
            torch.manual_seed(config.seed)
            drawn[name] = torch.cat([trained.translate(x) for x, _ in batches(pairs.a, 250)])
        found = [{"by": f"{name}, {factor}", **against_partners(x, test, judge)} for name, x in drawn.items()]
        page.section(f"Factor {factor}", f"From above: {', '.join(drawn)}, the original.")
        page.picture(grid_png(torch.cat([x[:16] for x in (*drawn.values(), test.x)]), 16))
        page.table(list(found[0]), [list(row.values()) for row in found])
        rows += found
    for row in rows:
        print("  ".join(f"{name} {value:.4g}" if name != "by" else str(value) for name, value in row.items()))
    write_atomically(config.out / "results.json", json.dumps(rows, indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
