"""Every attack that needs no preparation on one classifier: success, sizes, passes and time, with all its settings.

python recipes/attack_table.py                                   # scikit-learn's digits, minutes on one core
python recipes/attack_table.py --data mnist --data-root DIR --n 64 --images 300000
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rich.table import Column, Table

import genlab
from attacks.core.model import TrainedAttack
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import progress, triptych
from attacks.noise import RandomNoise
from attacks.plugin import ATTACKS, attack
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Eps, Length, Seed, Width
from genlab.core.text import Console
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.grid import grid_png


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
    """size of the attacks that keep inside a ball, in L-infinity; the others look for the smallest change"""
    attacks: tuple[str, ...] = ()
    """names as `genlab list` tells them; none: every one that needs no preparation. The control is always there"""
    out: Path = Path("runs/attack-table")
    """folder of the run and the report"""
    seed: Seed = 0


def main(config: Config) -> None:
    every = {name: attack(name, config.eps) for name in config.attacks or ATTACKS}
    chosen = {name: a for name, a in every.items() if config.attacks or not isinstance(a, TrainedAttack | RandomNoise)}
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    train = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine")
    model = genlab.Experiment(ClassifierConfig(width=config.width), data, **vars(train)).run(config.out / "classifier")
    test = data.load("test").subset(slice(0, config.n))
    with progress() as tell:
        found = evaluate({config.data: model}, chosen, test.x, test.labels, progress=tell)

    head = ["attack", "success %", "L2 mean", "median", "relative", "L∞ median", "forward", "backward", "s per 1000"]
    table, page, rows = Table(Column(head[0], no_wrap=True), *head[1:]), genlab.Report(f"Attacks on {config.data}"), []
    for row in found.rows:
        sizes = row.l2.mean, row.l2.median, row.relative.mean, row.linf.median
        passes = [f"{row.forwards:.0f}", f"{row.backwards:.0f}", f"{1000 * row.seconds / row.n:.1f}"]
        rows.append([row.attack, row.success.percent, *("–" if s is None else f"{s:.3f}" for s in sizes), *passes])
        table.add_row(*rows[-1])
    Console().print(table)
    page.section("Cost and success", "Passes: per image. Relative: L2 over the image's own.").table(head, rows)
    page.section("Settings").table(["attack", "all its options"], [[row.attack, row.config] for row in found.rows])
    page.warnings(found.warnings).section("Pictures", "Rows: original, adversarial, difference x 50 around grey.")
    for example in found.examples:
        page.picture(grid_png(triptych(example), columns=len(example.x)), example.attack)
    write_atomically(config.out / "results.json", json.dumps(found.to_json(), indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
