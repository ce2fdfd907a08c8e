"""Early exits: easy images leave a classifier early. Accuracy against multiply-adds, and attacks on the exits.

Two networks with three exits, a plain CNN and MSDNet, whose classifiers read a coarse scale from the first layer on.
Controls: the part of each network up to each exit, trained for this exit alone. These are networks by budget, and the
last of them tells what early classifiers cost the last one. Everything is repeated over seeds.

The slowdown attack raises the uncertainty at all exits but the last, so that images stay to the end. It is the same PGD
that fools the classifier, with another objective.

python recipes/early_exit.py                                     # rendered letters, minutes on one core
python recipes/early_exit.py --data mnist --data-root DIR --images 12000
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, Literal, get_args

import torch
from torch import Tensor, nn

import genlab
from attacks import PGD, Linf
from genlab.cli.main import start
from genlab.compress.count import macs
from genlab.compress.early_exit import EarlyExitConfig, EarlyExitNet
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Range, Seeds, Side, Weight, Width
from genlab.core.text import counted
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import Classifier
from genlab.metrics.accuracy import accuracy
from genlab.reporting.finish import finish
from genlab.reporting.plots import curves
from genlab.reporting.spread import plus_minus, spread

HEADER = ["threshold", "images", "accuracy", "share of the multiplications"]
EXITS = ["network", "exit", "trained", "accuracy", "multiply-adds"]
TOGETHER, ALONE = "with the others", "alone"
Net = Literal["cnn", "msdnet"]
Exit = tuple[Net, int, str]  # network, number of the exit, how it was trained
Measured = tuple[float, float]  # accuracy, and the mean multiplications, or their share of those of the whole network


@dataclass(frozen=True)
class Config:
    """Accuracy and cost at every threshold, clean and under attack."""

    data: str = "grey:letters"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width of the images in pixels; none: as in the data set"""
    width: Width = 6
    """channels of the CNN's first stage"""
    msdnet_width: Width = 1
    """new channels of MSDNet's layers at the finest scale"""
    weights: tuple[Weight, ...] = (1.0, 1.0, 1.0)
    """weights of the losses of the three exits"""
    images: Length = 8_000
    """length of every training"""
    batch: Count = 32
    """images per batch"""
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
    images, test = data.load("train"), data.load("test")
    found: dict[tuple[float, str], list[Measured]] = {}  # threshold, images -> a pair per seed
    exits: dict[Exit, list[Measured]] = {}  # -> a pair per seed
    for seed in config.seeds:
        for name in get_args(Net):
            run = genlab.Experiment(method(name, config), data, images=config.images, batch=config.batch, seed=seed)
            trained: Any = run.run(config.out / f"{name}-{seed}", pictures=1)
            for i, pair in enumerate(every_exit(trained.net, test)):
                exits.setdefault((name, i + 1, TOGETHER), []).append(pair)
                alone = single_exit(name, i, images, seed, config)
                exits.setdefault((name, i + 1, ALONE), []).append((accuracy(alone, test), macs(alone, test.shape)))
            if name == "cnn":
                for which, (x, y) in {"held out": (test.x, test.labels), **attacked(config, trained.net, test)}.items():
                    for threshold in config.thresholds:
                        found.setdefault((threshold, which), []).append(measured(trained.net, threshold, x, y))
    results = [row(HEADER, key, pairs) for key, pairs in found.items()]
    single = [row(EXITS, key, pairs) for key, pairs in exits.items()]

    page = genlab.Report(f"Early exits on {config.data}").text(message(exits))
    lines = {
        f"{title}, {how}": line([each for each in single if each["trained"] == how], "network", name)
        for name, title in {"msdnet": "MSDNet", "cnn": "CNN"}.items()
        for how in (TOGETHER, ALONE)
    }
    page.picture(curves(lines, x="multiply-adds", y="accuracy", log_x=True))
    page.text(
        "The three exits of a network. Alone: the part up to an exit, trained for it. Mean ± standard deviation over "
        f"{counted(config.seeds)}; bands: the same."
    )
    page.table(EXITS, [[*key, *cells(pairs, (".3f", ",.0f"))] for key, pairs in exits.items()])
    page.section("The CNN by threshold", f"The attacks have L-infinity radius {config.eps:g}.")
    lines = {name: line(results, "images", name) for name in ("held out", "slowdown attack", "PGD")}
    page.picture(curves(lines, x="share of the multiplications", y="accuracy"))
    page.table(HEADER, [[*key, *cells(pairs, (".3f", ".3f"))] for key, pairs in found.items()])
    finish(config.out, page, {"thresholds": results, "exits": single})


