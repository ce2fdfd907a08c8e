"""Early exits: easy images leave a classifier early. Accuracy against multiplications, and attacks on the exits.

Controls: every exit in a network of its own, trained without the others, and so the last exit without early heads that
share its features. Everything is repeated over seeds.

The slowdown attack raises the uncertainty at all exits but the last, so that images stay to the end. It is the same PGD
that fools the classifier, with another objective.

python recipes/early_exit.py                                     # rendered digits, minutes on one core
python recipes/early_exit.py --data mnist --data-root DIR --size 28 --width 16 --images 600000
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import torch
from torch import Tensor, nn

import genlab
from attacks import PGD, Linf
from genlab.cli.main import start
from genlab.compress.count import macs
from genlab.compress.early_exit import EarlyExitConfig, EarlyExitNet
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Range, Seeds, Side, Width
from genlab.data import Images
from genlab.metrics.accuracy import accuracy
from genlab.reporting.finish import finish
from genlab.reporting.plots import curves
from genlab.reporting.report import plus_minus, spread

HEADER = ["threshold", "images", "accuracy", "share of the multiplications"]
EXITS = ["exit", "trained", "accuracy", "share of the multiplications"]
TOGETHER, ALONE = "with the others", "alone"
Measured = tuple[float, float]  # accuracy, mean multiplications as a share of those of the whole network


@dataclass(frozen=True)
class Config:
    """Accuracy and cost at every threshold, clean and under attack."""

    data: str = "grey:glyphs"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width of the images in pixels; none: as in the data set"""
    width: Width = 4
    """channels of the first stage"""
    images: Length = 20_000
    """length of training"""
    thresholds: NonEmpty[Annotated[float, Range(0, 2)]] = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.1)
    """largest probabilities from which an image exits; above 1 all images stay to the end"""
    eps: Eps = 0.05
    """L-infinity radius of the attacks, in pixels of [0, 1]"""
    attacked: Count = 300
    """held-out images that are attacked"""
    out: Path = Path("runs/early-exit")
    """folder of the runs and the report"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""


class Certainty(nn.Module):
    """x -> two logits, 'an early exit is taken' and 'none is': an attack on class 0 keeps images in the network."""

    def __init__(self, net: EarlyExitNet):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        largest = self.net.all(x)[:-1].softmax(2).amax(2).amax(0)
        return torch.stack([largest.logit(1e-6), torch.zeros_like(largest)], 1)


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, data_root=config.data_root)
    test = data.load("test")
    found: dict[tuple[float, str], list[Measured]] = {}  # threshold, images -> a pair per seed
    exits: dict[tuple[int, str], list[Measured]] = {}  # number of the exit, how it was trained -> a pair per seed
    for seed in config.seeds:
        net = train(config, data, EarlyExitConfig(config.width), f"net-{seed}", seed)
        for name, (x, y) in {"held out": (test.x, test.labels), **attacked(config, net, test)}.items():
            for threshold in config.thresholds:
                found.setdefault((threshold, name), []).append(measured(net, threshold, x, y))
        for i in range(len(net.stages)):
            for how, pair in single_exit(config, data, test, net, i, seed).items():
                exits.setdefault((i + 1, how), []).append(pair)
    results = [row(HEADER, key, pairs) for key, pairs in found.items()]
    single = [row(EXITS, key, pairs) for key, pairs in exits.items()]

    page = genlab.Report(f"Early exits on {config.data}")
    page.section("Accuracy against multiplications", message(exits))
    lines = {name: line(results, "images", name) for name in ("held out", "slowdown attack", "PGD")}
    lines["held out, networks of one exit"] = line(single, "trained", ALONE)
    page.picture(curves(lines, x="share of the multiplications", y="accuracy"))
    page.text(f"Mean ± standard deviation over {len(config.seeds)} seeds; bands: the same.")
    page.table(EXITS, [[*key, *cells(pairs)] for key, pairs in exits.items()])
    page.section("By threshold", f"The attacks have L-infinity radius {config.eps:g}.")
    page.table(HEADER, [[*key, *cells(pairs)] for key, pairs in found.items()])
    finish(config.out, page, {"thresholds": results, "exits": single})


def train(config: Config, data: genlab.DataOptions, method: EarlyExitConfig, name: str, seed: int) -> EarlyExitNet:
    trained: Any = genlab.Experiment(method, data, images=config.images, seed=seed).run(config.out / name, pictures=1)
    return trained.net


def single_exit(
    config: Config, data: genlab.DataOptions, test: Images, net: EarlyExitNet, i: int, seed: int
) -> dict[str, Measured]:
    """Exit i for all images: of `net`, and of a network that was trained for this exit alone and has no other."""
    whole = net.costs(test.shape)[-1]
    weights = tuple(float(k == i) for k in range(len(net.stages)))
    alone = train(config, data, EarlyExitConfig(config.width, weights=weights), f"exit-{i + 1}-{seed}", seed)
    found = {}
    for how, each in ((TOGETHER, net), (ALONE, alone)):
        path = nn.Sequential(*each.stages[: i + 1], each.heads[i]).eval()
        cost = net.costs(test.shape)[i] if how == TOGETHER else macs(path, test.shape)
        found[how] = accuracy(path, test), cost / whole
    return found


def attacked(config: Config, net: EarlyExitNet, test: Images) -> dict[str, tuple[Tensor, Tensor]]:
    """A few held-out images and what two attacks make of them, with their labels."""
    x, y = test.x[: config.attacked], test.labels[: config.attacked]
    attack = PGD(Linf(config.eps), steps=20)
    slow = attack(Certainty(net), x, torch.zeros_like(y))
    return {"clean": (x, y), "slowdown attack": (slow, y), "PGD": (attack(net, x, y), y)}


def measured(net: EarlyExitNet, threshold: float, x: Tensor, y: Tensor) -> Measured:
    net.threshold = threshold
    logits, exits = net.predict(x)
    costs = torch.tensor(net.costs(tuple(x.shape[1:])), device=x.device).float()
    return float((logits.argmax(1) == y).float().mean()), float(costs[exits].mean() / costs[-1])


def row(header: list[str], key: tuple[Any, ...], pairs: list[Measured]) -> dict[str, Any]:
    """Means over the seeds under `header`, with the standard deviation of the accuracy."""
    accuracies, shares = zip(*pairs)
    average, deviation = spread(accuracies)
    return {**dict(zip(header, (*key, average, mean(shares)), strict=True)), "accuracy (sd)": deviation}


def cells(pairs: list[Measured]) -> list[str]:
    return [plus_minus(values, ".3f") for values in zip(*pairs)]


def message(exits: dict[tuple[int, str], list[Measured]]) -> str:
    last = max(number for number, _ in exits)
    share = {key: mean(right for right, _ in pairs) for key, pairs in exits.items()}
    cost = plus_minus(100 * (a - b) for (a, _), (b, _) in zip(exits[last, ALONE], exits[last, TOGETHER]))
    return (
        f"The first exit is right on {share[1, TOGETHER]:.1%} of the test images, in a network of its own on "
        f"{share[1, ALONE]:.1%}; the last on {share[last, TOGETHER]:.1%} and on {share[last, ALONE]:.1%}: early exits "
        f"cost it {cost} points."
    )


def line(rows: list[dict[str, Any]], key: str, name: str) -> tuple[list[float], ...]:
    """Multiplications and accuracy, with its spread, of the rows in which `key` is `name`."""
    mine = [row for row in rows if row[key] == name]
    ends = [[row["accuracy"] + sign * row["accuracy (sd)"] for row in mine] for sign in (-1, 1)]
    return [row["share of the multiplications"] for row in mine], [row["accuracy"] for row in mine], *ends


if __name__ == "__main__":
    start(main, Config)
