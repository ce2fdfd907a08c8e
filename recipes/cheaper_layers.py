"""Cheaper layers: fewer weights or filters, separable convolutions, low rank, binary weights; over seeds.

Fewer weights make a small file, but only fewer filters make a fast network: a zero is multiplied as any number is.

What is made of the trained network is trained once more, as is the network itself. Binary weights are trained from
their own start for as long as both together. Controls of Liu et al. 2019, arXiv:1810.05270: half the filters from a
random start, for as many images as the dense network saw (scratch-E), or for as many multiplications (scratch-B).

python recipes/cheaper_layers.py                                 # scikit-learn's digits, minutes on one core
python recipes/cheaper_layers.py --data mnist --data-root DIR --net lenet-5 --images 150000
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import torch
from torch import nn

import genlab
from genlab.cli.main import start
from genlab.compress.count import macs
from genlab.compress.low_rank import factorise
from genlab.compress.neurons import prune_neurons
from genlab.compress.prune import prune
from genlab.compress.quantise import binarise
from genlab.compress.separable import separate
from genlab.compress.table import table
from genlab.core.ranges import Length, Repeats, Seeds
from genlab.core.text import counted
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import ClassifierConfig, FineTuning
from genlab.nets.classifiers import LENETS, NETWORKS
from genlab.reporting.finish import finish
from genlab.reporting.plots import pareto
from genlab.reporting.spread import spread, with_deviation

SPARSE, HALF, SPARSITY = "95 % of the weights pruned", "half the filters", 0.95


@dataclass(frozen=True)
class Config:
    """Multiplications, bytes, speed and error of every variant."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    net: Literal["cnn", "mlp", "lenet-300-100", "lenet-5"] = "cnn"
    """architecture of the dense network"""
    images: Length = 20_000
    """length of a training"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    timings: Repeats = 5
    """measurements of the speed, of which the median is taken"""
    out: Path = Path("runs/cheaper-layers")
    """folder of the compressed files and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    known, test = data.load("train"), data.load("test")
    tables = []
    for seed in config.seeds:
        nets = variants(config, known, seed)
        tables.append(table(nets, test, config.out / f"files-{seed}", config.timings))
    rows = [summary(repetitions) for repetitions in zip(*tables)]
    page = genlab.Report(f"Cheaper layers: {config.net} on {config.data}")
    page.section("Error against time and bytes", message(rows))
    page.picture(pareto(panels(rows)))
    page.text(f"Mean ± standard deviation over {counted(config.seeds)}; speed-up: of batches of 256 images.")
    page.table(["network", "MACs", "bytes", "speed-up", "error, %"], map(shown, rows))
    finish(config.out, page, rows)


def variants(config: Config, known: Images, seed: int) -> dict[str, nn.Module]:
    """The dense network first, then all others, trained."""
    torch.manual_seed(seed)
    dense, binary, scratch_e, scratch_b = (untrained(config, known) for _ in range(4))
    train(dense, known, config.images, seed, "dense")
    prune(sparse := copy.deepcopy(dense), SPARSITY, scope="network")
    made = {"dense": dense, SPARSE: sparse, HALF: prune_neurons(dense, 0.5), "low rank": factorise(dense, 0.8)}
    if any(isinstance(layer, nn.Conv2d) for layer in dense):
        made["separable"] = separate(dense)
    for name, net in made.items():
        train(net, known, config.images, seed, name, lr=0.02)

    binarise(binary)
    train(binary, known, 2 * config.images, seed, "binary weights", lr=0.02, clip=1.0)

    half_e, half_b = prune_neurons(scratch_e, 0.5), prune_neurons(scratch_b, 0.5)
    train(half_e, known, config.images, seed, "scratch-E")
    longer = config.images * macs(dense, known.shape) // macs(half_e, known.shape)
    train(half_b, known, longer, seed, "scratch-B")
    return {
        **made,
        "binary weights": binary,
        f"{HALF}, scratch-E": half_e,
        f"{HALF}, scratch-B": half_b,
    }


def untrained(config: Config, known: Images) -> nn.Module:
    return (NETWORKS | LENETS)[config.net](known.shape, len(known.classes)).to(known.device)


def train(
    net: nn.Module, known: Images, images: int, seed: int, name: str, lr: float = 0.05, clip: float | None = None
) -> None:
    options = genlab.TrainOptions(images, seed=seed, schedule="cosine", clip=clip)
    method = FineTuning(net, ClassifierConfig(lr=lr, weight_decay=1e-4))
    genlab.fit(method, Stream(known, options.batch, seed=seed), options, title=f"{seed}: {name}")


def summary(repetitions: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """One variant over all seeds."""

    def over_seeds(name: str, values: list[float]) -> dict[str, float]:
        average, deviation = spread(values)
        return {name: average, f"{name} (sd)": deviation}

    row = {"network": repetitions[0]["network"]}
    row |= {name: mean(each[name] for each in repetitions) for name in ("MACs", "bytes")}
    for batch in (1, 256):
        row |= over_seeds(f"speed-up, batch {batch}", [1 / each[f"time, batch {batch}"] for each in repetitions])
    return row | over_seeds("error, %", [each["error, %"] for each in repetitions])


def message(rows: list[dict[str, Any]]) -> str:
    sparse, half = (next(row for row in rows if row["network"] == name) for name in (SPARSE, HALF))
    size = lambda row: f"{row['bytes'] / rows[0]['bytes']:.0%} of the bytes"
    speed = lambda row: f"{row['speed-up, batch 256']:.1f} times as fast"
    return (
        f"Relative to the dense network, one without {SPARSITY:.0%} of its weights has {size(sparse)} and is "
        f"{speed(sparse)}; one without half of its filters has {size(half)} and is {speed(half)}."
    )


def panels(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Error against time and against bytes, of every network."""
    error = lambda row: (row["error, %"], row["error, % (sd)"])
    return {
        ("time for 256 images, dense = 1", "error, %"): {
            row["network"]: (1 / row["speed-up, batch 256"], *error(row)) for row in rows
        },
        ("bytes of the file", "error, %"): {row["network"]: (row["bytes"], *error(row)) for row in rows},
    }


def shown(row: dict[str, Any]) -> list[Any]:
    """One variant as a row of the page."""
    measured = ("speed-up, batch 256", "error, %")
    cells = [with_deviation(row[name], row[f"{name} (sd)"]) for name in measured]
    return [row["network"], round(row["MACs"]), round(row["bytes"]), *cells]


if __name__ == "__main__":
    start(main, Config)
