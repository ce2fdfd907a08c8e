"""Lottery tickets: sparse networks that train from where they began; Frankle & Carbin 2019, arXiv:1803.03635, figure 3.

Rounds of training and pruning find the mask of a ticket. In every round the network under it is trained from its
original weights (the ticket), and from other random weights; beside it a ticket of the same size whose mask was found
at once, from the dense network. The last mask is trained from random weights once more, for as long as all rounds
together took: the control of Liu et al. 2019, arXiv:1810.05270.

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
from genlab.core.text import counted
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import ClassifierConfig, FineTuning
from genlab.metrics.accuracy import accuracy
from genlab.nets.classifiers import lenet300
from genlab.reporting.finish import finish
from genlab.reporting.plots import curves
from genlab.reporting.spread import plus_minus, spread

TICKET, AT_ONCE, RANDOM = "ticket", "ticket, pruned at once", "random start"  # networks
LONGER = "random start, trained as long as all rounds"
Found = dict[tuple[str, int], list[float]]  # (network, round of pruning) -> accuracy of every seed


@dataclass(frozen=True)
class Config:
    """Accuracy of sparse networks by the weights that they start from."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 20_000
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
    found: Found = {}
    for seed in config.seeds:
        for name, number, measured in search(train, test, seed, config):
            found.setdefault((name, number), []).append(measured)
    page = genlab.Report(f"Lottery tickets on {config.data}")
    page.section("Accuracy against sparsity", message(found, config.rounds))
    page.picture(curves(lines(found), x="weights left, %", y="test accuracy, %", log_x=True))
    page.text(f"Test accuracy in %, mean ± standard deviation over {counted(config.seeds)}; bands: the same.")
    names = (TICKET, AT_ONCE, RANDOM)
    page.table(
        ["weights left, %", *names], [[100 * left(i), *cells(found, names, i)] for i in range(config.rounds + 1)]
    )
    page.text(f"The last mask from a {LONGER}: {cells(found, (LONGER,), config.rounds)[0]} %.")
    finish(config.out, page, [row(name, number, values) for (name, number), values in found.items()])


def search(train: Images, test: Images, seed: int, config: Config) -> list[tuple[str, int, float]]:
    """(network, round of pruning, test accuracy in %) of everything that one seed trains."""
    found = []

    def learn(net: nn.Module, name: str, number: int, images: int = config.images) -> None:
        method = FineTuning(net, ClassifierConfig(lr=0.02, weight_decay=0.0))
        options = genlab.TrainOptions(images, seed=seed)
        genlab.fit(method, Stream(train, options.batch, seed=seed), options, title=f"{name}, {left(number):.1%} left")
        found.append((name, number, 100 * accuracy(net.eval(), test)))

    net = random_net(train, seed)
    begin = weights(net)
    learn(net, TICKET, 0)
    dense = deepcopy(net)
    for i in range(1, config.rounds + 1):
        prune(net, 1 - left(i))
        rewind(net, begin)
        prune(at_once := deepcopy(dense), 1 - left(i))
        rewind(at_once, begin)
        other = random_net(train, 1000 + seed)
        apply_masks(other, masks(net))
        learn(at_once, AT_ONCE, i)
        learn(deepcopy(other), RANDOM, i)
        learn(net, TICKET, i)
    learn(other, LONGER, config.rounds, images=config.images * (config.rounds + 1))
    return found


def left(number: int) -> float:
    """The share of the weights that is left after so many rounds."""
    return 0.8**number


def random_net(data: Images, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return lenet300(data.shape, len(data.classes)).to(data.device)


def message(found: Found, rounds: int) -> str:
    dense, ticket, at_once, random, longer = (
        plus_minus(found[key])
        for key in ((TICKET, 0), (TICKET, rounds), (AT_ONCE, rounds), (RANDOM, rounds), (LONGER, rounds))
    )
    return (
        f"With {left(rounds):.0%} of its weights, reset to their start, the network is right on {ticket} % of the test "
        f"images (dense {dense} %); from another random start on {random} %, trained as long as all rounds together "
        f"{longer} %; with a mask found at once on {at_once} %."
    )


def cells(found: Found, names: tuple[str, ...], number: int) -> list[str | None]:
    return [plus_minus(found[name, number]) if (name, number) in found else None for name in names]


def row(name: str, number: int, accuracies: list[float]) -> dict[str, Any]:
    mean, deviation = spread(accuracies)
    figures = {"weights left, %": 100 * left(number), "accuracy, %": mean, "accuracy, % (sd)": deviation}
    return {"network": name, "rounds": number, **figures}


def lines(found: Found) -> dict[str, Any]:
    """network -> (weights left, accuracy, lower and upper end of its spread)."""
    drawn: dict[str, Any] = {}
    for (name, number), accuracies in found.items():
        mean, deviation = spread(accuracies)
        columns = drawn.setdefault(name, ([], [], [], []))
        for column, value in zip(columns, (100 * left(number), mean, mean - deviation, mean + deviation)):
            column.append(value)
    return drawn


if __name__ == "__main__":
    start(main, Config)
