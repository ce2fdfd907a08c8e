"""Adversarial training: the lab's loop (attack, checks, loader, log) against its bare passes.

python recipes/benchmark_adversarial.py          # time, lab / floor: 1.00 means that the loop costs nothing
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import genlab
from attacks.defences.adversarial_training import AdversarialTraining, AdversarialTrainingConfig
from genlab.cli.main import start
from genlab.core.ranges import Count, Repeats, Side, Steps, Threads
from genlab.core.timing import seconds
from genlab.data import Stream
from genlab.data.random_images import random_images
from genlab.reporting.finish import finish, records
from genlab.training.loop import fit
from genlab.training.method import TrainOptions

COSTS = ["training", "floor, images/s", "lab, images/s", "time, lab / floor"]


@dataclass(frozen=True)
class Config:
    """What is timed, and how often."""

    steps: Steps = 20
    """updates per measurement"""
    repeats: Repeats = 5
    """measurements, of which the median is reported"""
    batch: Count = 64
    """images per batch"""
    pgd: Steps = 7
    """steps of the attack"""
    size: Side = 28
    """height and width of the images"""
    threads: Threads = 1
    """threads of the processor"""
    out: Path = Path("runs/benchmark-adversarial")
    """folder of the report"""


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    images = random_images(1024, (1, config.size, config.size), classes=10)
    stream = Stream(images, config.batch)
    method = AdversarialTrainingConfig(steps=config.pgd).build(images.shape, 10)
    method.to(images.device, memory_format=torch.channels_last)
    options = TrainOptions(config.steps * config.batch, config.batch, log_every=10**9)
    floor = partial(bare, method, *next(stream), config.steps, config.pgd)
    rounds = seconds((floor, partial(fit, method, stream, options)), config.repeats)

    floor_speed, lab_speed = (options.images / median(times) for times in zip(*rounds))
    ratio = median(lab / floor for floor, lab in rounds)
    rows = [[f"PGD-{config.pgd}", floor_speed, lab_speed, ratio]]
    page = genlab.Report("Speed of adversarial training")
    page.section("Beside its bare passes (floor)").table(COSTS, rows)
    finish(config.out, page, records(COSTS, rows))


def bare(method: AdversarialTraining, x: Tensor, y: Tensor, steps: int, pgd: int) -> None:
    """So many updates on adversarial images, with nothing but the passes that they need."""
    net, optimizer = method.net.train(), method.optimizers()["net"]
    for _ in range(steps):
        adv = (x + torch.empty_like(x).uniform_(-0.1, 0.1)).clamp(0, 1)
        net.requires_grad_(False)
        for _ in range(pgd):
            (grad,) = torch.autograd.grad(cross_entropy(net(adv.requires_grad_()), y), adv)
            adv = (x + (adv.detach() + 0.03 * grad.sign() - x).clamp(-0.1, 0.1)).clamp(0, 1)
        net.requires_grad_(True)
        loss = cross_entropy(net(adv), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    start(main, Config)
