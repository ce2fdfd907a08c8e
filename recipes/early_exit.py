"""Early exits: easy images leave a classifier early. Accuracy against multiplications, and an attack on the decision.

The slowdown attack raises the uncertainty at the exits, so that images stay to the end: the same gradient steps, with
the entropy of the exits as what grows. python recipes/early_exit.py --data mnist --data-root DIR --images 600000
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

import genlab
from attacks import PGD, Linf
from genlab.cli.main import start
from genlab.compress.early_exit import EarlyExit, EarlyExitConfig
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Range, Seed, Width
from genlab.reporting.plots import curves


@dataclass(frozen=True)
class Config:
    """Every threshold, clean and under attack."""

    data: str = "digits"
    data_root: Path | None = None
    """where downloaded sets lie"""
    width: Width = 16
    images: Length = 100_000
    """length of training"""
    thresholds: NonEmpty[Annotated[float, Range(0, 2)]] = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.1)
    """probabilities at which an image leaves; above 1 none does before the end"""
    eps: Eps = 0.05
    """L-infinity size of the attacks, in pixels of [0, 1]"""
    attacked: Count = 300
    """test images that are attacked"""
    out: Path = Path("runs/early-exit")
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    test = data.load("test")
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine")
    model = genlab.Experiment(EarlyExitConfig(config.width), data, **vars(options)).run(config.out / "net", pictures=1)
    assert isinstance(model, EarlyExit)
    net, costs = model.net, torch.tensor(model.net.costs(test.shape), device=test.device).float()
    x, y = test.x[: config.attacked], test.labels[: config.attacked]

    class Doubt(torch.nn.Module):
        """x -> two logits, 'sure' and 'unsure', of the exits before the last: to fool it is to keep an image in."""

        def forward(self, x: Tensor) -> Tensor:
            top = net.all(x)[:-1].softmax(2).amax(2).amax(0)
            return torch.stack([top.logit(1e-6), torch.zeros_like(top)], 1)

    attack = PGD(Linf(config.eps), steps=20)
    images = {"clean": x, "slowed": attack(Doubt(), x, torch.zeros_like(y)), "fooled": attack(net, x, y)}
    rows = []
    for threshold in config.thresholds:
        net.threshold = threshold
        for name, pictures in {"test": test.x, **images}.items():
            logits, exits = net.predict(pictures)
            right = (logits.argmax(1) == (test.labels if name == "test" else y)).float().mean()
            rows.append([threshold, name, float(right), float(costs[exits].mean() / costs[-1])])
    page = genlab.Report(f"Early exits on {config.data}")
    lines = {
        n: ([r[3] for r in rows if r[1] == n], [r[2] for r in rows if r[1] == n]) for n in ("test", "slowed", "fooled")
    }
    page.picture(curves(lines, x="multiplications, of all", y="accuracy"))
    page.table(header := ["threshold", "images", "accuracy", "multiplications, of all"], rows)
    print(*("{:7.3f} {:8} accuracy {:.4f}  multiplications {:.3f} of all".format(*row) for row in rows), sep="\n")
    write_atomically(
        config.out / "results.json", json.dumps([dict(zip(header, row)) for row in rows], indent=1).encode()
    )
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
