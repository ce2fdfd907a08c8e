"""Adversarial training: the lab's loop (attack, guard, loader, log) against its bare passes; 1.00: free."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from rich.table import Table
from torch import Tensor
from torch.nn.functional import cross_entropy

from attacks.defences.adversarial_training import AdversarialTraining, AdversarialTrainingConfig
from genlab.cli.main import start
from genlab.core.ranges import Count, Repeats, Side, Steps, Threads
from genlab.core.text import Console
from genlab.core.timing import seconds
from genlab.data import Stream
from genlab.data.random_images import random_images
from genlab.training.loop import fit
from genlab.training.method import TrainOptions


@dataclass(frozen=True)
class Config:
    steps: Steps = 20  # per measurement
    repeats: Repeats = 5
    batch: Count = 64
    pgd: Steps = 7  # steps of the attack
    size: Side = 28
    threads: Threads = 1


def bare(method: AdversarialTraining, x: Tensor, y: Tensor, steps: int, pgd: int) -> None:
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


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    images = random_images(1024, (1, config.size, config.size), classes=10)
    stream, n = Stream(images, config.batch), config.steps * config.batch
    method = AdversarialTrainingConfig(steps=config.pgd).build(images.shape, 10)
    method.to(images.device, memory_format=torch.channels_last)
    options = TrainOptions(n, config.batch, log_every=10**9)
    works = (
        partial(bare, method, *next(stream), config.steps, config.pgd),
        partial(fit, method, stream, options),
    )
    rounds = seconds(works, config.repeats)
    floor, lab = (n / median(column) for column in zip(*rounds))
    table = Table("images/s", "floor", "lab", "time, lab / floor")
    table.add_row(f"PGD-{config.pgd} training", f"{floor:.3g}", f"{lab:.3g}", f"{median(b / a for a, b in rounds):.3f}")
    Console().print(table)


if __name__ == "__main__":
    start(main, Config)
