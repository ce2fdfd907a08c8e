"""Lottery tickets: sparse networks that train from where they began; Frankle & Carbin 2019, arXiv:1803.03635, figure 3.

Rounds of training and pruning find the mask; then the network under it is trained from its own start, or from a random
one; and the last mask (control of Liu et al. 2019, arXiv:1810.05270) from a random one for as long as all rounds took.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import genlab
from genlab.cli.main import start
from genlab.compress.prune import apply_masks, masks, prune, rewind, weights
from genlab.core.files import write_atomically
from genlab.core.ranges import Length, Repeats
from genlab.data import Stream
from genlab.methods.classification.classifier import ClassifierConfig, FineTuning
from genlab.metrics.accuracy import accuracy
from genlab.nets.classifiers import lenet300
from genlab.reporting.plots import curves
from genlab.reporting.report import spread


@dataclass(frozen=True)
class Config:
    data: str = "digits"
    data_root: Path | None = None  # where downloaded sets lie
    images: Length = 30_000  # length of every training
    rounds: Repeats = 7  # of pruning, each of which takes a fifth of the weights; after seven 21 % are left
    seeds: Repeats = 3
    out: Path = Path("runs/lottery-ticket")


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    known, test = data.load("train"), data.load("test")
    found: dict[tuple[str, float], list[float]] = {}
    for seed in range(config.seeds):
        options = genlab.TrainOptions(config.images, seed=seed)

        def train(net: nn.Module, what: str, left: float, options: genlab.TrainOptions = options) -> None:
            method = FineTuning(net, ClassifierConfig(lr=0.02, weight_decay=0.0))
            genlab.fit(method, Stream(known, 64, seed=options.seed), options, title=f"{what}, {left:.1%} left")
            found.setdefault((what, left), []).append(accuracy(net.eval(), test))

        torch.manual_seed(seed)
        net = lenet300(known.shape, len(known.classes)).to(known.device)
        begin = weights(net)
        train(net, "ticket", 1.0)
        for i in range(1, config.rounds + 1):
            left = 0.8**i
            prune(net, 1 - left)
            rewind(net, begin)
            torch.manual_seed(1000 + seed)
            other = lenet300(known.shape, len(known.classes)).to(known.device)
            apply_masks(other, masks(net))
            train(deepcopy(other), "random start", left)
            train(net, "ticket", left)
        longer = genlab.TrainOptions(config.images * (config.rounds + 1), seed=seed)
        train(other, "random start, all the time", left, longer)
    page = genlab.Report(f"Lottery tickets on {config.data}")
    rows, lines = [], {}
    for (name, left), values in found.items():
        rows.append([name, 100 * left, *spread(values)])
    for name in dict.fromkeys(row[0] for row in rows):
        lines[name] = tuple(zip(*[(left, m, m - s, m + s) for what, left, m, s in rows if what == name]))
    page.picture(curves(lines, x="weights left, %", y="test accuracy"))
    page.table(header := ["network", "weights left, %", "accuracy", "±"], rows)
    print(*("{:28} {:6.1f} % left  {:.4f} ± {:.4f}".format(*row) for row in rows), sep="\n")
    write_atomically(config.out / "results.json", json.dumps([dict(zip(header, row)) for row in rows]).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
