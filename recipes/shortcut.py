"""A network that was right for the wrong reason: the ground's colour tells the class, and the saliency map shows it.

python recipes/shortcut.py                                       # scikit-learn's digits, a minute on one core
python recipes/shortcut.py --data mnist --data-root DIR
"""

from __future__ import annotations

import json
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Length, Seed
from genlab.data import Images, Stream
from genlab.explain.gradients import saliency
from genlab.explain.pictures import to_images
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.reporting.grid import grid_png

COLOURS = torch.tensor([hsv_to_rgb(k / 10, 1.0, 0.6) for k in range(10)])


@dataclass(frozen=True)
class Config:
    data: str = "digits"  # labelled grey images in at most ten classes
    data_root: Path | None = None  # where downloaded sets lie
    images: Length = 60_000  # length of each training
    n: Count = 100  # held-out images
    out: Path = Path("runs/shortcut")  # folder of the report
    seed: Seed = 0


def tinted(images: Images, colours: Tensor) -> Images:
    """White strokes on a ground of one colour per image (N, 3)."""
    x = torch.lerp(colours[:, :, None, None], torch.ones_like(images.x[:1]), images.x)
    return Images((x * 255).round().byte(), images.labels, images.classes, f"{images.name}, tinted")


def main(config: Config) -> None:
    data, page = genlab.DataOptions(config.data, channels=1, data_root=config.data_root), genlab.Report("A shortcut")
    train, test, rows = data.load("train"), data.load("test").subset(slice(0, config.n)), []
    if len(test.classes) > 10:
        raise ValueError(f"there are ten colours, but {config.data} has {len(test.classes)} classes")
    colours = COLOURS.to(test.device)
    own, other = (tinted(test, colours[(test.labels + shift) % 10]) for shift in (0, 1))
    ground = (test.x < 0.1)[:, 0]
    page.text(f"The ground is {float(ground.float().mean()):.0%} of the pixels. Above: images; below: saliency.")
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine", warmup=0.1)
    for name in ("its class", "no class"):
        torch.manual_seed(config.seed)
        net = ClassifierConfig().build((3, *test.shape[1:]), len(test.classes)).to(test.device)
        assert isinstance(net, Classifier)
        told = train.labels if name == "its class" else torch.randint_like(train.labels, 10)
        genlab.fit(net, Stream(tinted(train, colours[told]), 64, seed=config.seed), options, title=name)
        seen = saliency(net, own.x, test.labels)
        part = float(((seen * ground).flatten(1).sum(1) / seen.flatten(1).sum(1).clamp(min=1e-12)).mean())
        rows.append([name, *(net.evaluate(images)["accuracy"] for images in (own, other)), part])
        pictures = torch.cat([own.x[:10], to_images(seen[:10]).expand(-1, 3, -1, -1)])
        page.picture(grid_png(pictures, len(own.x[:10])), f"in training the colour told {name}")
        print(
            "in training the colour told {}: right {:.3f}, with another's colour {:.3f}, on the ground {:.3f}".format(
                *rows[-1]
            )
        )
    header = ["in training the colour told", "right", "right with another's colour", "saliency on the ground"]
    page.table(header, rows)
    write_atomically(config.out / "results.json", json.dumps([dict(zip(header, r)) for r in rows], indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
