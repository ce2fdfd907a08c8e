"""What does the lab add to the bare work? lab / floor = 1.00: the loop (loader, guard, log) costs nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import median
from timeit import timeit

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from genlab.cli import start
from genlab.data import Images, Stream
from genlab.methods.gan import GAN, GANConfig
from genlab.train import Options, fit


@dataclass(frozen=True)
class Config:
    steps: int = 20  # DCGAN steps per measurement
    repeats: int = 5
    batch: int = 64
    threads: int = 1


def noise(n: int, shape: tuple[int, int, int]) -> Images:
    pixels = torch.randint(256, (n, *shape), dtype=torch.uint8)
    return Images(pixels, torch.randint(10, (n,)), tuple("0123456789"), "noise")


def rates(amounts: tuple[int, int], works: tuple[Callable[[], object], ...], repeats: int) -> list[str]:
    """Per second of processor time (of wall time on a GPU): floor, lab, and their ratio; the first round warms up."""
    timer = time.perf_counter if torch.cuda.is_available() else time.process_time
    rounds = []
    for _ in range(repeats + 1):
        rounds.append([n / timeit(work, timer=timer, number=1) for n, work in zip(amounts, works, strict=True)])
    floor, lab = (median(column) for column in zip(*rounds[1:], strict=True))
    return [f"{floor:,.0f}", f"{lab:,.0f}", f"{median(b / a for a, b in rounds[1:]):.3f}"]


def bare(gan: GAN, x: Tensor, steps: int) -> None:
    optimizers = gan.train().optimizers()
    for _ in range(steps):
        fake = gan.generator(torch.randn(len(x), gan.latent))
        optimizers["discriminator"].zero_grad()
        (softplus(-gan.discriminator(x)).mean() + softplus(gan.discriminator(fake.detach())).mean()).backward()
        optimizers["discriminator"].step()
        optimizers["generator"].zero_grad()
        softplus(-gan.discriminator(fake)).mean().backward(inputs=list(gan.generator.parameters()))
        optimizers["generator"].step()


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    table, stream = Table("images/s", "floor", "lab", "lab / floor"), Stream(noise(60_000, (1, 28, 28)), 128)
    theirs = MNIST.__new__(MNIST)  # torchvision's own code on these pixels, without its files
    theirs.data, theirs.targets, theirs.transform = stream.source.pixels[:, 0], stream.source.labels, ToTensor()
    theirs.target_transform = None
    works = (lambda: list(islice(DataLoader(theirs, 128, True), 40)), lambda: [0 for _ in islice(stream, 2000)])
    table.add_row("MNIST loader", *rates((40 * 128, 2000 * 128), works, config.repeats))
    n, shape = config.steps * config.batch, (3, 32, 32)
    gan = GANConfig().build(shape, 10).to(memory_format=torch.channels_last)
    stream, options = Stream(noise(2048, shape), config.batch), Options(n, config.batch, log_every=10**9)
    works = (partial(bare, gan, next(stream)[0], config.steps), partial(fit, gan, stream, options))
    table.add_row("DCGAN-32 training", *rates((n, n), works, config.repeats))
    Console().print(table)


if __name__ == "__main__":
    start(main, Config)
