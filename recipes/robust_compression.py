"""Compression under attack: every stage from the dense network to the small file, its costs and its robustness.

A CNN is distilled into LeNet-300-100, which is pruned and shared, or loses neurons, rank or bits. All are attacked by
images made for themselves and for the dense parent, and by one perturbation for all images.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import genlab
from attacks import FGSM, PGD, Linf
from attacks.evaluate import evaluate
from attacks.universal import UniversalGradient
from genlab.cli import start
from genlab.compress.deep import LENET300, pruned, shared
from genlab.compress.distil import Distillation
from genlab.compress.layers import hardened
from genlab.compress.low_rank import factorise
from genlab.compress.neurons import prune_neurons
from genlab.compress.quantise import round_evenly
from genlab.compress.table import table
from genlab.data import Stream
from genlab.methods.classifier import ClassifierConfig, FineTuning
from genlab.nets.classifiers import lenet300


@dataclass(frozen=True)
class Config:
    data: str = "digits"
    data_root: Path | None = None
    images: int = 60_000  # length of every training
    rounds: int = 4  # of pruning
    eps: float = 0.1  # L-infinity size of the attacks, in pixels of [0, 1]
    attacked: int = 300
    out: Path = Path("runs/robust-compression")
    seed: int = 0


def main(config: Config) -> None:
    data, ball = genlab.DataOptions(config.data, data_root=config.data_root), Linf(config.eps)
    known, test = data.load("train"), data.load("test")
    options = genlab.Options(config.images, seed=config.seed, schedule="cosine")
    teacher = genlab.Experiment(ClassifierConfig(), data, options).run(config.out / "teacher", pictures=1)

    def train(net: nn.Module, factor: float, title: str) -> nn.Module:
        genlab.fit(FineTuning(net, 0.05 * factor), Stream(known, 64, seed=config.seed), options, title=title)
        return net

    torch.manual_seed(config.seed)
    student = Distillation(lenet300(known.shape, len(known.classes)), [teacher])
    dense = genlab.fit(student, Stream(known, 64, seed=config.seed), options, title="distilled").net
    sparse = pruned(dense, LENET300[0], config.rounds, train)
    stages = {"dense": dense, "pruned": sparse, "shared": shared(sparse, LENET300[1], train)}
    stages["half the neurons"] = train(prune_neurons(dense, 0.5), 0.4, "half the neurons")
    stages["low rank"] = train(factorise(dense, 0.8), 0.4, "low rank")
    round_evenly(four := hardened(dense), 4)
    stages["four bits"] = train(four, 0.1, "four bits")
    rows = table(nets := {name: hardened(net).eval() for name, net in stages.items()}, test, config.out / "files")
    x, y = test.x[: config.attacked], test.labels[: config.attacked]
    universal = UniversalGradient(ball, images=config.images // 4).prepare(nets["dense"], known)
    attacks = {"FGSM": FGSM(ball), "PGD": PGD(ball, steps=20), "universal": universal}
    own = evaluate(nets, attacks, x, y)
    moved = evaluate(nets, {"PGD": attacks["PGD"]}, x, y, sources=dict.fromkeys(nets, "dense"))
    for found, where in ((own, ""), (moved, " on parent")):
        for row, r in ((row, r) for row in rows for r in found.rows if r.model == row["network"]):
            row[f"{r.attack}{where}, %"] = 100 * (r.success.value or 0.0)
    page = genlab.Report(f"Compression under attack: {config.data}, L-infinity {config.eps}")
    page.table(list(rows[0]), [list(row.values()) for row in rows]).warnings(own.warnings)
    (config.out / "results.json").write_text(text := json.dumps(rows, indent=1))
    print(text, f"report {page.save(config.out / 'report.html')}", sep="\n")


if __name__ == "__main__":
    start(main, Config)
