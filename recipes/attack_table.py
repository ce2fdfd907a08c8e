"""Every attack that needs no preparation on one classifier: success, sizes, passes and time, with all its settings.

python recipes/attack_table.py                                   # scikit-learn's digits, minutes on one core
python recipes/attack_table.py --data mnist --data-root DIR --n 64 --images 300000
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import genlab
from attacks.core.model import Attack, TrainedAttack
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import attack_picture, progress
from attacks.evaluation.results import Evaluation, Row
from attacks.noise import RandomNoise
from attacks.plugin import ATTACKS, attack
from genlab.cli.main import start
from genlab.core.ranges import Count, Eps, Length, Seed, Several, Width
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.finish import finish
from genlab.reporting.plots import bars

HEADER = ["attack", "success %", "L2 mean", "median", "relative", "L∞ median", "forward", "backward", "s per 1000"]


@dataclass(frozen=True)
class Config:
    """One row per attack."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 100_000
    """length of the classifier's training"""
    width: Width = 32
    """channels of the classifier's finest level"""
    n: Count = 16
    """held-out images to attack"""
    eps: Eps = 0.1
    """L-infinity radius of the attacks that stay within a ball; the others look for the smallest change"""
    attacks: Several[str] = ()
    """names as `genlab list` shows them; none: all that need no preparation. Random noise is always measured, too"""
    out: Path = Path("runs/attack-table")
    """folder of the run and the report"""
    seed: Seed = 0
    """seed of the training"""


def main(config: Config) -> None:
    attacks = chosen(config)
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    experiment = genlab.Experiment(ClassifierConfig(width=config.width), data, images=config.images, seed=config.seed)
    model = experiment.run(config.out / "classifier")
    test = data.load("test").subset(slice(0, config.n))
    with progress() as options:
        found = evaluate({config.data: model}, attacks, test.x, test.labels, options=options)
    finish(config.out, report(config, found), found.to_json())


def chosen(config: Config) -> dict[str, Attack]:
    """The attacks that were asked for; otherwise all but those that learn beforehand and the random noise."""
    attacks = {name: attack(name, config.eps) for name in config.attacks or ATTACKS}
    if config.attacks:
        return attacks
    return {name: each for name, each in attacks.items() if not isinstance(each, TrainedAttack | RandomNoise)}


def report(config: Config, found: Evaluation) -> genlab.Report:
    page = genlab.Report(f"Attacks on {config.data}")
    success = {row.attack: row.success.value or 0.0 for row in found.rows}
    page.text(message(found.rows, config.eps))
    page.picture(
        bars({name: [share] for name, share in success.items()}, x="share of the correctly classified images fooled")
    )
    text = "Forward and backward passes are per image; relative is L2 as a share of the image's own L2 norm."
    page.section("Success and cost", text).table(HEADER, costs(found))
    page.section("Settings").table(["attack", "all its options"], ([row.attack, row.config] for row in found.rows))
    page.warnings(found.warnings)
    page.section("Pictures", "Under each image its class: the true one, and the predicted one with its probability.")
    for example in found.examples:
        page.picture(attack_picture(example), example.attack)
    return page


def message(rows: Sequence[Row], eps: float) -> str:
    """The strongest of the attacks that have a radius, and the smallest perturbation of the others."""
    limited = {row.attack: row.success.value or 0.0 for row in rows if row.eps is not None}
    free = {row.attack: row.l2.median for row in rows if row.eps is None and row.l2.median is not None}
    sentences = []
    if limited:
        name = max(limited, key=limited.__getitem__)
        sentences.append(f"Of the attacks of radius {eps:g} {name} fools most images, {limited[name]:.0%}.")
    if free:
        name = min(free, key=free.__getitem__)
        sentences.append(f"Of those that look for a small perturbation {name} has the smallest L2, {free[name]:.3g}.")
    return " ".join(sentences)


def costs(found: Evaluation) -> list[list[str]]:
    """The cells under HEADER, a row per attack."""
    rows = []
    for row in found.rows:
        sizes = [row.l2.mean, row.l2.median, row.relative.mean, row.linf.median]
        cells = ["–" if size is None else f"{size:.3f}" for size in sizes]
        passes = [f"{row.forwards:.0f}", f"{row.backwards:.0f}", f"{1000 * row.seconds / row.n:.1f}"]
        rows.append([row.attack, row.success.percent, *cells, *passes])
    return rows


if __name__ == "__main__":
    start(main, Config)
