"""Adversarial training with few real images, alone and with a GAN's added; after Gowal et al. 2021, arXiv:2110.09468.

A GAN learns from the few images; its samples get their labels from a classifier that learnt from the same few.

python recipes/generated_data.py --data mnist --data-root DIR --known 2000 --eps 0.2
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import genlab
from attacks import PGD, Linf
from attacks.defences.adversarial_training import AdversarialTrainingConfig
from attacks.evaluation.evaluate import evaluate
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Eps, Length, Repeats, Share, Width
from genlab.data import Stream
from genlab.data.mixed import Mixed
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.gan.gan import GANConfig
from genlab.reporting.grid import grid_png
from genlab.reporting.report import spread


@dataclass(frozen=True)
class Config:
    """Clean and robust accuracy with and without generated images."""

    data: str = "digits"  # labelled images
    data_root: Path | None = None  # where downloaded sets lie
    known: Count = 300  # real training images
    share: Share = 0.5  # of generated images in a batch
    images: Length = 60_000  # length of the classifiers' trainings
    gan_images: Length = 150_000  # length of the GAN's
    width: Width = 32  # channels of all networks
    eps: Eps = 0.1  # L-infinity radius, in pixels of [0, 1]
    attacked: Count = 300  # held-out images
    seeds: Repeats = 3
    out: Path = Path("runs/generated-data")  # folder of the report


def main(config: Config) -> None:
    data, page = genlab.DataOptions(config.data, data_root=config.data_root), genlab.Report("Generated data")
    few, test = data.load("train").subset(slice(0, config.known)), data.load("test").subset(slice(0, config.attacked))
    attack, found = PGD(Linf(config.eps), steps=40), {}
    for seed in range(config.seeds):
        options = genlab.TrainOptions(config.images, seed=seed, schedule="cosine", warmup=0.05)

        def train(config, options, title, wrap=lambda stream: stream, seed=seed) -> Any:
            torch.manual_seed(seed)
            method = config.build(few.shape, len(few.classes)).to(few.device)
            return genlab.fit(method, wrap(Stream(few, 64, seed=seed)), options, title=f"{seed}: {title}")

        many = replace(GANConfig.training, images=config.gan_images, seed=seed)
        gan = train(GANConfig(width=config.width, hidden=0, lr_generator=None), many, "GAN")
        judge = train(ClassifierConfig(width=config.width), options, "judge")
        draw = lambda n, gan=gan, judge=judge: (x := gan.sample(n), judge(x).argmax(1))
        method = AdversarialTrainingConfig(eps=config.eps, width=config.width)
        mixed = train(method, options, "real and generated", lambda stream, d=draw: Mixed(stream, d, config.share))
        page.picture(grid_png(draw(40)[0].detach(), 20), f"generated, seed {seed}")
        nets = {"not robust": judge, "real": train(method, options, "real"), "real and generated": mixed}
        for row in evaluate(nets, {"PGD": attack}, test.x, test.labels).rows[::2]:  # the others are the noise control
            for values, value in zip(found.setdefault(row.model, ([], [])), (row.clean_accuracy, row.robust_accuracy)):
                values.append(value)
    rows = [[name, *spread(clean), *spread(stands)] for name, (clean, stands) in found.items()]
    page.table(header := ["training images", "clean", "±", "under PGD", "± "], rows)
    print(*("{:20} clean {:.3f} ± {:.3f}  under PGD {:.3f} ± {:.3f}".format(*row) for row in rows), sep="\n")
    write_atomically(config.out / "results.json", json.dumps([dict(zip(header, row)) for row in rows]).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
