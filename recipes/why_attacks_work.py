"""Why attacks work: noise of their size does nothing, the gradient's direction does nearly everything.

python recipes/why_attacks_work.py                               # scikit-learn's digits, minutes on one core
python recipes/why_attacks_work.py --data mnist --data-root DIR
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

import genlab
from attacks import FGSM, L2, PGD, AutoPGD, Linf
from attacks.deepfool import DeepFool
from attacks.evaluation import landscape
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import add_evaluation, progress
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Eps, Length, NonEmpty
from genlab.core.text import Console
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.grid import grid_png
from genlab.reporting.plots import curves


@dataclass(frozen=True)
class Config:
    """The probability of the right class around images, and how far the boundary is."""

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


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    train = genlab.TrainOptions(config.classifier_images, schedule="cosine")
    model = genlab.Experiment(ClassifierConfig(), data, **vars(train)).run(config.out / "classifier")
    test = data.load("test").subset(slice(0, config.attacked))
    x, y, most = test.x, test.labels, max(config.eps)
    page = genlab.Report(f"Why attacks work: {config.data}")
    ways = landscape.directions(model, x, y, Linf(most), PGD(Linf(most)))
    sizes = torch.linspace(0, most, 31).tolist()
    lines = {way: (sizes, landscape.line(model, x, y, step, sizes).mean(1).tolist()) for way, step in ways.items()}
    page.section("Along a line", "Steps of one L-infinity size: at random, along the gradient, towards an attack.")
    page.picture(curves(lines, x="size of the step (pixels in [0, 1])", y="mean probability of the true class"))
    page.section("On a plane", "Bright: the true class. Down: towards the attack. Right: at random, square to it.")
    a, b = ways["attack"][:6], landscape.orthogonalise(ways["attack"], ways["random"])[:6]
    maps = landscape.plane(model, x[:6], y[:6], a, b, torch.linspace(-most, most, 41).tolist())
    page.picture(grid_png(maps.permute(2, 0, 1)[:, None], 6), "six images, each in the middle of its map")

    attacks = {"fgsm": FGSM(Linf(most)), "pgd": PGD(Linf(most)), "apgd": AutoPGD(Linf(most)), "deepfool": DeepFool()}
    with progress() as tell:
        found = evaluate({"none": model}, attacks, x, y, eps=config.eps, progress=tell)
    Console().print(found.table())
    adv = attacks["deepfool"](model, x, y)
    fooled = (model(x).argmax(1) == y) & (model(adv).argmax(1) != y)
    norms = {name: ball.size((adv - x)[fooled]) for name, ball in {"L2": L2(0), "L-infinity": Linf(0)}.items()}
    page.section("How far the boundary is", "The share of the images with a smaller perturbation by DeepFool.")
    for name, size in norms.items():
        page.picture(curves({name: landscape.empirical_cdf(size)}, x=f"{name} size", y="share of the images"))
    add_evaluation(page, found)
    print(f"mean probability of the true class at {most:g}:", {way: line[1][-1] for way, line in lines.items()})
    write_atomically(config.out / "results.json", json.dumps({"lines": lines, **found.to_json()}, indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
