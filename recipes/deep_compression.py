"""Deep Compression: prune, share, code, and load again; Han et al. 2016, arXiv:1510.00149, table 1.

python recipes/deep_compression.py                                        # digits, a minute on one core
python recipes/deep_compression.py --data mnist --data-root DIR --images 600000
python recipes/deep_compression.py --data mnist --data-root DIR --images 300000 --net lenet-5
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Literal

import torch
from torch import nn

import genlab
from genlab.cli.main import start
from genlab.compress.deep import SETTINGS, pruned, shared
from genlab.compress.table import table
from genlab.core.files import write_atomically
from genlab.core.ranges import LearningRate, Length, Repeats
from genlab.data import Stream
from genlab.methods.classification.classifier import ClassifierConfig, FineTuning
from genlab.nets.classifiers import LENETS
from genlab.reporting.report import spread


@dataclass(frozen=True)
class Config:
    """Every stage's size on disk and error, over seeds."""

    data: str = "digits"
    data_root: Path | None = None
    """where downloaded sets lie"""
    net: Literal["lenet-300-100", "lenet-5"] = "lenet-300-100"
    images: Length = 60_000
    """length of every training: of the dense network, of each round of pruning, of sharing"""
    rounds: Repeats = 4
    """of pruning"""
    lr: LearningRate = 0.05
    seeds: Repeats = 3
    out: Path = Path("runs/deep-compression")


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    known, test, found = data.load("train"), data.load("test"), []
    goal, bits = SETTINGS[config.net]
    for seed in range(config.seeds):
        options = genlab.TrainOptions(config.images, seed=seed, schedule="cosine")

        def train(net: nn.Module, factor: float, title: str, options: genlab.TrainOptions = options) -> None:
            stream = Stream(known, options.batch, seed=options.seed)
            method = FineTuning(net, ClassifierConfig(lr=config.lr * factor, weight_decay=1e-4))
            genlab.fit(method, stream, options, title=f"{options.seed}: {title}")

        torch.manual_seed(seed)
        train(dense := LENETS[config.net](known.shape, len(known.classes)).to(known.device), 1.0, "dense")
        sparse = pruned(dense, goal, config.rounds, train)
        stages = {"dense": dense, "pruned": sparse, "shared and coded": shared(sparse, bits, train)}
        found.append(table(stages, test, config.out / f"files-{seed}"))
    page, rows = genlab.Report(f"Deep Compression: {config.net} on {config.data}"), []
    whole = 4 * found[0][0]["parameters"]
    for stage in zip(*found):
        errors, sizes = [row["error, %"] for row in stage], [row["bytes"] for row in stage]
        times = spread(whole / size for size in sizes)
        rows.append([stage[0]["network"], mean(sizes), *times, *spread(errors), stage[0]["non-zeros"]])
    page.text(f"{config.seeds} seeds; bytes of the file with its header, and how often it goes into the dense weights.")
    page.table(header := ["stage", "bytes", "times smaller", "±", "error, %", "± ", "non-zeros"], rows)
    for row in rows:
        print("{:18} {:12,.0f} bytes  {:5.1f} ± {:.1f} x smaller  error {:.2f} ± {:.2f} %".format(*row))
    write_atomically(
        config.out / "results.json", json.dumps([dict(zip(header, row)) for row in rows], indent=1).encode()
    )
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
