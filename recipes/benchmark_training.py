"""Training a DCGAN, a WGAN-GP and diffusion: the lab's loop (loader, checks, log) against bare steps of the same nets.

python recipes/benchmark_training.py             # lab / floor: 1.00 means that the loop costs nothing
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Repeats, Steps, Threads, Width
from genlab.core.timing import seconds
from genlab.data import Images, Stream
from genlab.data.random_images import random_images
from genlab.methods.diffusion.diffusion import Diffusion, DiffusionConfig, expand
from genlab.methods.gan.gan import GAN, GANConfig
from genlab.methods.gan.wgan_gp import WGANGP, WGANGPConfig
from genlab.reporting.finish import finish, records
from genlab.training.loop import fit
from genlab.training.method import TrainOptions

SHAPE = (3, 32, 32)
COSTS = ["training", "floor, images/s", "lab, images/s", "lab / floor"]


@dataclass(frozen=True)
class Config:
    """What is timed, and how often."""

    steps: Steps = 20
    """discriminator steps per measurement, a multiple of 5"""
    repeats: Repeats = 5
    """measurements, of which the median is reported"""
    batch: Count = 64
    """images per batch"""
    width: Width = 64
    """channels at the finest level of the GANs' networks; diffusion's has a quarter of them"""
    threads: Threads = 1
    """threads of the processor"""
    out: Path = Path("runs/benchmark-training")
    """folder of the report"""


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    images = random_images(2048, SHAPE)
    rows = []
    for name, method, bare in (
        ("DCGAN-32", GANConfig(hidden=0, width=config.width), bare_gan),
        ("WGAN-GP-32", WGANGPConfig(hidden=0, width=config.width), bare_wgan_gp),
        ("diffusion-32", DiffusionConfig(width=max(4, config.width // 4)), bare_diffusion),
    ):
        rows.append([name, *compare(config, method.build(SHAPE, 10), bare, images)])
    page = genlab.Report("Speed of training")
    page.section("Beside bare steps (floor)").table(COSTS, rows)
    finish(config.out, page, records(COSTS, rows))


def compare(config: Config, model: Any, bare: Callable[[Any, Tensor, int], None], images: Images) -> tuple[float, ...]:
    """Images per second of the bare steps and of the lab's loop, and the median ratio of the two in one round."""
    model.to(images.device, memory_format=torch.channels_last)
    stream = Stream(images, config.batch)
    options = TrainOptions(config.steps * config.batch, config.batch, log_every=10**9)
    works = (partial(bare, model, next(stream)[0], config.steps), partial(fit, model, stream, options))
    rounds = seconds(works, config.repeats)
    floor, lab = (options.images / median(times) for times in zip(*rounds))
    return floor, lab, median(bare_time / lab_time for bare_time, lab_time in rounds)


def bare_gan(gan: GAN, x: Tensor, steps: int) -> None:
    """So many updates of discriminator and generator, with nothing but the passes that they need."""
    optimizers, discriminator = gan.train().optimizers(), gan.discriminator
    for _ in range(steps):
        fake = gan.generator(torch.randn(len(x), gan.latent, device=x.device))
        loss = softplus(-discriminator(x)).mean() + softplus(discriminator(fake.detach())).mean()
        descend(optimizers["discriminator"], loss, discriminator)
        descend(optimizers["generator"], softplus(-discriminator(fake)).mean(), gan.generator)


def bare_wgan_gp(gan: WGANGP, x: Tensor, steps: int) -> None:
    """So many updates of the critic, and a fifth as many of the generator."""
    optimizers, critic = gan.train().optimizers(), gan.critic
    for step in range(steps):
        with torch.no_grad():
            fake = gan.generator(torch.randn(len(x), gan.latent, device=x.device))
        between = torch.lerp(fake, x, torch.rand(len(x), 1, 1, 1, device=x.device)).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
        descend(optimizers["critic"], critic(fake).mean() - critic(x).mean() + 10 * penalty, critic)
        if step % 5 == 4:
            loss = -critic(gan.generator(torch.randn(len(x), gan.latent, device=x.device))).mean()
            descend(optimizers["generator"], loss, gan.generator)


def bare_diffusion(model: Diffusion, x: Tensor, steps: int) -> None:
    """So many updates of the network; EDM's loss, written as the squared error of the network's own output."""
    (optimizer,), x = model.train().optimizers().values(), 2 * x - 1
    for _ in range(steps):
        sigma = (1.2 * torch.randn(len(x), device=x.device) - 1.2).exp()
        skip, out, inside = map(expand, model.preconditioning.factors(sigma))
        noised = x + expand(sigma) * torch.randn_like(x)
        output = model.net(inside * noised, sigma.log() / 4, None)
        descend(optimizer, (output - (x - skip * noised) / out).square().mean(), model.net)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, network: nn.Module) -> None:
    optimizer.zero_grad()
    loss.backward(inputs=list(network.parameters()))
    optimizer.step()


if __name__ == "__main__":
    start(main, Config)
