"""Distillation on digits; Hinton et al. 2015, arXiv:1503.02531, section 3.

A small student learns from labels and a large teacher; then from that alone, on images without one digit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import genlab
from genlab.checkpoint import write_atomically
from genlab.cli import start
from genlab.compress.distil import Distillation
from genlab.data import Augment, Images, Stream
from genlab.methods.classifier import Classifier
from genlab.metrics.accuracy import answers
from genlab.nets.classifiers import mlp
from genlab.report import spread


@dataclass(frozen=True)
class Config:
    data: str = "digits"
    data_root: Path | None = None  # where downloaded sets lie
    teacher: int = 600  # units in each of two layers
    student: int = 30
    images: int = 100_000  # length of every training
    shift: int = 1  # the teacher's images move by up to so many pixels
    temperatures: tuple[float, ...] = (1.0, 4.0, 10.0, 20.0)
    omitted: int = 3  # the class that is never shown
    seeds: int = 3
    out: Path = Path("runs/distillation")


def mistakes(logits: Tensor, data: Images) -> Tensor:
    """How many images of each class go wrong."""
    return data.labels[logits.argmax(1) != data.labels].bincount(minlength=len(data.classes))


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    known, test = data.load("train"), data.load("test")
    others, c, found = known.subset(known.labels != config.omitted), config.omitted, []
    for seed in range(config.seeds):
        options = genlab.Options(config.images, seed=seed, schedule="cosine", clip=1.0)

        def train(method: Classifier, images: Images, title: str, options=options, **how: object) -> nn.Module:
            stream = Stream(images, options.batch, seed=options.seed, **how)  # type: ignore[arg-type]
            return genlab.fit(method, stream, options, title=title).eval()

        net = lambda width: mlp(known.shape, len(known.classes), width)
        torch.manual_seed(seed)
        large = Classifier(net(config.teacher), weight_decay=1e-4)
        teacher = train(large, known, "teacher", augment=Augment(crop=config.shift))
        students = {"student": train(Classifier(net(config.student), weight_decay=0.0), known, "student")}
        for t in config.temperatures:
            taught = Distillation(net(config.student), [teacher], t, 0.9)
            students[f"distilled, T {t:g}"] = train(taught, known, f"T {t:g}")
        models = {"teacher": teacher, **students}
        row = {name: int(mistakes(answers(model, test), test).sum()) for name, model in models.items()}
        blind = train(Distillation(net(config.student), [teacher], 8.0, 1.0), others, f"no {c}")
        fixes = [torch.zeros(len(known.classes)).index_fill(0, torch.tensor(c), b / 4) for b in range(60)]
        seen, new = answers(blind, known), answers(blind, test)
        fix = min(fixes, key=lambda b: int(mistakes(seen + b, known).sum()))  # chosen on training images
        before, after = mistakes(new, test), mistakes(new + fix, test)
        row |= {f"no {c}": int(before.sum()), f"no {c}, fixed": int(after.sum()), f"of {c}s": int(after[c])}
        found.append(row)
    rows = [[name, *spread(row[name] for row in found)] for name in found[0]]
    page = genlab.Report(f"Distillation on {config.data}").table(header := ["network", "errors", "±"], rows)
    write_atomically(config.out / "results.json", json.dumps([dict(zip(header, row)) for row in rows]).encode())
    lines = ["{:24} {:8.1f} ± {:.1f}".format(*row) for row in rows]
    print(*lines, f"report {page.save(config.out / 'report.html')}", sep="\n")


if __name__ == "__main__":
    start(main, Config)
