"""Reprogramming: a learned frame makes a frozen classifier count squares; for comparison, an untrained classifier.

python recipes/reprogramming.py                                  # scikit-learn's digits, minutes on one core
python recipes/reprogramming.py --data folder:DIR --pixels 4     # more victims: results/attacks.md
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import nn

import genlab
from attacks.reprogramming import Program, Reprogramming, grid_mask, squares
from genlab.cli.main import start
from genlab.core.ranges import LearningRate, Length, Range, Seed, Side
from genlab.data import Images
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """How well squares are counted by a classifier that never learnt to."""

    data: str = "digits"
    """what the victim classifies, in ten classes"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side = 32
    """height and width of the victim's images"""
    cells: Annotated[int, Range(1, 256)] = 4
    """the small picture is a grid of so many by so many cells"""
    pixels: Annotated[int, Range(1, 256)] = 3
    """side of a square"""
    gap: Annotated[int, Range(0, 256)] = 4
    """pixels between squares, which the program fills"""
    classifier: ClassifierConfig = ClassifierConfig("resnet")
    """the victim; best one whose last layer averages over all positions"""
    classifier_images: Length = 20_000
    """length of the victim's training"""
    images: Length = 40_000
    """length of the program's training"""
    rate: LearningRate = 0.2
    """learning rate of the program"""
    out: Path = Path("runs/reprogramming")
    """folder of the run and the report"""
    seed: Seed = 0
    """of the victim's training, the squares and the program"""

    def check_relations(self) -> None:
        side = self.cells * self.pixels + (self.cells - 1) * self.gap
        if self.cells < 4:
            raise ValueError(f"--cells must be at least 4, for ten squares, got {self.cells}")
        if side > self.size or (side == self.size and not self.gap):
            text = f"--cells, --pixels and --gap make a picture of {side} pixels"
            raise ValueError(f"{text}, which leaves no room for a program in --size {self.size}")


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, data_root=config.data_root)
    test = data.load("test")
    if len(test.classes) < 10:
        raise ValueError(f"a victim that counts ten squares needs ten classes, {config.data} has {len(test.classes)}")
    victims = trained_and_untrained(data, test, config)
    accuracy = genlab.Run(config.out / "victim").results()["accuracy"]
    held_out = small_pictures(2_000, config.seed + 1, test, config)
    page = genlab.Report(f"Reprogramming a classifier of {config.data}")
    header = ["victim", "counted right"]
    rows = []
    first = torch.stack([held_out.x[held_out.labels == label][0] for label in range(10)])
    page.picture(grid_png(first, 5), "1 to 10 squares")
    for name, victim in victims.items():
        program = learn(victim, test, config)
        rows.append([name, program.evaluate(held_out)["accuracy"]])
        page.picture(grid_png(program.frame(first).detach(), 5), f"the same, as the {name} victim sees them")
    page.opening(
        f"By the border around them a frozen classifier of {config.data} counts squares in {rows[0][1]:.1%} of new "
        f"pictures, an untrained one in {rows[1][1]:.1%}; chance is 10 %. On its own held-out images it is right in "
        f"{accuracy:.1%}."
    )
    page.table(header, rows)
    finish(config.out, page, {"accuracy of the victim": accuracy, "rows": records(header, rows)})


def trained_and_untrained(data: genlab.DataOptions, test: Images, config: Config) -> dict[str, nn.Module]:
    """The victim, and the same network with random weights."""
    experiment = genlab.Experiment(config.classifier, data, images=config.classifier_images, seed=config.seed)
    trained = experiment.run(config.out / "victim")
    torch.manual_seed(config.seed)
    untrained = config.classifier.build(test.shape, len(test.classes)).to(test.device).eval()
    return {"trained": trained, "untrained": untrained}


def small_pictures(n: int, seed: int, test: Images, config: Config) -> Images:
    """n pictures of squares, with the channels of the victim's images."""
    channels = test.shape[0]
    return squares(n, config.cells, config.pixels, config.gap, channels=channels, seed=seed).to(test.device)


def learn(victim: nn.Module, test: Images, config: Config) -> Program:
    """The program for a victim of images like those of `test`."""
    method = Reprogramming(config.images, lr=config.rate, seed=config.seed)
    pictures = small_pictures(20_000, config.seed, test, config)
    return method.learn(victim, test.shape, pictures, grid_mask(config.cells, config.pixels, config.gap))


if __name__ == "__main__":
    start(main, Config)
