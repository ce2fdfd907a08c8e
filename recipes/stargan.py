"""One generator for several domains: StarGAN between sprites by day, by night and in another style.

A classifier of the domains, trained apart, tells whether each output is in the domain asked for; the true partners,
which training never sees, tell how far it is from right, where there are any.

python recipes/stargan.py
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Layers, LearningRate, Length, Seed, Side, Width
from genlab.data import Pair
from genlab.data.domains import names, original
from genlab.methods.classification.features import default_features
from genlab.methods.translation.stargan import StarGANConfig
from genlab.metrics.translation import content_preservation, cycle_errors


@dataclass(frozen=True)
class Config:
    """Trains StarGAN and measures every direction."""

    data: str = "domains:sprites,night:sprites,styled:sprites"
    """domains, of the same originals or of others"""
    data_root: Path | None = None
    size: Side | None = 16
    images: Length = 80_000
    """length of training, most of it the critic's"""
    batch: Count = 4
    width: Width = 16
    """channels of both networks at the finest level"""
    blocks: Layers = 3
    """residual blocks of the generator"""
    lr: LearningRate = 4e-4
    """learning rate of both Adams"""
    classifier_images: Length | None = None
    """length of the classifier's training; none: 60 epochs, at most 100,000"""
    out: Path = Path("runs/stargan")
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, data_root=config.data_root)
    if not config.data.startswith("domains:"):
        raise ValueError(f"--data names domains, as in domains:A,B, got {config.data!r}")
    method = StarGANConfig(width=config.width, blocks=config.blocks, levels=1, n_critic=2, lr=config.lr)
    train = genlab.TrainOptions(config.images, config.batch, config.seed, schedule="linear")
    trained: Any = genlab.Experiment(method, data, **vars(train)).run(config.out / "run", pictures=4)
    judge = default_features(data, images=config.classifier_images)
    test, domains = data.load("test"), names(config.data)
    sides = [test.subset(test.labels == k) for k in range(len(domains))]
    found = []
    for i, j in permutations(range(len(domains)), 2):
        there, back = partial(trained.translate, to=j), partial(trained.translate, to=i)
        asked = content_preservation(there, replace(sides[i], labels=torch.full_like(sides[i].labels, j)), judge)
        pair = Pair(sides[i], sides[j], aligned=original(domains[i]) == original(domains[j]))
        likely = cycle_errors(there, back, pair)
        found.append({"from": domains[i], "to": domains[j], "classified as asked": asked, **likely})
        print(f"{domains[i]} -> {domains[j]}: {asked:.1%} classified as asked, cycle error {likely['cycle error']:.3f}")
    page = genlab.Report(f"StarGAN: {config.data}")
    page.text(f"Accuracy of the classifier on the test images: {content_preservation(lambda x: x, test, judge):.2%}.")
    page.section("Translations", "Rows: the original, then its translation to every domain.")
    page.picture(genlab.Run(config.out / "run").samples()[-1], "translations")
    page.section("Figures", "Errors are mean absolute ones in pixels of [0, 1].")
    page.table(list(found[0]), [list(row.values()) for row in found])
    write_atomically(config.out / "results.json", json.dumps(found, indent=2).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
