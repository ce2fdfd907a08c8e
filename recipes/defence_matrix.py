"""Every defence against every attack, in one picture: what the attacker knows of, and what only looks like a defence.

python recipes/defence_matrix.py --data mnist --data-root DIR --eps 0.2
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from torch import nn

import genlab
from attacks import FGSM, PGD, AutoPGD, Linf, Square
from attacks.defences import models_and_sources
from attacks.defences.adversarial_training import AdversarialTrainingConfig
from attacks.defences.ensemble import ProbabilityEnsemble
from attacks.defences.randomised_smoothing import NoiseTrainingConfig, Smoothed
from attacks.defences.verdict import table, to_json, verdicts
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import add_evaluation, progress
from attacks.plugin import defence
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Length, Range, Seed
from genlab.core.text import Console
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.plots import heat

ROBUST: tuple[Literal["fgsm", "pgd", "trades"], ...] = ("fgsm", "pgd", "trades")


@dataclass(frozen=True)
class Config:
    """A heat map of success rates, obliviously and adaptively."""

    data: str = "digits"  # labelled images
    data_root: Path | None = None  # where downloaded sets lie
    images: Length = 60_000  # length of every training
    eps: Annotated[float, Range(0, 0.5, above=True)] = 0.1  # L-infinity radius of attacks and trainings, in pixels
    filters: tuple[str, ...] = ("median", "bits", "jpeg", "resize-pad")  # names as `genlab list` tells them
    attacked: Count = 200  # held-out images to attack
    queries: Count = 300  # of the attack without gradients
    out: Path = Path("runs/defence-matrix")  # folder of the runs and the report
    seed: Seed = 0


def main(config: Config) -> None:
    data, ball = genlab.DataOptions(config.data, data_root=config.data_root), Linf(config.eps)
    for name in config.filters:
        defence(name, nn.Identity())
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine", warmup=0.05)

    attacks = {"FGSM": FGSM(ball), "PGD": PGD(ball), "APGD": AutoPGD(ball), "Square": Square(ball, config.queries)}
    methods: dict[str, genlab.Config] = {
        "decay-0.0005": ClassifierConfig(weight_decay=5e-4),
        "decay-0.005": ClassifierConfig(weight_decay=5e-3),
        "dropout": ClassifierConfig(dropout=0.5),
        "resnet": ClassifierConfig("resnet"),
        "noise": NoiseTrainingConfig(2 * config.eps),
        **{name: AdversarialTrainingConfig(name, eps=config.eps) for name in ROBUST},
    }
    plan = {name: genlab.Experiment(method, data, **vars(options)) for name, method in methods.items()}
    check_all(plan.values())
    trained = {name: each.run(config.out / name, pictures=1) for name, each in plan.items()}
    model, heavy = trained["decay-0.0005"], trained["decay-0.005"]
    shields: dict[str, nn.Module] = {
        "weight decay": heavy,
        "dropout": trained["dropout"],
        "three networks": ProbabilityEnsemble([model, heavy, trained["resnet"]]),
        **{name: defence(name, model) for name in config.filters},
        "smoothed": Smoothed(trained["noise"], 2 * config.eps),
        **{name: trained[name] for name in ROBUST},
    }
    test = data.load("test").subset(slice(0, config.attacked))
    models, sources = models_and_sources(model, shields)
    with progress() as tell:
        found = evaluate(models, attacks, test.x, test.labels, sources=sources, progress=tell)
    Console().print(table(verdicts(found)))
    page = genlab.Report(f"Defences against attacks: {config.data}, L-infinity {config.eps:g}")
    rates = {(row.model, row.attack): row for row in found.rows}
    columns = list(dict.fromkeys(row.attack for row in found.rows))
    for title, rows in (("oblivious", list(sources)), ("adaptive", [name for name in models if name not in sources])):
        cells = [[(rates[r, c].success.value or 0.0, rates[r, c].success.percent) for c in columns] for r in rows]
        page.picture(heat(cells, rows, columns, title=f"success, %, {title}"))
    add_evaluation(page, found)
    write_atomically(config.out / "results.json", json.dumps(to_json(found), indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
