"""Which remedies against mode collapse work? GANs on points in the plane, whose modes are known.

python recipes/mode_collapse.py                                  # about four minutes on one core
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, LearningRate, Repeats, Seeds, Steps
from genlab.data import points
from genlab.data.points import Points
from genlab.methods.gan.gan import GAN, GANConfig
from genlab.methods.gan.image_pool import ImagePool
from genlab.methods.gan.unrolled import UnrolledConfig, UnrolledGAN
from genlab.methods.gan.wgan_gp import WGANGP, WGANGPConfig
from genlab.nets.ensemble import GeneratorEnsemble
from genlab.nets.mlp import BatchCritic, MLPCritic, MLPGenerator
from genlab.reporting.finish import finish, records
from genlab.reporting.plots import Band, curves
from genlab.reporting.report import spread
from genlab.theory.plane import ModeCoverage, scenes, train_points


@dataclass(frozen=True)
class Config:
    """Counts the modes that every method covers, on a ring of 8 Gaussians and on a grid of 25."""

    steps: Steps = 1000
    """batches seen by each method"""
    batch: Count = 128
    """points per batch"""
    seeds: Seeds = (0, 1, 2)
    """trainings of every method"""
    looks: Repeats = 5
    """how often a generator is measured, on 2000 points"""
    lr: LearningRate = 2e-3
    """learning rate of the networks"""
    out: Path = Path("runs/mode_collapse")
    """folder of the report"""


def gan(lr: float) -> GANConfig:
    return GANConfig(latent=8, lr=lr, lr_generator=lr)


METHODS = {
    "plain": lambda lr: GAN(MLPGenerator(8), MLPCritic(), gan(lr)),
    "minibatch": lambda lr: GAN(MLPGenerator(8), BatchCritic(), gan(lr)),
    "unrolled": lambda lr: UnrolledGAN(
        MLPGenerator(8), MLPCritic(), UnrolledConfig(latent=8, lr=lr / 10, lr_generator=lr)
    ),
    "replay": lambda lr: GAN(MLPGenerator(8), MLPCritic(), gan(lr), ImagePool(5000, (2,))),
    "ensemble of 8": lambda lr: GAN(
        GeneratorEnsemble(MLPGenerator(8, width=24) for _ in range(8)), MLPCritic(), gan(lr)
    ),
    "wgan-gp": lambda lr: WGANGP(MLPGenerator(8), MLPCritic(), WGANGPConfig(latent=8, penalty=0.1, n_critic=2, lr=lr)),
}


def main(config: Config) -> None:
    page = genlab.Report("Mode collapse and its remedies")
    ring = compare(page, points.ring(spread=0.05), 3.0, config)
    grid = compare(page, points.grid(spread=0.1), 5.5, config)
    finish(config.out, page, {"ring": ring, "grid": grid})


def compare(page: genlab.Report, data: Points, extent: float, config: Config) -> list[dict[str, object]]:
    """A section of the page on one set of points, drawn from -extent to extent; returns its table."""
    header = ["method", "modes", "modes ±", "share within 3 std", "share ±"]
    lines, rows, fakes = {}, [], {}
    for name in METHODS:
        watches = [watch(name, data, seed, config) for seed in config.seeds]
        last = [each.coverage[-1] for each in watches]
        rows.append([name, *spread(found.modes for found in last), *spread(found.quality for found in last)])
        lines[name] = modes_over_time(watches)
        fakes |= {(name, f"{seen:,}"): fake for seen, fake in zip(watches[0].images, watches[0].fakes)}
    page.section(data.name, f"{len(config.seeds)} seeds; bars: lowest and highest; ±: standard deviation over seeds.")
    page.picture(curves(lines, x="points seen", y=f"modes covered, of {len(data.centres)}"))
    page.table(header, rows)
    page.picture(scenes(data.x[:400], fakes, extent=extent), "seed 0; columns: points seen")
    return records(header, rows)


def watch(name: str, data: Points, seed: int, config: Config) -> ModeCoverage:
    """The coverage of the modes during one training."""
    found = ModeCoverage(data)
    torch.manual_seed(seed)
    method = METHODS[name](config.lr)
    train_points(method, data, config.steps, config.batch, seed, point_hooks=[(config.looks, found)], title=name)
    return found


def modes_over_time(watches: Sequence[ModeCoverage]) -> Band:
    """Points seen, and mean, lowest and highest number of modes over seeds."""
    counts = list(zip(*([found.modes for found in each.coverage] for each in watches)))  # a row per look
    means = [sum(row) / len(row) for row in counts]
    return watches[0].images, means, [min(row) for row in counts], [max(row) for row in counts]


if __name__ == "__main__":
    start(main, Config)
