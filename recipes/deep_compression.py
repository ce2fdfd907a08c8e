"""Deep Compression: prune, share weights, code, and load again; Han et al. 2016, arXiv:1510.00149, table 1.

Before that, accuracy against sparsity: pruned step by step with training after each (Han et al. 2015,
arXiv:1506.02626), or at once and then trained for as long as all steps together, or not trained.

python recipes/deep_compression.py                                        # digits, minutes on one core
python recipes/deep_compression.py --data mnist --data-root DIR --images 600000
python recipes/deep_compression.py --data mnist --data-root DIR --images 300000 --net lenet-5
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import torch
from torch import nn

import genlab
from genlab.cli.main import start
from genlab.compress.deep import SETTINGS, pruned, shared
from genlab.compress.prune import prune
from genlab.compress.table import table
from genlab.core.ranges import LearningRate, Length, NonEmpty, OpenShare, Repeats, Seeds
from genlab.core.text import counted
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import ClassifierConfig, FineTuning
from genlab.metrics.accuracy import accuracy
from genlab.nets.classifiers import LENETS
from genlab.reporting.finish import finish
from genlab.reporting.plots import curves
from genlab.reporting.spread import plus_minus, spread, with_deviation

STEPWISE, AT_ONCE, UNTRAINED = "step by step", "at once, trained as long", "at once, not trained"  # ways of pruning
Train = Callable[..., None]  # network, factor of the learning rate, title, length in images


@dataclass(frozen=True)
class Config:
    """Accuracy against sparsity; size on disk and error of every stage; over seeds."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    net: Literal["lenet-300-100", "lenet-5"] = "lenet-300-100"
    """architecture"""
    images: Length = 40_000
    """length of every training: of the dense network, after each round of pruning, of the shared weights"""
    rounds: Repeats = 4
    """rounds of pruning in Deep Compression"""
    sparsities: NonEmpty[OpenShare] = (0.8, 0.9, 0.95, 0.98, 0.99)
    """shares of every layer's weights that are pruned, rising"""
    step: Length = 10_000
    """length of the training after each of these steps, in images"""
    lr: LearningRate = 0.05
    """learning rate of the dense network; later trainings have a fraction of it"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/deep-compression")
    """folder of the compressed files and the report"""


def main(config: Config) -> None:
    if list(config.sparsities) != sorted(set(config.sparsities)):
        raise ValueError(f"--sparsities must rise, got {' '.join(map(str, config.sparsities))}")
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    known, test = data.load("train"), data.load("test")
    tables, repetitions = [], []
    for seed in config.seeds:
        train = trainer(config, known, seed)
        torch.manual_seed(seed)
        dense = LENETS[config.net](known.shape, len(known.classes)).to(known.device)
        train(dense, 1.0, "dense")
        repetitions.append(prunings(config, dense, train, test))
        tables.append(table(stages(config, dense, train), test, config.out / f"files-{seed}", repeats=1))
    accuracies = {key: [each[key] for each in repetitions] for key in repetitions[0]}
    rows = [summary(one) for one in zip(*tables)]

    page = genlab.Report(f"Deep Compression: {config.net} on {config.data}")
    page.section("Accuracy against sparsity", message(accuracies))
    page.picture(curves(lines(accuracies), x="weights left, %", y="accuracy, %", log_x=True))
    page.text(f"Test images; mean ± standard deviation over {counted(config.seeds)}, as everywhere on this page.")
    page.table(["pruned, %", STEPWISE, AT_ONCE, UNTRAINED], by_sparsity(accuracies))
    text = "Bytes of the file with its header; compression rate: bytes of the weights in float32 over those."
    page.section("Stages of Deep Compression", text)
    page.table(["stage", "bytes", "compression rate", "error, %", "non-zeros"], map(shown, rows))
    sparse = [
        {"way": way, "sparsity": sparsity, "accuracy, %": each[0], "accuracy, % (sd)": each[1]}
        for (way, sparsity), each in {key: spread(values) for key, values in accuracies.items()}.items()
    ]
    finish(config.out, page, {"stages": rows, "sparsity": sparse})


def trainer(config: Config, known: Images, seed: int) -> Train:
    """A function that trains a network, of config.images unless told otherwise."""

    def train(net: nn.Module, factor: float, title: str, images: int = config.images) -> None:
        options = genlab.TrainOptions(images, seed=seed, schedule="cosine")
        method = FineTuning(net, ClassifierConfig(lr=config.lr * factor, weight_decay=1e-4))
        genlab.fit(method, Stream(known, options.batch, seed=seed), options, title=f"{seed}: {title}")

    return train


def prunings(config: Config, dense: nn.Module, train: Train, test: Images) -> dict[tuple[str, float], float]:
    """(way of pruning, sparsity) -> test accuracy in %; at sparsity 0 that of `dense`."""
    percent = lambda net: 100 * accuracy(net.eval(), test)
    found = {(way, 0.0): percent(dense) for way in (STEPWISE, AT_ONCE, UNTRAINED)}
    stepwise = copy.deepcopy(dense)
    for i, sparsity in enumerate(config.sparsities, 1):
        prune(stepwise, sparsity)
        train(stepwise, 0.4, f"{sparsity:.1%} pruned, {STEPWISE}", config.step)
        found[STEPWISE, sparsity] = percent(stepwise)
        at_once = copy.deepcopy(dense)
        prune(at_once, sparsity)
        found[UNTRAINED, sparsity] = percent(at_once)
        train(at_once, 0.4, f"{sparsity:.1%} pruned, {AT_ONCE}", i * config.step)
        found[AT_ONCE, sparsity] = percent(at_once)
    return found


def stages(config: Config, dense: nn.Module, train: Train) -> dict[str, nn.Module]:
    """The network after every stage of Deep Compression."""
    sparsity, bits = SETTINGS[config.net]
    sparse = pruned(dense, sparsity, config.rounds, train)
    return {"dense": dense, "pruned": sparse, "shared and coded": shared(sparse, bits, train)}


def message(accuracies: dict[tuple[str, float], list[float]]) -> str:
    near = min((sparsity for _, sparsity in accuracies), key=lambda sparsity: abs(sparsity - 0.95))
    stepwise, at_once, untrained = (mean(accuracies[way, near]) for way in (STEPWISE, AT_ONCE, UNTRAINED))
    return (
        f"Without {near:.0%} of the weights accuracy goes from {mean(accuracies[STEPWISE, 0.0]):.1f} to "
        f"{stepwise:.1f} % if they are pruned step by step, to {at_once:.1f} % if at once and trained as long, and to "
        f"{untrained:.1f} % if not trained."
    )


def lines(accuracies: dict[tuple[str, float], list[float]]) -> dict[str, Any]:
    """Way of pruning -> weights left, accuracy, and the ends of its spread."""
    found: dict[str, Any] = {}
    for (way, sparsity), values in sorted(accuracies.items(), key=lambda each: each[0][1]):
        average, deviation = spread(values)
        for column, value in zip(
            found.setdefault(way, ([], [], [], [])),
            (100 * (1 - sparsity), average, average - deviation, average + deviation),
        ):
            column.append(value)
    return found


def by_sparsity(accuracies: dict[tuple[str, float], list[float]]) -> list[list[Any]]:
    """A row per sparsity, a column per way of pruning."""
    sparsities = dict.fromkeys(sparsity for _, sparsity in accuracies)
    ways = (STEPWISE, AT_ONCE, UNTRAINED)
    return [[100 * each, *(plus_minus(accuracies[way, each]) for way in ways)] for each in sparsities]


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


def shown(row: dict[str, Any]) -> list[Any]:
    """One stage as a row of the page."""
    rate, error = (with_deviation(row[name], row[f"{name} (sd)"]) for name in ("compression rate", "error, %"))
    return [row["stage"], round(row["bytes"]), rate, error, row["non-zeros"]]


if __name__ == "__main__":
    start(main, Config)
