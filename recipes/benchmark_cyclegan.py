"""CycleGAN at 64x64: the lab's loop (loader, pools, guard, log) against bare steps of the same nets; 1.00: free."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from genlab.cli.main import start
from genlab.core.ranges import Count, Repeats, Side, Steps, Threads, Width
from genlab.core.text import Console
from genlab.core.timing import seconds
from genlab.data import Pair, Stream
from genlab.data.random_images import random_images
from genlab.methods.translation.cyclegan import LSGAN, CycleGAN, CycleGANConfig
from genlab.training.loop import fit
from genlab.training.method import TrainOptions


@dataclass(frozen=True)
class Config:
    steps: Steps = 10  # per measurement
    repeats: Repeats = 5
    batch: Count = 1
    width: Width = 32
    size: Side = 64
    threads: Threads = 1


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, *networks: nn.Module) -> None:
    optimizer.zero_grad()
    loss.backward(inputs=[p for network in networks for p in network.parameters()])
    optimizer.step()


def bare(gan: CycleGAN, x: Tensor, y: Tensor, steps: int) -> None:
    optimizers = gan.train().optimizers()
    for _ in range(steps):
        fake_y, fake_x = gan.G(x), gan.F(y)
        game = (gan.D_Y(fake_y) - 1).square().mean() + (gan.D_X(fake_x) - 1).square().mean()
        cycle = 2 * (l1_loss(gan.F(fake_y), x) + l1_loss(gan.G(fake_x), y))
        descend(optimizers["generators"], game + 10 * cycle, gan.G, gan.F)
        judged_x, judged_y = (gan.D_X(x), gan.D_X(fake_x.detach())), (gan.D_Y(y), gan.D_Y(fake_y.detach()))
        loss = LSGAN.discriminator(*judged_x) + LSGAN.discriminator(*judged_y)
        descend(optimizers["discriminators"], loss, gan.D_X, gan.D_Y)


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    images = random_images(512, (3, config.size, config.size))
    stream, n = Stream(Pair(images, images), config.batch), config.steps * config.batch
    gan = CycleGANConfig(width=config.width).build(images.shape, 0)
    gan.to(images.device, memory_format=torch.channels_last)
    options = TrainOptions(n, config.batch, log_every=10**9)
    works = (partial(bare, gan, *next(stream), config.steps), partial(fit, gan, stream, options))
    rounds = seconds(works, config.repeats)
    floor, lab = (n / median(column) for column in zip(*rounds))
    table = Table("images/s", "floor", "lab", "lab / floor")
    name = f"CycleGAN-{config.size}, width {config.width}"
    table.add_row(name, f"{floor:.3g}", f"{lab:.3g}", f"{median(a / b for a, b in rounds):.3f}")
    Console().print(table)


if __name__ == "__main__":
    start(main, Config)
