"""Lottery tickets: sparse networks that train from where they began; Frankle & Carbin 2019, arXiv:1803.03635, figure 3.

Rounds of training and pruning find the mask of a ticket. In every round the network under it is trained from its
original weights (the ticket), and from other random weights. The last mask is trained from random weights once more,
for as long as all rounds together took: the control of Liu et al. 2019, arXiv:1810.05270.

python recipes/lottery_ticket.py                                 # scikit-learn's digits, minutes on one core
python recipes/lottery_ticket.py --data mnist --data-root DIR --images 150000
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import genlab
from genlab.cli.main import start
from genlab.compress.prune import apply_masks, masks, prune, rewind, weights
from genlab.core.ranges import Length, Repeats, Seeds
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import ClassifierConfig, FineTuning
from genlab.metrics.accuracy import accuracy
from genlab.nets.classifiers import lenet300
from genlab.reporting.finish import finish
from genlab.reporting.plots import curves
from genlab.reporting.report import spread

TICKET, RANDOM, LONGER = "ticket", "random start", "random start, trained as long as all rounds"


@dataclass(frozen=True)
class Config:
    """Accuracy of sparse networks by the weights that they start from."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 30_000
    """length of every training"""
    rounds: Repeats = 7
    """rounds of pruning, each of which takes a fifth of the weights; after seven, 21 % are left"""
    seeds: Seeds = (0, 1, 2)
    """searches for a ticket, each from its own random weights"""
    out: Path = Path("runs/lottery-ticket")
    """folder of the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    train, test = data.load("train"), data.load("test")
    found: dict[tuple[str, float], list[float]] = {}  # (network, share of weights left) -> accuracy of every seed
    for seed in config.seeds:
        for name, left, measured in search(train, test, seed, config):
            found.setdefault((name, left), []).append(measured)
    rows = [row(name, left, accuracies) for (name, left), accuracies in found.items()]
    page = genlab.Report(f"Lottery tickets on {config.data}")
    page.section("Test accuracy", f"Mean and spread of {len(config.seeds)} seeds.")
    page.picture(curves(lines(rows), x="weights left, %", y="test accuracy"))
    page.table(list(rows[0]), (each.values() for each in rows))
    finish(config.out, page, rows)


def search(train: Images, test: Images, seed: int, config: Config) -> list[tuple[str, float, float]]:
    """(network, share of weights left, test accuracy) of everything that one seed trains."""
    found = []

    def learn(net: nn.Module, name: str, left: float, images: int = config.images) -> None:
        method = FineTuning(net, ClassifierConfig(lr=0.02, weight_decay=0.0))
        options = genlab.TrainOptions(images, seed=seed)
        genlab.fit(method, Stream(train, options.batch, seed=seed), options, title=f"{name}, {left:.1%} left")
        found.append((name, left, accuracy(net.eval(), test)))

    net = random_net(train, seed)
    begin = weights(net)
    learn(net, TICKET, 1.0)
    for i in range(1, config.rounds + 1):
        left = 0.8**i
        prune(net, 1 - left)
        rewind(net, begin)
        other = random_net(train, 1000 + seed)
        apply_masks(other, masks(net))
        learn(deepcopy(other), RANDOM, left)
        learn(net, TICKET, left)
    learn(other, LONGER, left, images=config.images * (config.rounds + 1))
    return found


def random_net(data: Images, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return lenet300(data.shape, len(data.classes)).to(data.device)


def row(name: str, left: float, accuracies: list[float]) -> dict[str, Any]:
    mean, deviation = spread(accuracies)
    return {"network": name, "weights left, %": 100 * left, "accuracy": mean, "±": deviation}


def lines(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """network -> (weights left, accuracy, lower and upper end of its spread)."""
    found = {}
    for name in (TICKET, RANDOM, LONGER):
        mine = [each for each in rows if each["network"] == name]
        found[name] = (
            [each["weights left, %"] for each in mine],
            [each["accuracy"] for each in mine],
            [each["accuracy"] - each["±"] for each in mine],
            [each["accuracy"] + each["±"] for each in mine],
        )
    return found


if __name__ == "__main__":
    start(main, Config)
