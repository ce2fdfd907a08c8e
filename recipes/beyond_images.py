"""Attacks beyond images: the same attacks on classifiers of sound-like signals and of medical measurements.

Signals are sine, square and sawtooth waves of random phase, pitch and loudness under noise; the measurements are
scikit-learn's breast-cancer table, thirty columns scaled to [0, 1]. Nothing in an attack knows what its inputs are: it
takes any (N, ...) in [0, 1].

python recipes/beyond_images.py                                  # a minute on one core
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import genlab
from attacks import FGSM, PGD, Linf
from attacks.deepfool import DeepFool
from attacks.evaluation.evaluate import evaluate
from genlab.cli.main import start
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Seeds
from genlab.core.text import counted
from genlab.data import Stream
from genlab.data.points import Points
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.reporting.finish import finish
from genlab.reporting.plots import curves
from genlab.reporting.spread import plus_minus, spread, with_deviation

WAVES = ("sine", "square", "sawtooth")
LENGTH = 64  # numbers per signal
RANGES = ((0.0, 1.0), (2.0, 4.0), (0.2, 0.4))  # of phase, pitch in periods, and loudness
NOISE = 0.05  # standard deviation


@dataclass(frozen=True)
class Config:
    """Accuracy of classifiers of signals and of measurements under attack."""

    eps: NonEmpty[Eps] = (0.01, 0.02, 0.05, 0.1, 0.2)
    """L-infinity radii, where all inputs are in [0, 1]"""
    examples: Length = 40_000
    """length of every training, in inputs"""
    n: Count = 200
    """held-out inputs to attack"""
    seeds: Seeds = (0, 1, 2)
    """trainings of both classifiers"""
    out: Path = Path("runs/beyond-images")
    """folder of the report"""


@dataclass(frozen=True)
class Task:
    """What is classified: training and test inputs, and a network for (N, D) -> logits (N, classes)."""

    train: Points
    test: Points
    network: Callable[[], nn.Module]


def main(config: Config) -> None:
    tasks = {"signals": signals(), "measurements": measurements()}
    found = {name: [measured(task, seed, config) for seed in config.seeds] for name, task in tasks.items()}
    page = genlab.Report("Attacks beyond images")
    at, rows = config.eps[len(config.eps) // 2], table(found)
    pgd = {row["inputs"]: row for row in rows if row["attack"] == "pgd" and row["eps"] == at}
    noise = {row["inputs"]: row for row in rows if row["attack"] == "noise-linf" and row["eps"] == at}
    page.section(
        "Accuracy under attack, and under noise",
        "; ".join(
            f"{name}: {pgd[name]['accuracy']:.0%} right under PGD of ε = {at:g}, {noise[name]['accuracy']:.0%} under "
            "noise of that size"
            for name in tasks
        )
        + ".",
    )
    page.picture(curves(lines(rows, config.eps), x="L-infinity radius ε", y="accuracy", limits=(0, 1.02)))
    page.picture(waves(found["signals"][-1]["example"]), f"a signal under PGD of ε = {at:g}")
    smallest = [
        [name, plus_minus((each["clean"] for each in runs), ".3f"), plus_minus((each["l2"] for each in runs), ".3f")]
        for name, runs in found.items()
    ]
    header = ["inputs", "attack", *(f"ε {eps:g}" for eps in config.eps)]
    page.section("Accuracy").table(header, [[*names, *values] for names, values in cells(rows).items()])
    page.section("Without an attack").table(["inputs", "accuracy", "mean L2 distance to the boundary"], smallest)
    page.text(f"Mean and standard deviation over {counted(config.seeds, 'training')}, {config.n} inputs of each kind.")
    finish(config.out, page, {"accuracy": rows, "classifiers": classifiers(found)})


def signals(n: int = 3000, seed: int = 0) -> Task:
    """Waves in [0, 1], n of every kind in all."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % len(WAVES)
    phase, pitch, loudness = (low + (high - low) * torch.rand(n, 1, generator=g) for low, high in RANGES)
    t = (phase + pitch * torch.linspace(0, 1, LENGTH)) % 1
    shapes = torch.stack([(2 * math.pi * t).sin(), torch.where(t < 0.5, 1.0, -1.0), 2 * t - 1])
    x = 0.5 + loudness * shapes[labels, torch.arange(n)] + NOISE * torch.randn(n, LENGTH, generator=g)
    return split(x.clamp(0, 1), labels, "signals", lambda: convolutions(len(WAVES)))


