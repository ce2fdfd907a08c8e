"""Distillation without data: the student sees only what a GAN draws, or noise, and learns the teacher's probabilities.

Images are kept back more often than networks: a generator trained on them may be at hand, or nothing at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

import genlab
from attacks import FGSM, Linf
from attacks.evaluation.evaluate import evaluate
from genlab.cli.main import start
from genlab.compress.distil import Distillation, DistillationConfig
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Eps, Length, Seed, Width
from genlab.data import Images, Stream
from genlab.experiment import check_all
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.methods.gan.gan import GANConfig
from genlab.metrics.accuracy import accuracy
from genlab.nets.classifiers import cnn
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    data: str = "digits"
    data_root: Path | None = None  # where downloaded sets lie
    images: Length = 60_000  # length of every classifier's training
    gan_images: Length = 150_000  # length of the GAN's
    samples: Count = 10_000  # images in the transfer sets that are made
    width: Width = 8  # channels of the students; the teacher and the GAN have 32
    eps: Eps = 0.1  # L-infinity size of FGSM, in pixels of [0, 1]
    out: Path = Path("runs/data-free")
    seed: Seed = 0


def main(config: Config) -> None:
    data, page = genlab.DataOptions(config.data, data_root=config.data_root), genlab.Report("Distillation without data")
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine", clip=1.0)
    training = genlab.TrainOptions(config.gan_images, seed=config.seed, half_life=10_000)
    plan = {
        "teacher": genlab.Experiment(ClassifierConfig(), data, **vars(options)),
        "gan": genlab.Experiment(GANConfig(width=32, hidden=0, lr_generator=None), data, **vars(training)),
    }
    check_all(plan.values())
    known, test = data.load("train"), data.load("test")
    teacher, gan = (cast(Any, each.run(config.out / name, pictures=1)) for name, each in plan.items())

    def made(x: Tensor, name: str) -> Images:
        page.section(name).picture(grid_png(x[:40], 10))
        return Images((x * 255).round().byte(), torch.zeros_like(x[:, 0, 0, 0], dtype=torch.int64), known.classes, name)

    torch.manual_seed(config.seed)
    with torch.no_grad():
        drawn = torch.cat([gan.sample(500) for _ in range(-(-config.samples // 500))])
    sets = {"real images": known, "GAN": made(drawn, "GAN"), "noise": made(torch.rand_like(drawn), "noise")}
    models: dict[str, Any] = {"teacher": teacher}
    soft = DistillationConfig(weight=1.0, weight_decay=0.0)  # from the teacher's probabilities alone
    for name, images in {"labels alone": known, **sets}.items():
        torch.manual_seed(config.seed)
        net = cnn(known.shape, len(known.classes), config.width).to(known.device)
        student = Classifier(net) if name == "labels alone" else Distillation(net, [teacher], soft)
        models[name] = genlab.fit(student, Stream(images, 64, seed=config.seed), options, title=name)
    found = evaluate(models, {"FGSM": FGSM(Linf(config.eps))}, test.x[:500], test.labels[:500])
    fooled = {row.model: row.success.value for row in found.rows if row.attack == "FGSM"}
    rows = [[name, accuracy(model, test), fooled[name]] for name, model in models.items()]
    page.section("Students").table(header := ["learnt from", "accuracy", f"FGSM {config.eps}, success"], rows)
    print(*("{:14} accuracy {:.4f}, FGSM {:.3f}".format(*row) for row in rows), sep="\n")
    write_atomically(config.out / "results.json", json.dumps([dict(zip(header, row)) for row in rows]).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
