"""Certificates: what no attack within a radius can change, beside what attacks do change.

Networks trained under noise are smoothed (L2, with confidence), one is trained for interval bounds (L-infinity, for
certain); the certified share may never lie above the share that stands under attack.

python recipes/certify.py                                        # scikit-learn's digits, minutes on one core
python recipes/certify.py --data mnist --data-root DIR --sigma 0.25 0.5 --radii 0.25 0.5 0.75 1 1.25 1.5
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import genlab
from attacks import L2, PGD, Linf
from attacks.defences.interval import IntervalTrainingConfig, certified
from attacks.defences.randomised_smoothing import NoiseTrainingConfig, Smoothed, certified_accuracy
from attacks.evaluation.evaluate import evaluate
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Positive, Range, Seed
from genlab.reporting.plots import curves


@dataclass(frozen=True)
class Config:
    """Certified and attacked accuracy against the radius."""

    data: str = "digits"  # labelled images
    data_root: Path | None = None  # where downloaded sets lie
    images: Length = 200_000  # length of every training
    sigma: NonEmpty[Positive] = (0.12, 0.25)  # standard deviations of the noise, in pixels
    radii: NonEmpty[Positive] = (0.1, 0.2, 0.3, 0.4, 0.6)  # L2 sizes of the attacks on the smoothed models
    eps: NonEmpty[Eps] = (0.02, 0.05, 0.1)  # L-infinity sizes of bounds and attacks; the last is trained for
    n: Count = 2000  # draws of noise per certificate
    alpha: Annotated[float, Range(0, 1, above=True, below=True)] = 0.001  # chance that a certificate is wrong
    attacked: Count = 200  # held-out images
    out: Path = Path("runs/certify")  # folder of the runs and the report
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine", clip=1.0)
    test = data.load("test").subset(slice(0, config.attacked))
    x, y, rows, lines = test.x, test.labels, [], {}

    def compare(name, model, attack, sizes, sure):
        found = evaluate({name: model}, {"pgd": attack}, x, y, eps=sizes)
        stands = [row.robust_accuracy for row in found.rows if row.attack == "pgd"]
        rows.extend([name, size, *pair] for size, *pair in zip(sizes, sure, stands, strict=True))
        lines[f"{name}: certified"], lines[f"{name}: under attack"] = (sizes, sure), (sizes, stands)

    for sigma in config.sigma:
        net = genlab.Experiment(NoiseTrainingConfig(sigma), data, **vars(options)).run(config.out / f"noise-{sigma}")
        smoothed = Smoothed(net, sigma).eval()
        answer, radius = smoothed.certify(x, config.n, config.alpha, seed=config.seed)
        sure = certified_accuracy(answer == y, radius, radius.new_tensor(config.radii)).tolist()
        print(f"sigma {sigma}: accuracy {(answer == y).float().mean():.3f}, median radius {radius.median():.3f}")
        compare(f"smoothed {sigma}", smoothed, PGD(L2(1.0), steps=20, random_start=False), config.radii, sure)
    net = genlab.Experiment(IntervalTrainingConfig(eps=max(config.eps)), data, **vars(options)).run(
        config.out / "interval"
    )
    sure = [certified(net.net, x, y, eps).float().mean().item() for eps in config.eps]
    compare("interval", net, PGD(Linf(1.0), restarts=3), config.eps, sure)
    page = genlab.Report(f"Certificates: {config.data}")
    for first, x_axis in (("s", "L2 radius (pixels)"), ("i", "L-infinity eps (pixels)")):
        page.picture(curves({k: line for k, line in lines.items() if k[0] == first}, x=x_axis, y="accuracy"))
    page.table(header := ["model", "radius", "certified", "under attack"], rows)
    print(*("{:14} {:5g}  certified {:.3f}  under attack {:.3f}".format(*row) for row in rows), sep="\n")
    found = json.dumps([dict(zip(header, row, strict=True)) for row in rows], indent=1)
    write_atomically(config.out / "results.json", found.encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