def method(net: Net, config: Config) -> EarlyExitConfig:
    width = {"cnn": config.width, "msdnet": config.msdnet_width}[net]
    return EarlyExitConfig(net, width, weights=config.weights)


def every_exit(net: EarlyExitNet, test: Images) -> list[Measured]:
    """Accuracy of each exit for all images, and its multiply-adds, with the classifiers before it."""
    paths = [nn.Sequential(*net.stages[: i + 1], head) for i, head in enumerate(net.heads)]
    return [(accuracy(path.eval(), test), cost) for path, cost in zip(paths, net.costs(test.shape))]


def single_exit(net: Net, i: int, images: Images, seed: int, config: Config) -> nn.Module:
    """The part of the network up to exit i and without the others, as a classifier of its own."""
    torch.manual_seed(seed)
    parts = method(net, config).build(images.shape, len(images.classes)).net
    options = replace(EarlyExitConfig.training, images=config.images, batch=config.batch, seed=seed)
    alone = Classifier(nn.Sequential(*parts.stages[: i + 1], parts.heads[i]))
    return genlab.fit(alone, Stream(images, options.batch, seed=seed), options, title=f"{net}, exit {i + 1} alone").net


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
    accuracies, costs = zip(*pairs)
    average, deviation = spread(accuracies)
    return {**dict(zip(header, (*key, average, mean(costs)), strict=True)), "accuracy (sd)": deviation}


def cells(pairs: list[Measured], forms: tuple[str, str]) -> list[str]:
    return [plus_minus(values, form) for values, form in zip(zip(*pairs), forms)]


def message(exits: dict[Exit, list[Measured]]) -> str:
    last = max(number for _, number, _ in exits)
    right = {key: mean(right for right, _ in pairs) for key, pairs in exits.items()}
    cost = {key: mean(cost for _, cost in pairs) for key, pairs in exits.items()}
    lost = {
        net: plus_minus(100 * (a - b) for (a, _), (b, _) in zip(exits[net, last, ALONE], exits[net, last, TOGETHER]))
        for net in get_args(Net)
    }
    msdnet, cnn = ("msdnet", 1, TOGETHER), ("cnn", 1, TOGETHER)
    return (
        f"MSDNet's first exit is right on {right[msdnet]:.1%} of the test images with {cost[msdnet]:,.0f} "
        f"multiply-adds; the CNN's on {right[cnn]:.1%} with {cost[cnn]:,.0f}, trained for this exit alone on "
        f"{right['cnn', 1, ALONE]:.1%}. Early exits cost the last one {lost['msdnet']} points in MSDNet, "
        f"{lost['cnn']} in the CNN."
    )


def line(rows: list[dict[str, Any]], key: str, name: str) -> tuple[list[float], ...]:
    """Cost and accuracy, with its spread, of the rows in which `key` is `name`."""
    mine = [row for row in rows if row[key] == name]
    ends = [[row["accuracy"] + sign * row["accuracy (sd)"] for row in mine] for sign in (-1, 1)]
    cost = "multiply-adds" if "multiply-adds" in mine[0] else "share of the multiplications"
    return [row[cost] for row in mine], [row["accuracy"] for row in mine], *ends


if __name__ == "__main__":
    start(main, Config)
