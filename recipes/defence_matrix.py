"""Every defence against every attack: two heat maps of success rates, by what the attacker knows.

Oblivious attacks are made for the undefended network; adaptive ones go through the defence. A defence that stops only
the former is none, and the verdict says so.

python recipes/defence_matrix.py                                 # scikit-learn's digits, minutes on one core
python recipes/defence_matrix.py --data mnist --data-root DIR --eps 0.2
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from torch import nn

import genlab
from attacks import FGSM, PGD, AutoPGD, Linf, Square
from attacks.core.model import Attack
from attacks.defences.adversarial_training import AdversarialTrainingConfig
from attacks.defences.ensemble import ProbabilityEnsemble
from attacks.defences.randomised_smoothing import NoiseTrainingConfig, Smoothed
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import add_evaluation, least_robust, progress
from attacks.evaluation.results import Row
from attacks.evaluation.verdict import models_and_sources, to_json
from attacks.plugin import defence
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, Range, Seed, Several, Steps
from genlab.core.text import listed
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.finish import finish
from genlab.reporting.plots import heat

ROBUST: tuple[Literal["fgsm", "pgd", "trades"], ...] = ("fgsm", "pgd", "trades")  # schemes of adversarial training


@dataclass(frozen=True)
class Config:
    """Success rates of every attack on every defence, oblivious and adaptive."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 60_000
    """length of every training"""
    eps: Annotated[float, Range(0, 0.5, above=True)] = 0.1
    """L-infinity radius of attacks and of adversarial training, in pixels of [0, 1]"""
    filters: Several[str] = ("median", "bits", "jpeg", "resize-pad")
    """filters in front of the undefended network, by names as `genlab list` shows them"""
    attacked: Count = 200
    """held-out images to attack"""
    steps: Steps = 40
    """steps of PGD"""
    apgd_steps: Steps = 100
    """steps of APGD"""
    queries: Count = 300
    """queries per image of Square, the attack without gradients"""
    out: Path = Path("runs/defence-matrix")
    """folder of the runs and the report"""
    seed: Seed = 0
    """seed of every training"""


def main(config: Config) -> None:
    check_filters(config)
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    networks = train(config, data)
    test = data.load("test").subset(slice(0, config.attacked))
    models, sources = models_and_sources(networks["plain"], defences(config, networks))
    with progress() as options:
        found = evaluate(models, attacks(config), test.x, test.labels, sources=sources, options=options)

    page = genlab.Report(f"Defences against attacks: {config.data}, L-infinity {config.eps:g}")
    page.text(f"Right under the strongest attack that knows the defence: {listed(least_robust(found), '.0%')}.")
    page.picture(heat_map([row for row in found.rows if row.source != row.model], "oblivious attacks"))
    page.picture(heat_map([row for row in found.rows if row.source == row.model], "adaptive attacks"))
    finish(config.out, add_evaluation(page, found), to_json(found))


def check_filters(config: Config) -> None:
    """Refuses an unknown filter before anything is trained."""
    for name in config.filters:
        defence(name, nn.Identity())


def train(config: Config, data: genlab.DataOptions) -> dict[str, Any]:
    methods: dict[str, genlab.Config] = {
        "plain": ClassifierConfig(weight_decay=5e-4),
        "weight-decay": ClassifierConfig(weight_decay=5e-3),
        "dropout": ClassifierConfig(dropout=0.5),
        "resnet": ClassifierConfig("resnet"),
        "noise": NoiseTrainingConfig(2 * config.eps),
        **{scheme: AdversarialTrainingConfig(scheme, eps=config.eps) for scheme in ROBUST},
    }
    train = {"images": config.images, "seed": config.seed, "warmup": 0.05}
    plan = {name: genlab.Experiment(method, data, **train) for name, method in methods.items()}
    check_all(plan.values())
    return {name: experiment.run(config.out / name, pictures=1) for name, experiment in plan.items()}


def defences(config: Config, networks: dict[str, Any]) -> dict[str, nn.Module]:
    members = [networks[name] for name in ("plain", "weight-decay", "resnet")]
    return {
        "weight decay": networks["weight-decay"],
        "dropout": networks["dropout"],
        "ensemble of three": ProbabilityEnsemble(members),
        **{name: defence(name, networks["plain"]) for name in config.filters},
        "randomised smoothing": Smoothed(networks["noise"], 2 * config.eps),
        **{f"{scheme} training": networks[scheme] for scheme in ROBUST},
    }


def attacks(config: Config) -> dict[str, Attack]:
    ball = Linf(config.eps)
    iterative = {"PGD": PGD(ball, config.steps), "APGD": AutoPGD(ball, config.apgd_steps)}
    return {"FGSM": FGSM(ball), **iterative, "Square": Square(ball, config.queries)}


def heat_map(found: list[Row], title: str) -> bytes:
    """A PNG with a row per model and a column per attack."""
    models = list(dict.fromkeys(row.model for row in found))
    names = list(dict.fromkeys(row.attack for row in found))
    success = {(row.model, row.attack): row.success for row in found}
    cells = [[(success[model, name].value or 0.0, success[model, name].percent) for name in names] for model in models]
    return heat(cells, models, names, title=f"success, %, {title}")


if __name__ == "__main__":
    start(main, Config)
