"""MNIST in batches: torchvision's dataset under torch's DataLoader (the floor) against the lab's resident pixels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from statistics import median

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from genlab.cli.main import start
from genlab.core.ranges import Count, Repeats, Threads
from genlab.core.timing import seconds
from genlab.data import Stream
from genlab.data.random_images import random_images


@dataclass(frozen=True)
class Config:
    batches: Count = 40
    """batches that torchvision delivers per measurement; the lab delivers fifty times as many"""
    repeats: Repeats = 5
    batch: Count = 128
    threads: Threads = 1


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    images = random_images(60_000, (1, 28, 28), classes=10)
    stream = Stream(images, config.batch)
    theirs = MNIST.__new__(MNIST)  # torchvision's own code on these pixels, without its files
    theirs.data, theirs.targets, theirs.transform = images.pixels[:, 0].cpu(), images.labels.cpu(), ToTensor()
    theirs.target_transform = None

    def floor() -> None:
        for _ in islice(DataLoader(theirs, config.batch, True), config.batches):
            pass

    def lab() -> None:
        for _ in islice(stream, 50 * config.batches):
            pass

    n = config.batches * config.batch
    bare, ours = (median(column) for column in zip(*seconds((floor, lab), config.repeats)))
    print(f"floor     {n / bare:12,.0f} images/s")
    print(f"lab       {50 * n / ours:12,.0f} images/s")
    print(f"lab / floor {50 * bare / ours:10.1f}")


if __name__ == "__main__":
    start(main, Config)
