"""One network with cheaper layers: fewer filters, separable convolutions, low rank, binary weights; over seeds.

What is made of the trained network is trained once more, as is the network itself. Binary weights are trained for as
long from their own start. Controls of Liu et al. 2019, arXiv:1810.05270: half the filters from a random start, for as
many images as the dense network saw (E), or for as many multiplications (B).
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
from genlab.compress.count import macs
from genlab.compress.low_rank import factorise
from genlab.compress.neurons import prune_neurons
from genlab.compress.quantise import binarise
from genlab.compress.separable import separate
from genlab.compress.table import table
from genlab.core.files import write_atomically
from genlab.core.ranges import Length, Repeats
from genlab.data import Stream
from genlab.methods.classification.classifier import ClassifierConfig, FineTuning
from genlab.nets.classifiers import LENETS, NETWORKS
from genlab.reporting.report import spread


@dataclass(frozen=True)
class Config:
    data: str = "digits"
    data_root: Path | None = None  # where downloaded sets lie
    net: Literal["cnn", "mlp", "lenet-300-100", "lenet-5"] = "cnn"
    images: Length = 20_000  # length of a training
    seeds: Repeats = 3
    out: Path = Path("runs/cheaper-layers")


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    known, test, found = data.load("train"), data.load("test"), []
    for seed in range(config.seeds):

        def train(net: nn.Module, what: str, images: int, lr: float = 0.05, seed: int = seed, **more) -> nn.Module:
            options = genlab.TrainOptions(images, seed=seed, schedule="cosine", **more)
            method = FineTuning(net, ClassifierConfig(lr=lr, weight_decay=1e-4))
            genlab.fit(method, Stream(known, 64, seed=seed), options, title=f"{seed}: {what}")
            return net

        torch.manual_seed(seed)
        make = lambda: (NETWORKS | LENETS)[config.net](known.shape, len(known.classes)).to(known.device)
        (net, binary, short, long), n = [make() for _ in range(4)], config.images
        binarise(binary)
        train(net, "dense", n)
        nets = {"dense": net, "half the filters": prune_neurons(net, 0.5), "low rank": factorise(net, 0.8)}
        nets |= {"separable": separate(net)} if any(isinstance(layer, nn.Conv2d) for layer in net) else {}
        nets = {name: train(each, name, n, 0.02) for name, each in nets.items()}
        nets["binary weights"] = train(binary, "binary", 2 * n, 0.02, clip=1.0)
        nets["half from random, E"] = train(half := prune_neurons(short, 0.5), "E", n)
        more = n * macs(net, known.shape) // macs(half, known.shape)
        nets["half from random, B"] = train(prune_neurons(long, 0.5), "B", more)
        found.append(table(nets, test, config.out / f"files-{seed}"))
    rows, head = [], ["network", "MACs", "bytes", "faster, batch 1", "±", "faster, batch 256", "± ", "error, %", " ±"]
    for each in zip(*found):
        faster = [[1 / row[f"time, batch {batch}"] for row in each] for batch in (1, 256)]
        rows.append(row := [each[0]["network"], mean(r["MACs"] for r in each), mean(r["bytes"] for r in each)])
        row += [x for values in (*faster, [r["error, %"] for r in each]) for x in spread(values)]
        text = "{:20}{:10,.0f} MACs{:10,.0f} bytes {:5.2f} ± {:.2f} {:5.2f} ± {:.2f} x faster {:6.2f} ± {:.2f} %"
        print(text.format(*row))
    page = genlab.Report(f"Cheaper layers: {config.net} on {config.data}").table(head, rows)
    write_atomically(config.out / "results.json", json.dumps([dict(zip(head, row)) for row in rows]).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
