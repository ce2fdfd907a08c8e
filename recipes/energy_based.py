"""EBGAN, whose discriminator is an auto-encoder: with and without margin, trained beforehand or not, beside a GAN.

The auto-encoder can learn from real images alone, before the generator begins. Without the margin it raises the energy
of fakes as far as it goes, and the generator never catches up.

python recipes/energy_based.py                                        # rendered digits, minutes on one core
python recipes/energy_based.py --data mnist --data-root DIR --images 100000
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Length, Range, Seed, Width
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.gan.ebgan import EBGANConfig
from genlab.methods.gan.gan import GANConfig
from genlab.metrics.extract import samples
from genlab.metrics.hook import MetricHook
from genlab.reporting.finish import finish
from genlab.reporting.labelled import labelled_grid_png
from genlab.reporting.plots import curves

LOOKS, SHOWN = 6, 2  # times when samples are measured, and how many are shown of each model
RATE = 4e-3  # of all models; with the margin, chosen on validation images
EBGAN = EBGANConfig(lr=RATE, margin=0.02, pull_away=0.1)
MODELS: dict[str, Any] = {
    "GAN": GANConfig(hidden=0, lr=RATE, lr_generator=RATE),
    "EBGAN": EBGAN,
    "EBGAN, pre-trained": replace(EBGAN, pretraining=1 / LOOKS),
    "EBGAN, no margin": replace(EBGAN, margin=None),
}
KINDS = ("real", "fake")


@dataclass(frozen=True)
class Config:
    """Compares EBGANs and a GAN early in training."""

    data: genlab.DataOptions = field(default_factory=lambda: genlab.DataOptions("glyphs", size=16, channels=1))
    """which images; with --hold-out, validation images are measured in place of test images"""
    images: Length = 9_600
    """length of each training, pre-training included"""
    width: Width = 16
    """channels of the networks at the finest level"""
    n: Annotated[int, Range(2, 10**6)] = 1000
    """samples per FID"""
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
    rows: list[dict[str, Any]] = []
    looks, energies = [], {}
    for name, each in plan.items():
        out = config.out / name.lower().replace(", ", "-").replace(" ", "-")
        fid, look = MetricHook(out, features, held_out, n=config.n), Look()
        each.run(out, [(every, fid), (every, look)], pictures=1)
        looks += look.rows
        log = [row for row in genlab.Run(out).metrics() if "energy_real" in row]
        if log:  # of an EBGAN
            energies[name] = [row["images"] for row in log], [row["energy_real"] for row in log]
        beforehand = round(getattr(MODELS[name], "pretraining", 0) * config.images)
        for row in fid.rows:
            images = row["images"]
            found = {"model": name, "images": images, "of the generator": max(0, images - beforehand)}
            period = [row for row in log if images - every < row["images"] <= images]
            energy = {f"energy, {kind}": mean(row[f"energy_{kind}"] for row in period) for kind in KINDS if period}
            rows.append(found | {"FID": row[figure]} | energy)

    fids = {}
    for name in MODELS:
        own = [row for row in rows if row["model"] == name]
        fids[name] = [row["of the generator"] for row in own], [row["FID"] for row in own]
    at = [f"{row['images']:,}" for row in rows[:LOOKS]]
    page = genlab.Report(f"Energy-based GANs on {config.data.data}")
    early_fid = {row["model"]: row["FID"] for row in reversed(rows) if row["of the generator"] >= 2 * every}
    last_fid = {row["model"]: row["FID"] for row in rows}  # the later rows win
    page.text(
        f"{figure} after {2 * every:,} images of the generator, and at the end: "
        + "; ".join(f"{name} {early_fid[name]:.0f}, {last_fid[name]:.0f}" for name in MODELS)
        + ". Columns: images seen, those of the training beforehand included; two samples of each model."
    )
    names = [text for name in MODELS for text in (name, *[""] * (SHOWN - 1))]
    page.picture(labelled_grid_png(torch.cat(looks), len(at), rows=names, heads=at))
    page.section(
        "Early images",
        "Counted from the start of the generator, whose discriminator may have been trained before.",
    )
    page.picture(curves(fids, x="images since the generator began", y=figure, log=True))
    page.section(
        "Energy",
        "The energy of real images is the error of their reconstruction; of fakes, it is raised up to the margin, or "
        "as far as it goes.",
    )
    page.picture(curves(energies, x="images seen", y="energy of real images", log=True))
    header = ["model", "images", "of the generator", "FID", *(f"energy, {kind}" for kind in KINDS)]
    page.table(header, [[row.get(name) for name in header] for row in rows])
    finish(config.out, page, rows)


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
