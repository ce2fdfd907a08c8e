"""CycleGAN at 64x64: the lab's loop (loader, image pools, checks, log) against bare steps of the same networks.

python recipes/benchmark_cyclegan.py             # lab / floor: 1.00 means that the loop costs nothing
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Repeats, Side, Steps, Threads, Width
from genlab.core.timing import seconds
from genlab.data import Pair, Stream
from genlab.data.random_images import random_images
from genlab.methods.translation.cyclegan import LSGAN, CycleGAN, CycleGANConfig
from genlab.reporting.finish import finish, records
from genlab.training.loop import fit
from genlab.training.method import TrainOptions

COSTS = ["training", "floor, images/s", "lab, images/s", "lab / floor"]


@dataclass(frozen=True)
class Config:
    """What is timed, and how often."""

    steps: Steps = 10
    """updates per measurement"""
    repeats: Repeats = 5
    """measurements, of which the median is reported"""
    batch: Count = 1
    """images per batch"""
    width: Width = 32
    """channels at full resolution"""
    size: Side = 64
    """height and width of the images"""
    threads: Threads = 1
    """threads of the processor"""
    out: Path = Path("runs/benchmark-cyclegan")
    """folder of the report"""


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    images = random_images(512, (3, config.size, config.size))
    stream = Stream(Pair(images, images), config.batch)
    gan = CycleGANConfig(width=config.width).build(images.shape, 0)
    gan.to(images.device, memory_format=torch.channels_last)
    options = TrainOptions(config.steps * config.batch, config.batch, log_every=10**9)
    floor = partial(bare, gan, *next(stream), config.steps)
    rounds = seconds((floor, partial(fit, gan, stream, options)), config.repeats)

    floor_speed, lab_speed = (options.images / median(times) for times in zip(*rounds))
    ratio = median(floor / lab for floor, lab in rounds)
    rows = [[f"CycleGAN-{config.size}, width {config.width}", floor_speed, lab_speed, ratio]]
    page = genlab.Report("Speed of CycleGAN")
    page.section("Beside bare steps (floor)").table(COSTS, rows)
    finish(config.out, page, records(COSTS, rows))


def bare(gan: CycleGAN, x: Tensor, y: Tensor, steps: int) -> None:
    """So many updates of all four networks, with nothing but the passes that they need."""
    optimizers = gan.train().optimizers()
    for _ in range(steps):
        fake_y, fake_x = gan.G(x), gan.F(y)
        adversarial = (gan.D_Y(fake_y) - 1).square().mean() + (gan.D_X(fake_x) - 1).square().mean()
        cycle = 2 * (l1_loss(gan.F(fake_y), x) + l1_loss(gan.G(fake_x), y))
        descend(optimizers["generators"], adversarial + 10 * cycle, gan.G, gan.F)
        judged_x, judged_y = (gan.D_X(x), gan.D_X(fake_x.detach())), (gan.D_Y(y), gan.D_Y(fake_y.detach()))
        loss = LSGAN.discriminator(*judged_x) + LSGAN.discriminator(*judged_y)
        descend(optimizers["discriminators"], loss, gan.D_X, gan.D_Y)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, *networks: nn.Module) -> None:
    optimizer.zero_grad()
    loss.backward(inputs=[p for network in networks for p in network.parameters()])
    optimizer.step()


if __name__ == "__main__":
    start(main, Config)
