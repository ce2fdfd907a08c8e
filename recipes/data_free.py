"""Distillation without data: a student learns a teacher's probabilities on a GAN's samples, or on random noise.

Training images are withheld more often than networks. Compared with a student of the labels alone and one distilled
on the real images, by accuracy and by the success of FGSM.

python recipes/data_free.py                                      # scikit-learn's digits, minutes on one core
python recipes/data_free.py --data mnist --data-root DIR
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import genlab
from attacks import FGSM, Linf
from attacks.evaluation.evaluate import evaluate
from genlab.cli.main import start
from genlab.compress.distil import Distillation, DistillationConfig
from genlab.core.ranges import Count, Eps, Length, Seed, Width
from genlab.data import Images, Stream
from genlab.experiment import check_all
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.methods.gan.gan import GANConfig
from genlab.metrics.accuracy import accuracy
from genlab.nets.classifiers import cnn
from genlab.reporting.finish import finish, records
from genlab.reporting.grid import grid_png
from genlab.reporting.plots import bars

HEADER = ["network", "targets", "images", "accuracy", "FGSM success"]


@dataclass(frozen=True)
class Config:
    """Students of one teacher, by the images on which they see it answer."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 60_000
    """length of every classifier's training"""
    gan_images: Length = 150_000
    """length of the GAN's training"""
    samples: Count = 10_000
    """images in each of the generated transfer sets"""
    width: Width = 8
    """channels of the students; the teacher and the GAN have 32"""
    eps: Eps = 0.1
    """L-infinity radius of FGSM, in pixels of [0, 1]"""
    out: Path = Path("runs/data-free")
    """folder of the runs and the report"""
    seed: Seed = 0
    """seed of every training and of the transfer sets"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    known, test = data.load("train"), data.load("test")
    teacher, gan = train_teacher_and_gan(config, data)
    transfer_sets = {"real images": known, **generated(config, gan, known)}

    networks = [
        ("teacher", "labels", "real images", teacher),
        ("student", "labels", "real images", student(config, known)),
    ]
    for name, images in transfer_sets.items():
        networks.append(("student", "teacher's probabilities", name, student(config, images, teacher)))
    rows = [[*roles, accuracy(model, test), fgsm_success(config, model, test)] for *roles, model in networks]

    page = genlab.Report("Distillation without data")
    right = {images: share for _, _, images, share, _ in rows}  # of the last network that learnt from them
    page.text(
        f"A student that only sees what a GAN draws is right on {right['GAN samples']:.0%}, one that only sees "
        f"noise on {right['noise']:.0%}, their teacher on {rows[0][3]:.0%}."
    )
    named = {", ".join(dict.fromkeys(roles)): [100 * right] for *roles, right, _ in rows}
    page.picture(bars(named, x="accuracy, %"))
    for name, images in transfer_sets.items():
        page.section(name).picture(grid_png(images.x[:40], 10))
    page.section("Networks", f"FGSM at eps {config.eps}.").table(HEADER, rows)
    finish(config.out, page, records(HEADER, rows))


def train_teacher_and_gan(config: Config, data: genlab.DataOptions) -> tuple[Any, Any]:
    teacher = genlab.Experiment(ClassifierConfig(), data, images=config.images, seed=config.seed, clip=1.0)
    method = GANConfig(width=32, hidden=0, lr_generator=None)
    gan = genlab.Experiment(method, data, images=config.gan_images, seed=config.seed)
    check_all([teacher, gan])
    return teacher.run(config.out / "teacher", pictures=1), gan.run(config.out / "gan", pictures=1)


def generated(config: Config, gan: Any, known: Images) -> dict[str, Images]:
    """Sets of as many samples of the GAN and of uniform noise; their labels are never used."""
    torch.manual_seed(config.seed)
    blocks = [min(500, config.samples - done) for done in range(0, config.samples, 500)]
    with torch.no_grad():
        drawn = torch.cat([gan.sample(n) for n in blocks])

    def images(x: Tensor, name: str) -> Images:
        labels = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return Images((x * 255).round().byte(), labels, known.classes, name)

    return {"GAN samples": images(drawn, "GAN samples"), "noise": images(torch.rand_like(drawn), "noise")}


def student(config: Config, images: Images, teacher: Any = None) -> Any:
    """A small network, trained on the probabilities of `teacher` alone; none: on the labels."""
    torch.manual_seed(config.seed)
    net = cnn(images.shape, len(images.classes), config.width).to(images.device)
    soft = DistillationConfig(weight=1.0, weight_decay=0.0)
    method = Distillation(net, [teacher], soft) if teacher else Classifier(net)
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine", clip=1.0)
    return genlab.fit(method, Stream(images, options.batch, seed=config.seed), options, title=images.name)


def fgsm_success(config: Config, model: Any, test: Images) -> float | None:
    found = evaluate({"model": model}, {"FGSM": FGSM(Linf(config.eps))}, test.x[:500], test.labels[:500])
    return next(row.success.value for row in found.rows if row.attack == "FGSM")


if __name__ == "__main__":
    start(main, Config)
