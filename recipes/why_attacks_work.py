"""Why attacks work: random noise of their size does nothing, the gradient's direction does nearly everything.

python recipes/why_attacks_work.py                               # scikit-learn's digits, minutes on one core
python recipes/why_attacks_work.py --data mnist --data-root DIR
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import genlab
from attacks import FGSM, L2, PGD, AutoPGD, Linf
from attacks.deepfool import DeepFool
from attacks.evaluation import landscape
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import add_evaluation, progress
from attacks.evaluation.results import Sizes
from genlab.cli.main import start
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Seed
from genlab.core.text import listed
from genlab.data import Images
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.finish import finish
from genlab.reporting.grid import grid_png
from genlab.reporting.plots import curves


@dataclass(frozen=True)
class Config:
    """The probability of the true class around images, and how far the decision boundary is."""

    data: str = "digits"
    """digits, mnist, fashion, folder:PATH, ..."""
    data_root: Path | None = None
    """where downloaded sets lie"""
    eps: NonEmpty[Eps] = (0.02, 0.05, 0.1, 0.2, 0.3)
    """sizes of the perturbation, in pixels of [0, 1]"""
    classifier_images: Length = 100_000
    """length of the classifier's training"""
    attacked: Count = 300
    """held-out images to attack"""
    out: Path = Path("runs/why-attacks-work")
    """folder of the run and the report"""
    seed: Seed = 0
    """seed of the classifier's training"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    experiment = genlab.Experiment(ClassifierConfig(), data, images=config.classifier_images, seed=config.seed)
    model = experiment.run(config.out / "classifier")
    test = data.load("test").subset(slice(0, config.attacked))
    most = Linf(max(config.eps))
    attacks = {"fgsm": FGSM(most), "pgd": PGD(most), "apgd": AutoPGD(most), "deepfool": DeepFool()}
    page = genlab.Report(f"Why attacks work: {config.data}")
    directions = landscape.directions(model, test.x, test.labels, most, attacks["pgd"])
    lines = along_lines(page, model, test, directions, most.eps)
    show_planes(page, model, test, directions, most.eps)
    distances = boundary_distances(page, model, test, attacks["deepfool"])
    with progress() as options:
        found = evaluate({"none": model}, attacks, test.x, test.labels, eps=config.eps, options=options)
    add_evaluation(page, found)
    finish(config.out, page, {"lines": lines, "distances": distances, **found.to_json()})


def along_lines(
    page: genlab.Report, model: nn.Module, test: Images, directions: dict[str, Tensor], most: float
) -> dict[str, Any]:
    """The mean probability of the true class against the size of a step, by direction."""
    sizes = torch.linspace(0, most, 31).tolist()
    header = ["direction", f"at {most:g}"]
    probability = {
        name: landscape.line(model, test.x, test.labels, direction, sizes).mean(1).tolist()
        for name, direction in directions.items()
    }
    ends = {name: values[-1] for name, values in probability.items()}
    page.section(
        "The true class along a line",
        f"Mean probability of the true class after a step of size {most:g} in L-infinity: {listed(ends, '.2g')}.",
    )
    lines = {name: (sizes, values) for name, values in probability.items()}
    page.picture(curves(lines, x="size of the step (pixels in [0, 1])", y="mean probability of the true class"))
    page.table(header, ends.items())
    return {name: {"size": sizes, "probability": values} for name, values in probability.items()}


def show_planes(
    page: genlab.Report, model: nn.Module, test: Images, directions: dict[str, Tensor], most: float
) -> None:
    """The probability of the true class on a plane around each of six images."""
    down = directions["attack"][:6]
    right = landscape.orthogonalise(directions["attack"], directions["random"])[:6]
    sizes = torch.linspace(-most, most, 41).tolist()
    maps = landscape.plane(model, test.x[:6], test.labels[:6], down, right, sizes)
    page.section(
        "The true class on a plane",
        "Bright: probable. Down: towards the attack. Right: a random direction orthogonal to it.",
    )
    page.picture(grid_png(maps.permute(2, 0, 1)[:, None], 6), "six images, each in the middle of its map")


def boundary_distances(page: genlab.Report, model: nn.Module, test: Images, attack: DeepFool) -> list[dict[str, Any]]:
    """How large the perturbations are with which DeepFool crosses the nearest decision boundary."""
    x, y = test.x, test.labels
    adversarial = attack(model, x, y)
    fooled = (model(x).argmax(1) == y) & (model(adversarial).argmax(1) != y)
    change = (adversarial - x)[fooled]
    rows: list[dict[str, Any]] = []
    page.section(
        "Distance to the decision boundary", "The share of the images with a smaller perturbation by DeepFool."
    )
    for name, ball in {"L2": L2(0), "L-infinity": Linf(0)}.items():
        size = ball.size(change)
        rows.append({"norm": name, **asdict(Sizes.of(size))})
        page.picture(curves({name: landscape.empirical_cdf(size)}, x=f"{name} size", y="share of the images"))
    page.table(list(rows[0]), [list(row.values()) for row in rows])
    return rows


if __name__ == "__main__":
    start(main, Config)
