"""Super-resolution: what the adversarial loss adds to the L1 loss, and both to bicubic interpolation, by factor.

python recipes/super_resolution.py                               # rendered digits, minutes on one core
python recipes/super_resolution.py --data mnist --data-root DIR --size 32
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Length, NonEmpty, Range, Seed, Side, Width
from genlab.core.text import listed
from genlab.data import Images, batches
from genlab.data.pairs import paired, task
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.translation.pix2pix import Pix2PixConfig
from genlab.metrics.partner import against_partners
from genlab.reporting.finish import finish
from genlab.reporting.labelled import picture_png
from genlab.reporting.plots import bars

LOSSES = {"L1 alone": 0.0, "L1 and GAN": 1.0}  # weight of the adversarial loss


@dataclass(frozen=True)
class Config:
    """Enlarges held-out images by every factor, by interpolation and by networks trained for it."""

    data: str = "glyphs"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width in pixels; none: the set's own"""
    channels: Literal[1, 3] | None = 1
    """1 (grey) or 3 (colour); none: the set's own"""
    factors: NonEmpty[Annotated[int, Range(2, 64)]] = (2, 4)
    """how many pixels of a side become one"""
    images: Length = 16_000
    """length of every training"""
    width: Width = 16
    """channels at the finest level"""
    classifier_images: Length | None = None
    """length of the training of the classifier that judges; none: 60 epochs, at most 100,000 images"""
    out: Path = Path("runs/super-resolution")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of every training"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, config.channels, config.data_root)
    plan = {(factor, name): experiment(data, factor, name, config) for factor in config.factors for name in LOSSES}
    check_all(plan.values())
    judge, test = default_features(data, images=config.classifier_images), data.load("test")
    page = genlab.Report(f"Super-resolution of {config.data}")
    results = []
    for factor in config.factors:
        small = paired(task(f"super-resolution:{factor}"), test).a  # at the size of the originals
        enlarged = interpolated(small.x, factor)
        for name in LOSSES:
            trained = plan[factor, name].run(config.out / f"{name.replace(' ', '-')}-{factor}", pictures=1)
            enlarged[name] = translated(trained, small, config.seed)
        rows = [{"by": name, "factor": factor, **against_partners(x, test, judge)} for name, x in enlarged.items()]
        page.section(f"Factor {factor}").picture(picture_png(in_rows({**enlarged, "the original": test.x})))
        page.table(list(rows[0]), [list(row.values()) for row in rows])
        results += rows
    kept = {f"{row['by']} × {row['factor']}": row["content preservation"] for row in results}
    page.opening(
        "Share of the enlarged images that keep their class, by what enlarged them and by the factor: "
        f"{listed(kept, '.0%')}.",
        bars({name: [share] for name, share in kept.items()}, x="class kept"),
    )
    finish(config.out, page, results)


def experiment(data: genlab.DataOptions, factor: int, loss: str, config: Config) -> genlab.Experiment:
    method = Pix2PixConfig(f"super-resolution:{factor}", gan=LOSSES[loss], width=config.width, layers=1)
    training: dict[str, Any] = {"batch": 8, "schedule": "linear", "half_life": 5_000}
    return genlab.Experiment(method, data, images=config.images, seed=config.seed, **training)


def interpolated(x: Tensor, factor: int) -> dict[str, Tensor]:
    """Enlarged without learning; x (N, C, H, W) has squares of `factor` equal pixels."""
    bicubic = interpolate(avg_pool2d(x, factor), scale_factor=factor, mode="bicubic")
    return {"pixels": x, "bicubic": bicubic.clamp(0, 1)}


def translated(trained: Any, images: Images, seed: int) -> Tensor:
    torch.manual_seed(seed)  # the generator draws noise
    return torch.cat([trained.translate(x) for x, _ in batches(images, 250)])


if __name__ == "__main__":
    start(main, Config)