def measurements() -> Task:
    """Thirty measurements of cells, each from 0 to 1, of benign and malignant tumours."""
    from sklearn.datasets import load_breast_cancer

    values, labels = load_breast_cancer(return_X_y=True)
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    x, y = torch.from_numpy(values).float()[order], torch.from_numpy(labels).long()[order]
    known = x[: len(x) * 2 // 3]
    low, high = known.amin(0), known.amax(0)
    network = lambda: nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 2))
    return split(((x - low) / (high - low)).clamp(0, 1), y, "measurements", network)


def split(x: Tensor, y: Tensor, name: str, network: Callable[[], nn.Module]) -> Task:
    """The first two thirds are for training."""
    known = len(x) * 2 // 3
    parts = [
        Points(x[rows], y[rows], torch.zeros(0, x.shape[1]), 0.0, name) for rows in (slice(known), slice(known, None))
    ]
    return Task(*parts, network)


def convolutions(classes: int) -> nn.Module:
    """(N, LENGTH) -> logits (N, classes)."""
    return nn.Sequential(
        nn.Unflatten(1, (1, LENGTH)),
        nn.Conv1d(1, 16, 7, padding=3),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(16, 32, 7, padding=3),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(32, 64, 7, padding=3),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def measured(task: Task, seed: int, config: Config) -> dict[str, Any]:
    """One training: clean accuracy, that under every attack, distance to the boundary, and an attacked example."""
    torch.manual_seed(seed)
    options = genlab.TrainOptions(config.examples, 64, seed, schedule="cosine")
    method = Classifier(task.network(), ClassifierConfig())
    model = genlab.fit(
        method, Stream(task.train, 64, seed=seed), options, title=f"{task.train.name}, seed {seed}"
    ).eval()
    x, y = task.test.x[: config.n], task.test.labels[: config.n]
    attacks = {"fgsm": FGSM(Linf(0.1)), "pgd": PGD(Linf(0.1))}
    rows = evaluate({"model": model}, attacks, x, y, eps=config.eps).rows
    adversarial = DeepFool()(model, x, y)
    with torch.no_grad():
        right, fooled = model(x).argmax(1) == y, model(adversarial).argmax(1) != y
    at = config.eps[len(config.eps) // 2]
    which = int((y == 0).nonzero()[0])
    changed = PGD(Linf(at))(model, x[which : which + 1], y[which : which + 1])
    return {
        "accuracy": {(row.attack, row.eps): row.robust_accuracy for row in rows},
        "clean": float(right.float().mean()),
        "l2": float((adversarial - x)[right & fooled].norm(dim=1).mean()),
        "example": (x[which], changed[0], int(model(changed).argmax(1))),
    }


def table(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row per kind of inputs, attack and radius."""
    rows = []
    for name, runs in found.items():
        for attack, eps in runs[0]["accuracy"]:
            mean, deviation = spread(run["accuracy"][attack, eps] for run in runs)
            rows.append({"inputs": name, "attack": attack, "eps": eps, "accuracy": mean, "sd": deviation})
    return rows


def cells(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """(inputs, attack) -> a cell per radius."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        found.setdefault((row["inputs"], row["attack"]), []).append(with_deviation(row["accuracy"], row["sd"]))
    return found


def classifiers(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {"inputs": name} | {figure: spread(run[figure] for run in runs)[0] for figure in ("clean", "l2")}
        for name, runs in found.items()
    ]


def lines(rows: Sequence[dict[str, Any]], radii: Sequence[float]) -> dict[str, Any]:
    """Accuracy against eps with a band of one standard deviation."""
    found = {}
    for name, attack in dict.fromkeys((row["inputs"], row["attack"]) for row in rows):
        own = [row for row in rows if (row["inputs"], row["attack"]) == (name, attack)]
        mean, sd = [row["accuracy"] for row in own], [row["sd"] for row in own]
        band = ([m + sign * s for m, s in zip(mean, sd)] for sign in (-1, 1))
        found[f"{name}, {attack.replace('noise-linf', 'noise')}"] = (radii, mean, *band)
    return found


def waves(example: tuple[Tensor, Tensor, int]) -> bytes:
    """A sine before and after an attack."""
    clean, changed, predicted = example
    steps = range(LENGTH)
    shown = {WAVES[0]: (steps, clean.tolist()), f"attacked: read as {WAVES[predicted]}": (steps, changed.tolist())}
    return curves(shown, x="time", y="value", limits=(0, 1))


if __name__ == "__main__":
    start(main, Config)
