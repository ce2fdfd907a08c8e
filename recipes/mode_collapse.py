"""Which remedies against mode collapse work? `python recipes/mode_collapse.py`, about four minutes on one core."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean, pstdev

import torch

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, LearningRate, Repeats, Steps
from genlab.data import points
from genlab.methods.gan.gan import GAN, GANConfig
from genlab.methods.gan.image_pool import ImagePool
from genlab.methods.gan.unrolled import UnrolledConfig, UnrolledGAN
from genlab.methods.gan.wgan_gp import WGANGP, WGANGPConfig
from genlab.nets.ensemble import GeneratorEnsemble
from genlab.nets.mlp import BatchCritic, MLPCritic, MLPGenerator
from genlab.reporting.plots import curves
from genlab.theory.plane import ModeCoverage, scenes, train_points


@dataclass(frozen=True)
class Config:
    steps: Steps = 1000  # batches seen by each method
    batch: Count = 128
    seeds: Repeats = 3
    looks: Repeats = 5  # how often a generator is measured, on 2000 points
    lr: LearningRate = 2e-3
    out: Path = Path("runs/mode_collapse")


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
    for data, extent in ((points.ring(spread=0.05), 3.0), (points.grid(spread=0.1), 5.5)):
        lines, rows, fakes = {}, [], {}
        for name, make in METHODS.items():
            watches = [ModeCoverage(data) for _ in range(config.seeds)]
            for seed, watch in enumerate(watches):
                torch.manual_seed(seed)
                looks = [(config.looks, watch)]
                train_points(make(config.lr), data, config.steps, config.batch, seed, point_hooks=looks, title=name)
            fakes |= {(name, f"{n:,}"): fake for n, fake in zip(watches[0].images, watches[0].fakes)}
            modes = [[c.modes for c in found] for found in zip(*(watch.coverage for watch in watches))]
            lines[name] = watches[0].images, [*map(mean, modes)], [*map(min, modes)], [*map(max, modes)]
            good = [watch.coverage[-1].quality for watch in watches]
            rows.append((name, *(float(f(v)) for v in (modes[-1], good) for f in (mean, pstdev))))
            print(data.name, *rows[-1])
        page.section(data.name, f"{config.seeds} seeds; bars: lowest and highest; spread: std over seeds.")
        page.picture(curves(lines, x="points seen", y=f"modes covered, of {len(data.centres)}"))
        page.table(["method", "modes", "spread", "share within 3 std", "spread"], rows)
        page.picture(scenes(data.x[:400], fakes, extent=extent), "seed 0; columns: points seen")
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
