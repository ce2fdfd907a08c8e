"""Trained on real pixels, used on its own: does it help to feed a model its own draws while it learns?

Three ways to train one PixelCNN: always on the real pixels before; on a share of its own draws that grows (scheduled
sampling, Bengio et al. 2015, arXiv:1506.03099); on that share from the start, when its draws are noise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Layers, Length, Range, Repeats, Share
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.likelihood.autoregressive import Autoregressive, AutoregressiveConfig
from genlab.metrics.comparison import measure
from genlab.metrics.extract import extract_features, samples, shuffled
from genlab.reporting.grid import grid_png
from genlab.reporting.report import spread


@dataclass(frozen=True)
class Config:
    """Held-out likelihood and FID of the samples, for each way of training."""

    data: str = "binary:digits"
    data_root: Path | None = None
    """where downloaded sets lie"""
    share: Share = 0.3
    """of the pixels fed that are the model's own"""
    images: Length = 40_000
    """length of every training"""
    seeds: Repeats = 3
    width: Annotated[int, Range(3, 2**16)] = 24
    layers: Layers = 3
    n: Annotated[int, Range(2, 10**7)] = 500
    """samples per FID"""
    out: Path = Path("runs/exposure-bias")


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    plain = AutoregressiveConfig(head="bernoulli", width=config.width, layers=config.layers, lr=2e-3)
    ways = {
        "real pixels": plain,
        "its own, ever more": replace(plain, self_sampling=config.share),
        "its own from the start": replace(plain, self_sampling=config.share, self_sampling_from=config.share),
    }
    train = genlab.TrainOptions(config.images, 16, schedule="cosine", clip=100.0)
    check_all(genlab.Experiment(method, data, **vars(train)) for method in ways.values())
    features, page, rows = default_features(data), genlab.Report(f"Exposure bias: {config.data}"), []
    real = extract_features(shuffled(data.load("test")), features)
    for name, method in ways.items():
        nats, distances = [], []
        for seed in range(config.seeds):
            run = config.out / f"{name}-{seed}".replace(" ", "-")
            model = genlab.Experiment(method, data, **vars(replace(train, seed=seed))).run(run, pictures=1)
            assert isinstance(model, Autoregressive)
            torch.manual_seed(seed)
            nats.append(genlab.Run(run).results()["nats"])
            distances += measure("FID", real, extract_features(samples(model.sample, config.n), features)).values()
        page.section(name).picture(grid_png(model.sample(64)), "draws, last seed")
        rows.append([name, *spread(nats), *spread(distances)])
    page.section("Figures", f"Mean and standard deviation over {config.seeds} seeds; nats are of held-out images.")
    page.table(header := ["fed with", "nats", "±", "FID", "± "], rows)
    for row in rows:
        print("{:24} nats {:.2f} ± {:.2f}   FID {:.2f} ± {:.2f}".format(*row))
    write_atomically(
        config.out / "results.json", json.dumps([dict(zip(header, row)) for row in rows], indent=1).encode()
    )
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
