"""Adversarial training: rounds against one attack, five ways to train, and how FGSM training fails and is cured.

python recipes/adversarial_training.py                           # scikit-learn's digits, minutes on one core
python recipes/adversarial_training.py --data mnist --data-root DIR --images 60000 --eps 0.3 --eps-warmup 0.3
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

import genlab
from attacks import FGSM, PGD, Linf
from attacks.defences.adversarial_training import AdversarialTrainingConfig
from attacks.evaluation.evaluate import evaluate
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Eps, Length, Repeats, Seed, Share
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import ClassifierConfig, FineTuning
from genlab.reporting.plots import curves


@dataclass(frozen=True)
class Config:
    """Success of attacks on networks that were trained on attacks."""

    data: str = "digits"  # labelled images
    data_root: Path | None = None  # where downloaded sets lie
    images: Length = 60_000  # length of every training, and of every round
    rounds: Repeats = 3  # T: rounds of attacking the training set with FGSM and training on all that was made so far
    eps: Eps = 0.15  # L-infinity radius of training and attacks, in pixels of [0, 1]
    eps_warmup: Share = 0.0  # share of training over which eps rises from 0
    attacked: Count = 300  # held-out images to attack
    out: Path = Path("runs/adversarial-training")  # folder of the runs and the report
    seed: Seed = 0


def main(config: Config) -> None:
    data, ball = genlab.DataOptions(config.data, data_root=config.data_root), Linf(config.eps)
    known, test = data.load("train"), data.load("test").subset(slice(0, config.attacked))
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine", warmup=0.05)
    attacks = {"FGSM": FGSM(ball), "PGD": PGD(ball, steps=40)}

    def rates(model):
        rows = {row.attack: row for row in evaluate({"net": model}, attacks, test.x, test.labels).rows}
        return [rows["PGD"].clean_accuracy, *(rows[name].success.value or 0.0 for name in attacks)]

    model = genlab.Experiment(ClassifierConfig(), data, **vars(options)).run(config.out / "plain", pictures=1)
    rows, everything = [["round 0", *rates(model)]], known
    for t in range(1, config.rounds + 1):
        made = torch.cat([FGSM(ball)(model, x, y) for x, y in zip(known.x.split(500), known.labels.split(500))])
        pixels = torch.cat([everything.pixels, (made * 255).round().byte()])
        everything = Images(pixels, torch.cat([everything.labels, known.labels]), known.classes, known.name)
        genlab.fit(FineTuning(model.net), Stream(everything, 64, seed=t), options, title=f"round {t}")
        rows.append([f"round {t}", *rates(model)])
    looks: dict[str, tuple[list[float], list[float]]] = {}
    for scheme in ("fgsm", "fast", "free", "trades", "pgd"):
        curve = looks[scheme] = ([], [])

        def hook(images, method, curve=curve):
            curve[0].append(images)
            curve[1].append(1 - rates(method)[2])

        method = AdversarialTrainingConfig(scheme, eps=config.eps, eps_warmup=config.eps_warmup)
        genlab.Experiment(method, data, **vars(options)).run(config.out / scheme, [(max(1, config.images // 8), hook)])
        rows.append([scheme, *rates(genlab.load(config.out / scheme))])
    page = genlab.Report(f"Adversarial training: {config.data}, L-infinity {config.eps:g}")
    page.table(header := ["training", "clean accuracy", "FGSM, success", "PGD, success"], rows)
    page.picture(curves(looks, x="images", y="share not fooled by PGD", limits=(-0.02, 1.02)))
    print(*("{:10} clean {:.3f}  FGSM {:.3f}  PGD {:.3f}".format(*row) for row in rows), sep="\n")
    found = {"rows": [dict(zip(header, row, strict=True)) for row in rows], "curves": looks}
    write_atomically(config.out / "results.json", json.dumps(found, indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
