"""Three flows on one data set: bits per dimension, samples by temperature, interpolation, and invertibility.

python recipes/flow_mnist.py                                     # scikit-learn's digits, minutes on one core
python recipes/flow_mnist.py --data mnist --data-root DIR --images 200000 --batch 32
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, LearningRate, Length, Positive, Seed
from genlab.data import Images
from genlab.experiment import check_all
from genlab.methods.likelihood.flow import FlowConfig
from genlab.nets.glow import FlowName
from genlab.reporting.finish import finish, records
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """Trains NICE, RealNVP and Glow, and draws from them."""

    data: genlab.DataOptions = field(default_factory=genlab.DataOptions)
    """which images"""
    nets: tuple[FlowName, ...] = ("nice", "realnvp", "glow")
    """the flows to train"""
    images: Length = 40_000
    """length of each training"""
    batch: Count = 32
    """images per batch"""
    lr: LearningRate = 2e-3
    """learning rate of Adam"""
    temperatures: tuple[Positive, ...] = (0.5, 0.7, 1.0)
    """standard deviations of the latents of the samples"""
    out: Path = Path("runs/flows")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of every training and sample"""


def main(config: Config) -> None:
    experiments = {net: experiment(net, config) for net in config.nets}
    check_all(experiments.values())
    test = config.data.load("test")
    page = genlab.Report(f"Flows on {config.data.data}")
    header = ["flow", "nats per image", "bits/dim", "largest error of reconstruction, in 8-bit levels"]
    rows = []
    for net, each in experiments.items():
        flow: Any = each.run(config.out / net, pictures=1)
        figures = genlab.Run(config.out / net).results()
        rows.append([net, figures["nats"], figures["bits_per_dim"], reconstruction_error(flow, test)])
        page.section(net, f"{figures['bits_per_dim']:.2f} bits per dimension of 8-bit images.")
        show(page, flow, test, config)
    page.section("Likelihood", "Bounds of -log P of held-out 8-bit images, by uniform dequantisation.")
    page.table(header, rows)
    finish(config.out, page, records(header, rows))


def experiment(net: FlowName, config: Config) -> genlab.Experiment:
    method = FlowConfig(net=net, lr=config.lr)
    return genlab.Experiment(method, config.data, images=config.images, batch=config.batch, seed=config.seed)


@torch.no_grad()
def reconstruction_error(flow: Any, test: Images) -> float:
    """Largest |inverse(forward(x)) - x| of a pixel of the test images, in levels of 1/255."""
    return float((flow.reconstruct(test.x) - test.x).abs().max() * 255)


@torch.no_grad()
def show(page: genlab.Report, flow: Any, test: Images, config: Config) -> None:
    """Samples by temperature, and interpolations between eight pairs of test images."""
    torch.manual_seed(config.seed)
    for temperature in config.temperatures:
        page.picture(grid_png(flow.sample(64, temperature)), f"temperature {temperature}")
    x = test.subset(slice(0, 16)).x
    page.picture(grid_png(flow.interpolate(x[:8], x[8:], 9), 9), "interpolation between test images")


if __name__ == "__main__":
    start(main, Config)
