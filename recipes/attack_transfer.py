"""Transfer of adversarial examples: which source model serves best against a target that the attacker cannot see?

MI-FGSM on another training of each architecture (the source) against all architectures (the targets). Targets are not
equally strong, so success is also given relative to that of the same attack on the target itself (white box). Sources
are not equally good either: the target's own architecture is compared with what source and target lead to expect.

python recipes/attack_transfer.py                                # scikit-learn's digits, minutes on one core
python recipes/attack_transfer.py --data mnist --data-root DIR --attacked 100
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor

import genlab
from attacks import MIFGSM, Linf
from attacks.core.goal import predicted_classes
from attacks.noise import RandomNoise
from genlab.cli.main import start
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Seeds, Steps
from genlab.core.text import counted
from genlab.data import Images
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig, NetName
from genlab.nets.classifiers import NETWORKS
from genlab.reporting.finish import finish
from genlab.reporting.plots import heat
from genlab.reporting.spread import over_seeds, plus_minus, spread, with_deviation

WHITE_BOX, NOISE = "the target itself", "random noise"  # besides the sources
Rates = dict[str, dict[str, float]]  # source -> target -> success in per cent


@dataclass(frozen=True)
class Config:
    """Success of MI-FGSM for every pair of source and target."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    nets: NonEmpty[NetName] = tuple(NETWORKS)
    """architectures, three or more"""
    images: Length = 10_000
    """length of each training"""
    eps: Eps = 0.2
    """L-infinity radius in pixels of [0, 1]"""
    steps: Steps = 10
    """of MI-FGSM"""
    attacked: Count = 300
    """held-out images"""
    seeds: Seeds = (0, 1, 2)
    """of the targets; sources have the next one"""
    out: Path = Path("runs/attack-transfer")
    """folder of the runs and the report"""

    def check_relations(self) -> None:
        if len(set(self.nets)) < max(3, len(self.nets)):
            raise ValueError(f"--nets must be three or more different architectures, got {', '.join(self.nets)}")


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    models = {seed: train(config, data, seed) for seed in sorted({s + i for s in config.seeds for i in (0, 1)})}
    test = data.load("test").subset(slice(0, config.attacked))
    success = [success_rates(config, models[seed + 1], models[seed], test) for seed in config.seeds]
    relative = [relative_rates(rates, config.nets) for rates in success]
    own = [[own_architecture(rates, net) for net in config.nets] for rates in relative]

    page = genlab.Report(f"Transfer of adversarial examples on {config.data}")
    page.section("Which source model serves best?", message(own))
    page.picture(matrix(relative, "% of the white-box success"))
    page.picture(matrix(success, "success, %"))
    page.text(
        f"Rows: the model that MI-FGSM of {config.steps} steps at eps {config.eps} attacks in place of the target, of "
        f"another training. Columns: targets. Mean ± standard deviation over {counted(own)}."
    )
    figures = list(own[0][0])[1:]
    page.section(
        "The target's own architecture as source, % of the white-box success",
        "Beyond source and target: above the sum of a number per source and one per target, fitted to all other pairs.",
    )
    cells = ([rows[0]["target"], *(plus_minus(row[f] for row in rows) for f in figures)] for rows in zip(*own))
    page.table(["target", *figures], cells)
    results = {
        "success": averaged(success),
        "relative": averaged(relative),
        "own architecture": [{"target": rows[0]["target"]} | over_seeds(rows, figures) for rows in zip(*own)],
        "beyond": mean(row["beyond source and target"] for rows in own for row in rows),
        "best": mean(sum(map(is_best, rows)) for rows in own),
    }
    finish(config.out, page, results)


def train(config: Config, data: genlab.DataOptions, seed: int) -> dict[str, Any]:
    """A classifier of every architecture."""
    plan = {net: genlab.Experiment(ClassifierConfig(net), data, images=config.images, seed=seed) for net in config.nets}
    check_all(plan.values())
    return {net: each.run(config.out / f"{net}-{seed}", pictures=1) for net, each in plan.items()}


