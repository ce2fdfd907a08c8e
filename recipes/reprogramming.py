"""Reprogramming: a learned frame makes a frozen classifier count squares; the control is an untrained victim.

python recipes/reprogramming.py                                  # scikit-learn's digits, minutes on one core
python recipes/reprogramming.py --data folder:DIR --size 32 --pixels 4 --gap 3     # counts best: results/attacks.md
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from rich.table import Table

import genlab
from attacks.reprogramming import Reprogramming, grid_mask, squares
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import LearningRate, Length, Range, Seed, Side
from genlab.core.text import Console
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """How well squares are counted by a classifier that never learnt to."""

    data: str = "digits"
    """what the victim classifies, in ten classes"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side = 28
    """height and width of the victim's images"""
    cells: Annotated[int, Range(1, 256)] = 4
    """the small picture is a grid of so many by so many cells"""
    pixels: Annotated[int, Range(1, 256)] = 2
    """side of a square"""
    gap: Annotated[int, Range(0, 256)] = 4
    """pixels between squares, which the program fills"""
    classifier: ClassifierConfig = ClassifierConfig()
    classifier_images: Length = 30_000
    """length of the victim's training"""
    images: Length = 30_000
    """length of the program's training"""
    rate: LearningRate = 0.1
    """learning rate of the program"""
    out: Path = Path("runs/reprogramming")
    """folder of the run and the report"""
    seed: Seed = 0

    def check_relations(self) -> None:
        side = self.cells * self.pixels + (self.cells - 1) * self.gap
        if self.cells < 4:
            raise ValueError(f"--cells must be at least 4, for ten squares, got {self.cells}")
        if side > self.size or (side == self.size and not self.gap):
            text = f"--cells, --pixels and --gap make a picture of {side} pixels"
            raise ValueError(f"{text}, which leaves no room for a program in --size {self.size}")


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, data_root=config.data_root)
    train = genlab.TrainOptions(config.classifier_images, seed=config.seed, schedule="cosine")
    test = data.load("test")
    if len(test.classes) < 10:
        raise ValueError(f"a victim that counts ten squares needs ten classes, {config.data} has {len(test.classes)}")
    trained = genlab.Experiment(config.classifier, data, **vars(train)).run(config.out / "victim")
    torch.manual_seed(config.seed)
    untrained = config.classifier.build(test.shape, len(test.classes)).to(test.device).eval()
    how = {"cells": config.cells, "pixels": config.pixels, "gap": config.gap, "channels": test.shape[0]}
    learn, held = (squares(n, **how, seed=config.seed + k).to(test.device) for k, n in enumerate((20_000, 2_000)))
    method = Reprogramming(config.images, lr=config.rate, seed=config.seed)
    accuracy = genlab.Run(config.out / "victim").results()["accuracy"]
    text = f"The victim classifies {accuracy:.2%} of its own held-out images; its weights stay as they are."
    page = genlab.Report(f"Reprogramming a classifier of {config.data}").section("Counting squares", text)
    found, table = {"victim": accuracy}, Table("victim", "squares counted right", title=text)
    for name, victim in {"trained": trained, "untrained": untrained}.items():
        program = method.learn(victim, test.shape, learn, grid_mask(config.cells, config.pixels, config.gap))
        found[name] = program.evaluate(held)["accuracy"]
        table.add_row(name, f"{found[name]:.1%}")
        shown = [held.x[held.labels == label][0] for label in range(10)]
        page.picture(grid_png(program.frame(torch.stack(shown)).detach(), 5), f"1 .. 10 squares, {name}")
    page.table(["victim", "counted right (chance 0.1)"], [[name, found[name]] for name in ("trained", "untrained")])
    Console().print(table)
    write_atomically(config.out / "results.json", json.dumps(found, indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
