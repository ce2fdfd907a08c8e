"""What does the lab add to the bare work? lab / floor = 1.00: the loop (loader, guard, log) costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlab.cli.main import start
from genlab.core.ranges import Count, Repeats, Steps, Threads
from genlab.core.text import Console
from genlab.core.timing import seconds
from genlab.data import Stream
from genlab.data.random_images import random_images
from genlab.methods.gan.gan import GAN, GANConfig
from genlab.methods.gan.wgan_gp import WGANGP, WGANGPConfig
from genlab.training.loop import fit
from genlab.training.method import TrainOptions


@dataclass(frozen=True)
class Config:
    steps: Steps = 20  # discriminator steps per measurement, a multiple of 5
    repeats: Repeats = 5
    batch: Count = 64
    threads: Threads = 1


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, network: nn.Module) -> None:
    optimizer.zero_grad()
    loss.backward(inputs=list(network.parameters()))
    optimizer.step()


def bare_gan(gan: GAN, x: Tensor, steps: int) -> None:
    optimizers, discriminator = gan.train().optimizers(), gan.discriminator
    for _ in range(steps):
        fake = gan.generator(torch.randn(len(x), gan.latent, device=x.device))
        loss = softplus(-discriminator(x)).mean() + softplus(discriminator(fake.detach())).mean()
        descend(optimizers["discriminator"], loss, discriminator)
        descend(optimizers["generator"], softplus(-discriminator(fake)).mean(), gan.generator)


def bare_wgan_gp(gan: WGANGP, x: Tensor, steps: int) -> None:
    optimizers, critic = gan.train().optimizers(), gan.critic
    for step in range(steps):
        with torch.no_grad():
            fake = gan.generator(torch.randn(len(x), gan.latent, device=x.device))
        mix = torch.lerp(fake, x, torch.rand(len(x), 1, 1, 1, device=x.device)).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)
        penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
        descend(optimizers["critic"], critic(fake).mean() - critic(x).mean() + 10 * penalty, critic)
        if step % 5 == 4:
            loss = -critic(gan.generator(torch.randn(len(x), gan.latent, device=x.device))).mean()
            descend(optimizers["generator"], loss, gan.generator)


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    table, n, shape = Table("images/s", "floor", "lab", "lab / floor"), config.steps * config.batch, (3, 32, 32)
    images = random_images(2048, shape)
    stream = Stream(images, config.batch)
    options = TrainOptions(n, config.batch, log_every=10**9)
    for name, method, bare in (
        ("DCGAN-32", GANConfig(hidden=0), bare_gan),
        ("WGAN-GP-32", WGANGPConfig(hidden=0), bare_wgan_gp),
    ):
        gan = method.build(shape, 10).to(images.device, memory_format=torch.channels_last)
        works = (partial(bare, gan, next(stream)[0], config.steps), partial(fit, gan, stream, options))
        rounds = seconds(works, config.repeats)
        floor, lab = (n / median(column) for column in zip(*rounds))
        table.add_row(name, f"{floor:,.0f}", f"{lab:,.0f}", f"{median(a / b for a, b in rounds):.3f}")
    Console().print(table)


if __name__ == "__main__":
    start(main, Config)
