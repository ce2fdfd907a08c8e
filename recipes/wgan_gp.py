"""WGAN-GP with two pairs of networks: critic distance, gradient norms on the lines between real and fake, samples.

python recipes/wgan_gp.py                                        # scikit-learn's digits, minutes on one core
python recipes/wgan_gp.py --data mnist --images 3000000          # the same on MNIST
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import LearningRate, Length, Seed, Width
from genlab.experiment import check_all
from genlab.methods.gan.losses import gradient_norms
from genlab.methods.gan.wgan_gp import WGANGPConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.plots import Curve, curves


@dataclass(frozen=True)
class Config:
    """Train a Wasserstein GAN with gradient penalty and measure its critic."""

    data: str = "digits"
    """digits, mnist, fashion, folder:PATH, ...; `genlab list` names all"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    out: Path | None = None
    """folder of the runs and the report; none: runs/wgan-gp-DATA"""
    nets: tuple[Literal["dcgan", "resnet"], ...] = ("dcgan", "resnet")
    """architectures to train"""
    images: Length = 100_000
    """length of the training of each, in real images"""
    width: Width = 32
    """channels of the networks"""
    lr: LearningRate = 5e-4
    """learning rate of both Adams"""
    seed: Seed = 0
    """of each training"""


def main(config: Config) -> None:
    out = config.out or Path("runs") / f"wgan-gp-{config.data.replace(':', '-').replace('/', '-')}"
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    plan = {net: experiment(net, data, config) for net in config.nets}
    check_all(plan.values())
    real = data.load("test").subset(slice(0, 500)).x
    header = ["net", "distance", "gradient norm", "deviation"]
    rows, training, histograms, grids = [], {}, {}, {}
    for net, each in plan.items():
        trained: Any = each.run(out / net)
        distance, norms = critic_on(trained, real)
        rows.append([net, distance, norms.mean().item(), norms.std().item()])
        histograms[net] = histogram(norms)
        log = genlab.Run(out / net).metrics()
        training[net] = ([row["images"] for row in log], [row["distance"] for row in log])
        grids[net] = genlab.Run(out / net).samples()[-1]

    page = genlab.Report(f"WGAN-GP on {config.data}")
    page.section(
        "Critic",
        "Gradient norms at random points between held-out and generated images; the penalty aims at 1.",
    )
    page.table(header, rows)
    page.picture(curves(training, x="images", y="critic distance"), "critic distance in training")
    page.picture(curves(histograms, x="gradient norm", y="share"), "histogram of gradient norms")
    page.section("Samples")
    for net, grid in grids.items():
        page.picture(grid, net)
    finish(out, page, records(header, rows))


def experiment(net: Literal["dcgan", "resnet"], data: genlab.DataOptions, config: Config) -> genlab.Experiment:
    method = WGANGPConfig(net=net, width=config.width, lr=config.lr)
    every = max(1, config.images // 50)
    return genlab.Experiment(method, data, images=config.images, seed=config.seed, half_life=10_000, log_every=every)


def critic_on(trained: Any, real: Tensor) -> tuple[float, Tensor]:
    """The critic's distance between `real` and as many samples, and its gradient norms between them, (N,)."""
    with torch.no_grad():
        fake = trained.sample(len(real))
        distance = trained.critic(real).mean() - trained.critic(fake).mean()
    return distance.item(), gradient_norms(trained.critic, real, fake).detach()


def histogram(norms: Tensor, bins: int = 40, most: float = 2.0) -> Curve:
    """The middles of the bins from 0 to `most`, and the share of the norms in each."""
    middles = [(i + 0.5) * most / bins for i in range(bins)]
    return middles, (torch.histc(norms, bins, 0.0, most) / len(norms)).tolist()


if __name__ == "__main__":
    start(main, Config)
