"""Compression under attack: every stage from the dense network to the small file, its costs and its robustness.

A CNN is distilled into LeNet-300-100, which is pruned and shared, or loses neurons, rank or bits. All are attacked
themselves, by images transferred from the dense parent, and by one perturbation for all images. With --robust, teacher,
student and every fine-tuning learn from the images that PGD makes for them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import genlab
from attacks import FGSM, PGD, Linf
from attacks.defences.adversarial_training import AdversarialTraining, AdversarialTrainingConfig
from attacks.evaluation.evaluate import evaluate
from attacks.universal import UniversalGradient
from genlab.cli.main import start
from genlab.compress.deep import LENET300
from genlab.compress.distil import Distillation, DistillationConfig
from genlab.compress.table import table
from genlab.compress.variants import variants
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Eps, Length, Repeats, Seed
from genlab.data import Stream
from genlab.methods.classification.classifier import ClassifierConfig, FineTuning
from genlab.nets.classifiers import lenet300


@dataclass(frozen=True)
class Config:
    data: str = "digits"
    data_root: Path | None = None
    images: Length = 60_000  # length of every training
    rounds: Repeats = 4  # of pruning
    eps: Eps = 0.1  # L-infinity size of the attacks, in pixels of [0, 1]
    attacked: Count = 300
    robust: bool = False  # adversarial training and robust distillation
    out: Path = Path("runs/robust-compression")
    seed: Seed = 0


def main(config: Config) -> None:
    data, ball = genlab.DataOptions(config.data, data_root=config.data_root), Linf(config.eps)
    known, test = data.load("train"), data.load("test")
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine")
    method = AdversarialTrainingConfig(eps=config.eps) if config.robust else ClassifierConfig()
    teacher = genlab.Experiment(method, data, **vars(options)).run(config.out / "teacher", pictures=1)

    def train(net: nn.Module, factor: float, title: str) -> None:
        lr = method.lr * factor
        tuned: AdversarialTraining | FineTuning
        if config.robust:
            tuned = AdversarialTraining(net, AdversarialTrainingConfig(eps=config.eps, lr=lr))
        else:
            tuned = FineTuning(net, ClassifierConfig(lr=lr))
        genlab.fit(tuned, Stream(known, 64, seed=config.seed), options, title=title)

    torch.manual_seed(config.seed)
    net = lenet300(known.shape, len(known.classes)).to(known.device)
    inner = PGD(ball, steps=7, keep_best=False)
    change = (lambda x, y: inner(net, x, y)) if config.robust else None
    student = Distillation(net, [teacher], DistillationConfig(weight_decay=0.0), change)
    dense = genlab.fit(student, Stream(known, 64, seed=config.seed), options, title="distilled").net
    nets = variants(dense, *LENET300, config.rounds, train)
    rows, few = table(nets, test, config.out / "files"), test.subset(slice(0, config.attacked))
    universal = UniversalGradient(ball, images=max(1, config.images // 4)).prepare(nets["dense"], known)
    attacks = {"FGSM": FGSM(ball), "PGD": PGD(ball, steps=20), "universal": universal}
    models = nets | {f"{name}, by images for its parent": net for name, net in nets.items()}
    sources = {name: "dense" for name in models if name not in nets}
    found = evaluate(models, attacks, few.x, few.labels, sources=sources)
    for row, r in ((row, r) for row in rows for r in found.rows):
        name, _, how = r.model.partition(", ")
        if name == row["network"] and not (how and r.attack == "universal"):
            row[f"{r.attack}{how and ' on parent'}, %"] = 100 * (r.success.value or 0.0)
    page = genlab.Report(f"Compression under attack: {config.data}, L-infinity {config.eps}")
    page.table(list(rows[0]), [list(row.values()) for row in rows]).warnings(found.warnings)
    print(text := json.dumps(rows, indent=1))
    write_atomically(config.out / "results.json", text.encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
