"""MNIST in batches: torchvision's dataset under torch's DataLoader (the floor) against the lab's resident pixels.

python recipes/benchmark_loader.py               # lab / floor: how many times faster the lab delivers
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Repeats, Threads
from genlab.core.timing import seconds
from genlab.data import Images, Stream
from genlab.data.random_images import random_images
from genlab.reporting.finish import finish, records

COSTS = ["data", "floor, images/s", "lab, images/s", "lab / floor"]
MORE = 50  # times as many batches as torchvision's are taken from the lab, so that both can be timed


@dataclass(frozen=True)
class Config:
    """What is timed, and how often."""

    batches: Count = 40
    """batches that torchvision delivers per measurement; the lab delivers fifty times as many"""
    repeats: Repeats = 5
    """measurements, of which the median is reported"""
    batch: Count = 128
    """images per batch"""
    threads: Threads = 1
    """threads of the processor"""
    out: Path = Path("runs/benchmark-loader")
    """folder of the report"""


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    images = random_images(60_000, (1, 28, 28), classes=10)
    dataset, stream = torchvision_mnist(images), Stream(images, config.batch)

    def floor() -> None:
        exhaust(islice(DataLoader(dataset, config.batch, shuffle=True), config.batches))

    def lab() -> None:
        exhaust(islice(stream, MORE * config.batches))

    rounds = seconds((floor, lab), config.repeats)
    floor_time, lab_time = (median(times) for times in zip(*rounds))
    n = config.batches * config.batch
    rows = [["MNIST", n / floor_time, MORE * n / lab_time, MORE * floor_time / lab_time]]
    page = genlab.Report("Speed of the loader")
    page.section("Beside torchvision's dataset under a DataLoader (floor)").table(COSTS, rows)
    finish(config.out, page, records(COSTS, rows))


def torchvision_mnist(images: Images) -> MNIST:
    """torchvision's own code on these pixels, without its files."""
    dataset = MNIST.__new__(MNIST)
    dataset.data, dataset.targets = images.pixels[:, 0].cpu(), images.labels.cpu()
    dataset.transform, dataset.target_transform = ToTensor(), None
    return dataset


def exhaust(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


if __name__ == "__main__":
    start(main, Config)
