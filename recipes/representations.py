"""Three ways to learn from images without being told what they show, each measured by what it is for.

Layer-wise pre-training: a classifier from few labels, against the same network from random weights. Deep InfoMax: a
linear probe of the code, against an untrained encoder. Disentangling: glyphs in three inks, whose ink the content code
is not to know, with and without the adversary.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Length, NonEmpty, Seed, Width
from genlab.data import Images, Stream
from genlab.experiment import check_all
from genlab.methods.classification.classifier import Classifier
from genlab.methods.representation.deep_infomax import DeepInfoMaxConfig
from genlab.methods.representation.disentangle import DisentangleConfig
from genlab.methods.representation.pretraining import PreTraining, PreTrainingConfig
from genlab.reporting.grid import grid_png

INKS = torch.tensor([[1.0, 0.3, 0.2], [0.2, 0.9, 0.3], [0.3, 0.4, 1.0]])


@dataclass(frozen=True)
class Config:
    data: str = "digits"  # of the first two
    data_root: Path | None = None  # where downloaded sets lie
    sizes: NonEmpty[Width] = (256, 256, 128)  # units of the layers that are pre-trained
    labels: tuple[Count, ...] = (2, 5, 10)  # per class
    images: Length = 60_000  # length of every training
    out: Path = Path("runs/representations")
    seed: Seed = 0


def inked(split: str) -> Images:
    """Glyphs in one of three inks; the label is the ink, the digit a known factor."""
    grey = genlab.DataOptions("glyphs", size=16, channels=1).load(split)
    ink = torch.randint(3, (len(grey),), generator=torch.Generator().manual_seed(1)).to(grey.device)
    pixels = (grey.pixels * INKS.to(grey.device)[ink][:, :, None, None]).round().byte()
    return replace(grey, pixels=pixels, labels=ink, classes=("red", "green", "blue"), factors={"digit": grey.labels})


def main(config: Config) -> None:
    data, page = genlab.DataOptions(config.data, data_root=config.data_root), genlab.Report("Representations")
    options = genlab.TrainOptions(config.images, seed=config.seed)
    each = max(1, config.images // 5)
    plan = PreTrainingConfig(config.sizes, activation="sigmoid", code_activation="sigmoid", images_per_layer=each)
    pretraining, infomax = (genlab.Experiment(method, data, **vars(options)) for method in (plan, DeepInfoMaxConfig()))
    check_all([pretraining, infomax])
    known, test = data.load("train"), data.load("test")
    ready = pretraining.run(config.out / "pretraining", pictures=1)
    assert isinstance(ready, PreTraining)
    rows, inks = [], {split: inked(split) for split in ("train", "test")}
    for n in config.labels:
        few = known.subset(torch.cat([(known.labels == c).nonzero()[:n, 0] for c in range(len(known.classes))]))
        for name, layers in {"pre-trained": ready, "random": plan.build(known.shape, 0)}.items():
            net = Classifier(layers.classifier(len(known.classes)).requires_grad_(True)).to(known.device)
            genlab.fit(net, Stream(few, 50), replace(options, schedule="cosine"), title=f"{name}, {n} labels")
            rows.append([n, name, net.evaluate(test)["accuracy"]])
    page.section("Few labels").table(few_head := ["labels per class", "start", "accuracy"], rows)
    infomax.run(config.out / "infomax", pictures=1)
    probes = genlab.Run(config.out / "infomax").results()
    page.section("Deep InfoMax", "Linear probes and image search.").table(["figure", "value"], probes.items())
    styles = {}
    for name, weight in {"with the adversary": 0.05, "without": 0.0}.items():
        torch.manual_seed(config.seed)
        apart = DisentangleConfig(weight=weight).build((3, 16, 16), 3).to(known.device)
        genlab.fit(apart, Stream(inks["train"], 64), options, title=name)
        styles[name] = apart.evaluate(inks["test"])
        page.section(f"Content and ink, {name}").table(["figure", "value"], styles[name].items())
        page.picture(grid_png(apart.pictures(inks["test"])["exchanged"], 8), "a row per content, a column per ink")
    found = {"few": [dict(zip(few_head, row)) for row in rows], "infomax": probes, "disentangle": styles}
    print(text := json.dumps(found, indent=1))
    write_atomically(config.out / "results.json", text.encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
