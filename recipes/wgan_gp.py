"""WGAN-GP with two pairs of networks: critic distance, gradient norms on the lines between real and fake, samples.

python recipes/wgan_gp.py                                        # scikit-learn's digits, minutes on one core
python recipes/wgan_gp.py --data mnist --images 3000000          # the same on MNIST
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import LearningRate, Length, Seed, Width
from genlab.experiment import check_all
from genlab.methods.gan.losses import gradient_norms
from genlab.methods.gan.wgan_gp import WGANGPConfig
from genlab.reporting.plots import curves


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


def main(config: Config) -> None:
    out = config.out or Path("runs") / f"wgan-gp-{config.data.replace(':', '-').replace('/', '-')}"
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    every = max(1, config.images // 50)
    train = genlab.TrainOptions(config.images, seed=config.seed, half_life=10_000, log_every=every)
    methods = {net: WGANGPConfig(net=net, width=config.width, lr=config.lr) for net in config.nets}
    plan = {net: genlab.Experiment(method, data, **vars(train)) for net, method in methods.items()}
    check_all(plan.values())
    real = data.load("test").subset(slice(0, 500)).x
    rows: list[tuple[Any, ...]] = []
    distances, histograms, grids = {}, {}, {}
    for net, each in plan.items():
        method: Any = each.run(out / net)
        with torch.no_grad():
            fake = method.sample(len(real))
            distance = method.critic(real).mean() - method.critic(fake).mean()
        norms = gradient_norms(method.critic, real, fake).detach()
        rows.append((net, distance.item(), norms.mean().item(), norms.std().item()))
        print("{}: critic distance {:.3f}, gradient norm {:.3f} ± {:.3f}".format(*rows[-1]))
        share = torch.histc(norms, 40, 0.0, 2.0) / len(norms)
        histograms[net] = ([i / 20 + 0.025 for i in range(40)], share.tolist())
        run = genlab.Run(out / net)
        distances[net] = [[row[name] for row in run.metrics()] for name in ("images", "distance")]
        grids[net] = run.samples()[-1]

    results = [dict(zip(("net", "distance", "gradient norm", "deviation"), row)) for row in rows]
    write_atomically(out / "results.json", json.dumps(results, indent=1).encode())
    page = genlab.Report(f"WGAN-GP on {config.data}")
    page.section(
        "Critic", "At random points between held-out and generated images; the penalty aims at gradient norm 1."
    )
    page.table(["networks", "distance", "mean gradient norm", "deviation"], rows)
    page.picture(curves(distances, x="images", y="critic distance"), "critic distance while training")
    page.picture(curves(histograms, x="gradient norm", y="share"), "histogram of gradient norms").section("Samples")
    for net, grid in grids.items():
        page.picture(grid, net)
    print(f"report {page.save(out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
