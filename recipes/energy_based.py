"""EBGAN, whose discriminator is an auto-encoder: with and without margin, trained beforehand or not, beside a GAN.

The auto-encoder learns from real images alone, before there are good fakes, or before the generator begins. Without the
margin it raises the energy of fakes without limit, which costs it the reconstruction of real images.

python recipes/energy_based.py                                        # rendered digits, minutes on one core
python recipes/energy_based.py --data mnist --data-root DIR --images 100000
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Length, Seed, Width
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.gan.ebgan import EBGANConfig
from genlab.methods.gan.gan import GANConfig
from genlab.metrics.extract import samples
from genlab.metrics.hook import MetricHook
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import labelled_grid_png
from genlab.reporting.plots import curves

EBGAN = EBGANConfig(lr=1e-3, pull_away=0.1)
MODELS: dict[str, Any] = {
    "GAN": GANConfig(hidden=0, lr_generator=2e-4),  # DCGAN's own settings
    "EBGAN": EBGAN,
    "EBGAN, pre-trained": replace(EBGAN, pretraining=0.2),
    "EBGAN, no margin": replace(EBGAN, margin=None),
}
LOOKS, SHOWN = 5, 2  # times when samples are measured, and how many are shown of each model


@dataclass(frozen=True)
class Config:
    """Compares EBGANs and a GAN early in training."""

    data: genlab.DataOptions = field(default_factory=lambda: genlab.DataOptions("glyphs", size=16, channels=1))
    """which images; with --hold-out, validation images are measured in place of test images"""
    images: Length = 20_000
    """length of each training, pre-training included"""
    width: Width = 16
    """channels of the networks at the finest level"""
    classifier_images: Length | None = None
    """training length of the classifier whose features FID compares; none: 60 epochs, at most 100,000"""
    seed: Seed = 0
    """of each training"""
    out: Path = Path("runs/energy-based")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    plan = {name: experiment(method, config) for name, method in MODELS.items()}
    check_all(plan.values())
    features = default_features(config.data, images=config.classifier_images)
    held_out = config.data.load("validation" if config.data.hold_out else "test")
    figure, every = f"FID[{features.name}]", max(1, config.images // LOOKS)
    rows, early, fids, energies = [], [], {}, {}
    for name, each in plan.items():
        out = config.out / name.lower().replace(", ", "-").replace(" ", "-")
        fid, look = MetricHook(out, features, held_out), Look()
        each.run(out, [(every, fid), (every, look)], pictures=1)
        early += look.rows
        fids[name] = [row["images"] for row in fid.rows], [row[figure] for row in fid.rows]
        if name != "GAN":
            log = [row for row in genlab.Run(out).metrics() if "energy_real" in row]
            energies[name] = [row["images"] for row in log], [row["energy_real"] for row in log]
        rows += [(name, row["images"], row[figure]) for row in fid.rows]

    at = [f"{images:,}" for images in next(iter(fids.values()))[0]]
    page = genlab.Report(f"Energy-based GANs on {config.data.data}")
    page.text(
        f"{figure} after {at[0]} and {at[-1]} images: "
        + "; ".join(f"{name} {values[0]:.0f}, {values[-1]:.0f}" for name, (_, values) in fids.items())
        + ". Columns of the picture: images seen."
    )
    names = [text for name in MODELS for text in (name, *[""] * (SHOWN - 1))]
    page.picture(labelled_grid_png(torch.cat(early), len(at), rows=names, heads=at))
    page.section("Samples and reconstruction", "The energy of real images is the error of their reconstruction.")
    page.picture(curves(fids, x="real images seen", y=figure))
    page.picture(curves(energies, x="real images seen", y="energy of real images", log=True))
    header = ["model", "images", "FID"]
    page.table(header, rows)
    finish(config.out, page, records(header, rows))


def experiment(method: Any, config: Config) -> genlab.Experiment:
    how: Any = {"images": config.images, "batch": 32, "seed": config.seed, "log_every": max(1, config.images // 50)}
    return genlab.Experiment(replace(method, width=config.width), config.data, half_life=1000, **how)


class Look:
    """A hook for `fit`: keeps the same SHOWN samples at every call; survives a restart."""

    def __init__(self) -> None:
        self.columns: list[Tensor] = []

    def __call__(self, images: int, method: Any) -> None:
        self.columns.append(next(samples(method.sample, SHOWN)))

    @property
    def rows(self) -> list[Tensor]:
        """A sample each, (times, C, H, W)."""
        return list(torch.stack(self.columns, 1))

    def state_dict(self) -> dict[str, Any]:
        return {"columns": self.columns}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.columns = state["columns"]


if __name__ == "__main__":
    start(main, Config)
