"""Which remedies against mode collapse work? GANs on points in the plane, whose modes are known.

The networks and rates of Metz et al. 2017 (arXiv:1611.02163, section 3.1), at which a plain GAN collapses: two layers
of 128 units, the generator learns ten times as fast as the discriminator. Every method has the same number of batches.

python recipes/mode_collapse.py                                  # minutes on one core
python recipes/mode_collapse.py --methods plain packs --seeds 0 1 2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, LearningRate, NonEmpty, Repeats, Seeds, Steps
from genlab.core.registry import choose
from genlab.core.text import counted
from genlab.data import points
from genlab.data.points import Points
from genlab.methods.gan.adversarial import Packed
from genlab.methods.gan.gan import GAN, GANConfig
from genlab.methods.gan.image_pool import ImagePool
from genlab.methods.gan.unrolled import UnrolledConfig, UnrolledGAN
from genlab.methods.gan.wgan_gp import WGANGP, WGANGPConfig
from genlab.nets.ensemble import GeneratorEnsemble
from genlab.nets.mlp import BatchCritic, MLPCritic, MLPGenerator
from genlab.reporting.finish import finish, records
from genlab.reporting.plots import Band, curves
from genlab.reporting.spread import spread
from genlab.theory.plane import ModeCoverage, scenes, train_points

LATENT, WIDTH, PACK = 8, 128, 2


def generator(width: int = WIDTH) -> MLPGenerator:
    return MLPGenerator(LATENT, width=width)


def gan(net: Any, critic: Any, lr: float, replay: ImagePool | None = None) -> GAN:
    return GAN(net, critic, GANConfig(latent=LATENT, lr=lr / 10, lr_generator=lr), replay)


def unrolled(lr: float) -> UnrolledGAN:
    config = UnrolledConfig(latent=LATENT, lr=lr / 10, lr_generator=lr)
    return UnrolledGAN(generator(), MLPCritic(width=WIDTH), config)


def wgan_gp(lr: float) -> WGANGP:
    config = WGANGPConfig(latent=LATENT, penalty=0.1, n_critic=2, lr=lr)
    return WGANGP(generator(), MLPCritic(width=WIDTH), config)


METHODS: dict[str, Callable[[float, int], Any]] = {  # (learning rate, number of modes) -> untrained method
    "plain": lambda lr, _: gan(generator(), MLPCritic(width=WIDTH), lr),
    "minibatch": lambda lr, _: gan(generator(), BatchCritic(width=WIDTH), lr),
    "packs": lambda lr, _: gan(generator(), Packed(MLPCritic(2 * PACK, WIDTH), PACK), lr),
    "unrolled": lambda lr, _: unrolled(lr),
    "replay": lambda lr, _: gan(generator(), MLPCritic(width=WIDTH), lr, ImagePool(5000, (2,))),
    "ensemble": lambda lr, modes: gan(
        GeneratorEnsemble(generator(24) for _ in range(modes)), MLPCritic(width=WIDTH), lr
    ),
    "wgan-gp": lambda lr, _: wgan_gp(lr),
}


@dataclass(frozen=True)
class Config:
    """Counts the modes that every method covers, on a ring of 8 Gaussians and on a grid of 25."""

    methods: NonEmpty[str] = tuple(METHODS)
    """plain minibatch packs unrolled replay ensemble wgan-gp; packs: PacGAN; ensemble: a small generator per mode"""
    sets: NonEmpty[Literal["ring", "grid"]] = ("ring", "grid")
    """of points: a ring of 8 Gaussians, a grid of 25"""
    steps: Steps = 2000
    """batches seen by each method"""
    batch: Count = 128
    """points per batch; even, for packs"""
    seeds: Seeds = (0,)
    """trainings of every method"""
    looks: Repeats = 5
    """how often a generator is measured, on 2000 points"""
    lr: LearningRate = 2e-3
    """learning rate of the generator; that of the discriminator is a tenth of it, in WGAN-GP the same"""
    out: Path = Path("runs/mode_collapse")
    """folder of the report"""


def main(config: Config) -> None:
    names = [choose(name, METHODS, "method") for name in config.methods]
    if "packs" in names and config.batch % PACK:
        raise ValueError(f"--batch must be a multiple of {PACK} for packs, got {config.batch}")
    known = {"ring": (points.ring(spread=0.05), 3.0), "grid": (points.grid(gap=0.7, spread=0.035), 2.0)}
    sets = {kind: known[kind] for kind in config.sets}
    header = ["method", "modes", "modes (sd)", "share within 3 std", "share (sd)"]
    page, results = genlab.Report("Mode collapse and its remedies"), {}
    watches = {kind: {name: watched(name, data, config) for name in names} for kind, (data, _) in sets.items()}
    for kind, (data, _) in sets.items():
        results[kind] = records(header, [summary(name, found) for name, found in watches[kind].items()])
        modes = ", ".join(f"{row['method']} {row['modes']:.3g}" for row in results[kind])
        page.text(f"Modes covered of the {data.name}: {modes}.")
    for kind, (data, extent) in sets.items():
        page.section(data.name, "The first seed; columns: points seen. Black: real, pink: generated.")
        fakes = {
            (name, f"{seen:,}"): fake
            for name, found in watches[kind].items()
            for seen, fake in zip(found[0].images, found[0].fakes)
        }
        page.picture(scenes(data.x[:400], fakes, extent=extent))
        page.text(
            f"{counted(config.seeds)}; bands: lowest and highest; ±: standard deviation over seeds. A mode counts if "
            "it has a tenth of its share of points within three standard deviations."
        )
        lines = {name: modes_over_time(found) for name, found in watches[kind].items()}
        page.picture(curves(lines, x="points seen", y=f"modes covered, of {len(data.centres)}"))
        page.table(header, [row.values() for row in results[kind]])
    finish(config.out, page, results)


def watched(name: str, data: Points, config: Config) -> list[ModeCoverage]:
    """The coverage of the modes during one training per seed."""
    return [watch(name, data, seed, config) for seed in config.seeds]


def summary(name: str, watches: Sequence[ModeCoverage]) -> list[Any]:
    last = [each.coverage[-1] for each in watches]
    return [name, *spread(found.modes for found in last), *spread(found.quality for found in last)]


def watch(name: str, data: Points, seed: int, config: Config) -> ModeCoverage:
    """The coverage of the modes during one training."""
    found = ModeCoverage(data)
    torch.manual_seed(seed)
    method = METHODS[name](config.lr, len(data.centres))
    train_points(method, data, config.steps, config.batch, seed, point_hooks=[(config.looks, found)], title=name)
    return found


def modes_over_time(watches: Sequence[ModeCoverage]) -> Band:
    """Points seen, and mean, lowest and highest number of modes over seeds."""
    counts = list(zip(*([found.modes for found in each.coverage] for each in watches)))  # a row per look
    means = [sum(row) / len(row) for row in counts]
    return watches[0].images, means, [min(row) for row in counts], [max(row) for row in counts]


if __name__ == "__main__":
    start(main, Config)
