"""Are GANs created equal? Every objective on one data set with the same networks, over seeds.

The table of Lucic et al. 2018, arXiv:1711.10337, with their networks (those of InfoGAN): best, median and worst FID of
the lab's own classifier; beside them models with one of the two networks only, and real training images as the floor.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import NonEmpty, Range, Repeats, Units, Width
from genlab.core.registry import choose
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.zoo import zoo
from genlab.metrics.comparison import measure
from genlab.metrics.extract import extract_features, samples, shuffled


@dataclass(frozen=True)
class Config:
    data: genlab.DataOptions = field(default_factory=genlab.DataOptions)
    methods: NonEmpty[str] = ("minimax", "nonsaturating", "lsgan", "spectral", "wgan", "wgan-gp", "vae")
    """which; all: minimax nonsaturating lsgan hinge kl reverse-kl pearson hellinger js spectral residual attention wgan
    wgan-gp ct-gan ebgan loss-sensitive energy-model vae auto-encoder"""
    seeds: Repeats = 3
    training: genlab.TrainOptions = genlab.TrainOptions(150_000, 32, schedule="cosine", half_life=10_000)
    """images: those that every discriminator sees, whatever its number of steps; seed plays no part"""
    width: Width = 32
    """channels of the networks' finest level"""
    hidden: Units = 512
    """units of their fully connected layers"""
    n: Annotated[int, Range(2, 10**7)] = 2000
    """samples per FID"""
    out: Path = Path("runs/gan-zoo")


def main(config: Config) -> None:
    known = zoo(config.width, config.hidden)
    chosen = {choose(name, known, "method"): known[name] for name in config.methods}
    plan = {name: genlab.Experiment(method, config.data, **vars(config.training)) for name, method in chosen.items()}
    check_all(plan.values())
    features = default_features(config.data)
    test, train = (config.data.load(split) for split in ("test", "train"))
    real = extract_features(shuffled(test), features)
    floor = measure("FID", real, extract_features(shuffled(train, config.n), features))
    page, rows = genlab.Report(f"GAN zoo on {config.data.data}"), list[list[object]]()
    for name, each in plan.items():
        found = []
        for seed in range(config.seeds):
            run = config.out / f"{name}-{seed}"
            trained: Any = genlab.Experiment(each.method, config.data, **vars(config.training) | {"seed": seed}).run(
                run, pictures=1
            )
            found += measure("FID", real, extract_features(samples(trained.sample, config.n), features)).values()
        rows.append([name, min(found), median(found), max(found)])
        page.picture(genlab.Run(run).samples()[-1], name)
    rows.append(["training images", *floor.values(), "", ""])
    head = ["method", *(f"{figure} {which}" for figure in floor for which in ("best", "median", "worst"))]
    page.section(f"{config.seeds} seeds, {config.training.images:,} images each").table(head, rows)
    for row in rows:
        print("  ".join(f"{value:10.2f}" if isinstance(value, float) else f"{value:16}" for value in row))
    write_atomically(
        config.out / "results.json", json.dumps([dict(zip(head, row, strict=True)) for row in rows], indent=1).encode()
    )
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
