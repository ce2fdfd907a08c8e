"""Deep Compression: prune, share weights, code, and load again; Han et al. 2016, arXiv:1510.00149, table 1.

python recipes/deep_compression.py                                        # digits, a minute on one core
python recipes/deep_compression.py --data mnist --data-root DIR --images 600000
python recipes/deep_compression.py --data mnist --data-root DIR --images 300000 --net lenet-5
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import torch
from torch import nn

import genlab
from genlab.cli.main import start
from genlab.compress.deep import SETTINGS, pruned, shared
from genlab.compress.table import table
from genlab.core.ranges import LearningRate, Length, Repeats, Seeds
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import ClassifierConfig, FineTuning
from genlab.nets.classifiers import LENETS
from genlab.reporting.finish import finish
from genlab.reporting.report import spread


@dataclass(frozen=True)
class Config:
    """Every stage's size on disk and error, over seeds."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    net: Literal["lenet-300-100", "lenet-5"] = "lenet-300-100"
    """architecture"""
    images: Length = 60_000
    """length of every training: of the dense network, after each round of pruning, of the shared weights"""
    rounds: Repeats = 4
    """rounds of pruning"""
    lr: LearningRate = 0.05
    """learning rate of the dense network; later trainings have a fraction of it"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/deep-compression")
    """folder of the compressed files and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    known, test = data.load("train"), data.load("test")
    tables = []
    for seed in config.seeds:
        stages = compressed(config, known, seed)
        tables.append(table(stages, test, config.out / f"files-{seed}", repeats=1))  # speed is not reported
    rows = [summary(repetitions) for repetitions in zip(*tables)]
    page = genlab.Report(f"Deep Compression: {config.net} on {config.data}")
    text = f"Mean and standard deviation (sd) over {len(config.seeds)} seeds. Bytes of the file with its header; "
    page.text(text + "compression rate: bytes of the dense weights in float32 over those of the file.")
    page.table(list(rows[0]), (row.values() for row in rows))
    finish(config.out, page, rows)


def compressed(config: Config, known: Images, seed: int) -> dict[str, nn.Module]:
    """The network after every stage."""
    options = genlab.TrainOptions(config.images, seed=seed, schedule="cosine")

    def train(net: nn.Module, factor: float, title: str) -> None:
        method = FineTuning(net, ClassifierConfig(lr=config.lr * factor, weight_decay=1e-4))
        genlab.fit(method, Stream(known, options.batch, seed=seed), options, title=f"{seed}: {title}")

    sparsity, bits = SETTINGS[config.net]
    torch.manual_seed(seed)
    dense = LENETS[config.net](known.shape, len(known.classes)).to(known.device)
    train(dense, 1.0, "dense")
    sparse = pruned(dense, sparsity, config.rounds, train)
    return {"dense": dense, "pruned": sparse, "shared and coded": shared(sparse, bits, train)}


def summary(repetitions: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """One stage over all seeds."""
    first = repetitions[0]
    rate, rate_deviation = spread(4 * row["parameters"] / row["bytes"] for row in repetitions)
    error, error_deviation = spread(row["error, %"] for row in repetitions)
    return {
        "stage": first["network"],
        "bytes": mean(row["bytes"] for row in repetitions),
        "compression rate": rate,
        "compression rate (sd)": rate_deviation,
        "error, %": error,
        "error, % (sd)": error_deviation,
        "non-zeros": first["non-zeros"],
    }


if __name__ == "__main__":
    start(main, Config)
