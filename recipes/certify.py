"""Certified robustness: radii within which no attack can change the answer, beside what attacks do change.

Networks trained under noise are smoothed (L2, with confidence 1 - alpha); one is trained for interval bounds
(L-infinity, certain). Certified accuracy may never exceed the robust accuracy under an attack of the same radius.

python recipes/certify.py                                        # scikit-learn's digits, minutes on one core
python recipes/certify.py --data mnist --data-root DIR --sigma 0.25 0.5 --radii 0.25 0.5 0.75 1 1.25 1.5
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import genlab
from attacks import L2, PGD, Linf
from attacks.core.model import Attack
from attacks.defences.interval import IntervalTrainingConfig, certified
from attacks.defences.randomised_smoothing import NoiseTrainingConfig, Smoothed, certified_accuracy, check_samples
from attacks.evaluation.evaluate import evaluate
from genlab.cli.main import start
from genlab.core.ranges import Count, Eps, Length, NonEmpty, OpenShare, Positive, Seed
from genlab.data import Images
from genlab.reporting.finish import finish
from genlab.reporting.plots import curves


@dataclass(frozen=True)
class Config:
    """Certified and robust accuracy against the radius."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 200_000
    """length of every training"""
    sigma: NonEmpty[Positive] = (0.12, 0.25)
    """standard deviations of the noise of smoothing and training, in pixels of [0, 1]"""
    radii: NonEmpty[Positive] = (0.1, 0.2, 0.3, 0.4, 0.6)
    """L2 radii of certificates of and attacks on the smoothed models"""
    eps: NonEmpty[Eps] = (0.02, 0.05, 0.1)
    """L-infinity radii of interval bounds and attacks; the largest is trained for"""
    n: Count = 2000
    """noise samples per certificate"""
    alpha: OpenShare = 0.001
    """probability that a certificate is wrong"""
    attacked: Count = 200
    """held-out images"""
    out: Path = Path("runs/certify")
    """folder of the runs and the report"""
    seed: Seed = 0
    """seed of the trainings and of the noise of the certificates"""

    def check_relations(self) -> None:
        check_samples(self.n, self.alpha)


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    test = data.load("test").subset(slice(0, config.attacked))
    page = genlab.Report(f"Certificates: {config.data}")
    smoothed = [row for sigma in config.sigma for row in smoothing(config, data, test, sigma, page)]
    bounded = interval(config, data, test)

    page.picture(curves(lines(smoothed), x="L2 radius (pixels)", y="accuracy"))
    page.picture(curves(lines(bounded), x="L-infinity radius (pixels)", y="accuracy"))
    rows = [*smoothed, *bounded]
    page.table(list(rows[0]), (row.values() for row in rows))
    finish(config.out, page, rows)


def smoothing(
    config: Config, data: genlab.DataOptions, test: Images, sigma: float, page: genlab.Report
) -> list[dict[str, Any]]:
    """A row per L2 radius for the smoothed network of one noise level."""
    train = {"images": config.images, "seed": config.seed, "clip": 1.0}
    net = genlab.Experiment(NoiseTrainingConfig(sigma), data, **train).run(config.out / f"noise-{sigma}")
    model = Smoothed(net, sigma).eval()
    answer, radius = model.certify(test.x, config.n, config.alpha, seed=config.seed)
    right = answer == test.labels
    page.text(f"Noise {sigma}: accuracy {right.float().mean():.3f}, median certified radius {radius.median():.3f}.")
    shares = certified_accuracy(right, radius, radius.new_tensor(config.radii)).tolist()
    attack = PGD(L2(1.0), steps=20, random_start=False)
    return compared(f"smoothed {sigma}", model, attack, config.radii, shares, test)


def interval(config: Config, data: genlab.DataOptions, test: Images) -> list[dict[str, Any]]:
    """A row per L-infinity radius for the network that is trained for interval bounds."""
    method = IntervalTrainingConfig(eps=max(config.eps))
    experiment = genlab.Experiment(method, data, images=config.images, seed=config.seed)
    model: Any = experiment.run(config.out / "interval")
    shares = [certified(model.net, test.x, test.labels, eps).float().mean().item() for eps in config.eps]
    return compared("interval", model, PGD(Linf(1.0), restarts=3), config.eps, shares, test)


def compared(
    name: str, model: Any, attack: Attack, radii: Sequence[float], certified: Sequence[float], test: Images
) -> list[dict[str, Any]]:
    """Certified accuracy beside robust accuracy under an attack, a row per radius."""
    found = evaluate({name: model}, {"attack": attack}, test.x, test.labels, eps=radii)
    robust = {row.eps: row.robust_accuracy for row in found.rows if row.attack == "attack"}
    clean = found.rows[0].clean_accuracy
    return [
        {"model": name, "clean": clean, "radius": radius, "certified": share, "under attack": robust[radius]}
        for radius, share in zip(radii, certified, strict=True)
    ]


def lines(rows: list[dict[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """Two curves per model, over the radius."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        for kind in ("certified", "under attack"):
            radii, shares = found.setdefault(f"{row['model']}: {kind}", ([], []))
            radii.append(row["radius"])
            shares.append(row[kind])
    return found


if __name__ == "__main__":
    start(main, Config)