def success_rates(config: Config, sources: dict[str, Any], targets: dict[str, Any], test: Images) -> Rates:
    """Of the images that a target classifies correctly, the share that it does not after the attack."""
    ball = Linf(config.eps)
    attack = MIFGSM(ball, steps=config.steps)
    crafted = {net: attack(model, test.x, test.labels) for net, model in sources.items()}
    white_box = {net: attack(model, test.x, test.labels) for net, model in targets.items()}
    noisy = {net: RandomNoise(ball)(model, test.x, test.labels) for net, model in targets.items()}
    rates = lambda found: {net: fooled(model, test, found[net]) for net, model in targets.items()}
    return {
        **{source: rates(dict.fromkeys(targets, x)) for source, x in crafted.items()},
        WHITE_BOX: rates(white_box),
        NOISE: rates(noisy),
    }


@torch.no_grad()
def fooled(model: Any, test: Images, changed: Tensor) -> float:
    known = predicted_classes(model(test.x)) == test.labels
    wrong = predicted_classes(model(changed)) != test.labels
    return 100 * float(wrong[known].float().mean()) if known.any() else 0.0


def relative_rates(rates: Rates, nets: Sequence[str]) -> Rates:
    """The rates of the sources, in per cent of the white-box attack's."""
    whole = rates[WHITE_BOX]
    return {source: {net: 100 * rate / max(whole[net], 1e-9) for net, rate in rates[source].items()} for source in nets}


def own_architecture(rates: Rates, net: str) -> dict[str, Any]:
    """How well the target's own architecture serves as source, beside the others."""
    others = [rates[source][net] for source in rates if source != net]
    return {
        "target": net,
        "own architecture": rates[net][net],
        "best other": max(others),
        "mean of the others": mean(others),
        "beyond source and target": rates[net][net] - expected(rates, net),
    }


def expected(rates: Rates, net: str) -> float:
    """The rate of `net` on `net`, if each were the sum of a number per source and one per target: the least squares of
    all pairs of different architectures."""
    nets = list(rates)
    pairs = [(i, j) for i in range(len(nets)) for j in range(len(nets)) if i != j]
    terms = np.zeros((len(pairs), 2 * len(nets)))
    for row, (i, j) in enumerate(pairs):
        terms[row, i] = terms[row, len(nets) + j] = 1
    fitted = np.linalg.lstsq(terms, np.array([rates[nets[i]][nets[j]] for i, j in pairs]))[0]
    at = nets.index(net)
    return float(fitted[at] + fitted[len(nets) + at])


def is_best(row: dict[str, Any]) -> bool:
    return row["own architecture"] >= row["best other"]


def message(own: Sequence[Sequence[dict[str, Any]]]) -> str:
    best = [rows[0]["target"] for rows in zip(*own) if mean(map(is_best, rows)) > 0.5]
    beyond = plus_minus(mean(row["beyond source and target"] for row in rows) for rows in own)
    where = f"for {', '.join(best)}" if best else "for no target"
    return (
        f"Relative to the white-box attack, the target's own architecture is the best source {where}, of "
        f"{len(own[0])}; it gains {beyond} points beyond what source and target lead to expect."
    )


def matrix(tables: Sequence[Rates], title: str) -> bytes:
    sources, targets = list(tables[0]), list(tables[0][next(iter(tables[0]))])
    found = [[spread(rates[source][net] for rates in tables) for net in targets] for source in sources]
    cells = [[(min(m / 100, 1), with_deviation(m, s)) for m, s in row] for row in found]
    rows = [name if name in (WHITE_BOX, NOISE) else f"from {name}" for name in sources]
    return heat(cells, rows, [f"to {name}" for name in targets], title=title)


def averaged(tables: Sequence[Rates]) -> list[dict[str, Any]]:
    return [{"source": source} | over_seeds([rates[source] for rates in tables]) for source in tables[0]]


if __name__ == "__main__":
    start(main, Config)
