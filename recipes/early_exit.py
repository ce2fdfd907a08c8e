"""Early exits: easy images leave a classifier early. Accuracy against multiplications, and attacks on the exits.

The slowdown attack raises the uncertainty at all exits but the last, so that images stay to the end. It is the same PGD
that fools the classifier, with another objective.

python recipes/early_exit.py                                     # scikit-learn's digits, a minute on one core
python recipes/early_exit.py --data mnist --data-root DIR --images 600000
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

import genlab
from attacks import PGD, Linf
from genlab.cli.main import start
from genlab.compress.early_exit import EarlyExitConfig, EarlyExitNet
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Range, Seed, Width
from genlab.data import Images
from genlab.reporting.finish import finish, records
from genlab.reporting.plots import curves

HEADER = ["threshold", "images", "accuracy", "share of the multiplications"]


@dataclass(frozen=True)
class Config:
    """Accuracy and cost at every threshold, clean and under attack."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    width: Width = 16
    """channels of the first stage"""
    images: Length = 100_000
    """length of training"""
    thresholds: NonEmpty[Annotated[float, Range(0, 2)]] = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.1)
    """largest probabilities from which an image exits; above 1 all images stay to the end"""
    eps: Eps = 0.05
    """L-infinity radius of the attacks, in pixels of [0, 1]"""
    attacked: Count = 300
    """held-out images that are attacked"""
    out: Path = Path("runs/early-exit")
    """folder of the run and the report"""
    seed: Seed = 0
    """seed of training"""


class Certainty(nn.Module):
    """x -> two logits, 'an early exit is taken' and 'none is': an attack on class 0 keeps images in the network."""

    def __init__(self, net: EarlyExitNet):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        largest = self.net.all(x)[:-1].softmax(2).amax(2).amax(0)
        return torch.stack([largest.logit(1e-6), torch.zeros_like(largest)], 1)


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    experiment = genlab.Experiment(EarlyExitConfig(config.width), data, images=config.images, seed=config.seed)
    model: Any = experiment.run(config.out / "net", pictures=1)
    test = data.load("test")
    sets = {"held out": (test.x, test.labels), **attacked(config, model.net, test)}
    rows = [
        [threshold, name, *measured(model.net, threshold, x, y)]
        for threshold in config.thresholds
        for name, (x, y) in sets.items()
    ]
    results = records(HEADER, rows)

    page = genlab.Report(f"Early exits on {config.data}")
    lines = {name: line(results, name) for name in ("held out", "slowdown attack", "PGD")}
    page.picture(curves(lines, x="share of the multiplications", y="accuracy")).table(HEADER, rows)
    finish(config.out, page, results)


def attacked(config: Config, net: EarlyExitNet, test: Images) -> dict[str, tuple[Tensor, Tensor]]:
    """A few held-out images and what two attacks make of them, with their labels."""
    x, y = test.x[: config.attacked], test.labels[: config.attacked]
    attack = PGD(Linf(config.eps), steps=20)
    slow = attack(Certainty(net), x, torch.zeros_like(y))
    return {"clean": (x, y), "slowdown attack": (slow, y), "PGD": (attack(net, x, y), y)}


def measured(net: EarlyExitNet, threshold: float, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Accuracy, and mean multiplications as a share of those of the whole network."""
    net.threshold = threshold
    logits, exits = net.predict(x)
    costs = torch.tensor(net.costs(tuple(x.shape[1:])), device=x.device).float()
    return float((logits.argmax(1) == y).float().mean()), float(costs[exits].mean() / costs[-1])


def line(results: list[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Multiplications and accuracy of one set of images, over the thresholds."""
    rows = [row for row in results if row["images"] == name]
    return [row["share of the multiplications"] for row in rows], [row["accuracy"] for row in rows]


if __name__ == "__main__":
    start(main, Config)
