"""Three flows on one data set: bits per dimension, samples by temperature, walks between images, and the way back.

python recipes/flow_mnist.py                                     # scikit-learn's digits, minutes on one core
python recipes/flow_mnist.py --data mnist --data-root DIR --images 200000 --batch 32
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, LearningRate, Length, Positive, Seed
from genlab.experiment import check_all
from genlab.methods.likelihood.flow import FlowConfig
from genlab.nets.glow import FlowName
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """Trains NICE, RealNVP and Glow, and draws from them."""

    data: genlab.DataOptions = field(default_factory=genlab.DataOptions)
    nets: tuple[FlowName, ...] = ("nice", "realnvp", "glow")
    """which"""
    images: Length = 40_000
    """length of each training"""
    batch: Count = 32
    lr: LearningRate = 2e-3
    """learning rate of Adam"""
    temperatures: tuple[Positive, ...] = (0.5, 0.7, 1.0)
    """standard deviations of the latents that are drawn"""
    out: Path = Path("runs/flows")
    """folder of the runs and the report"""
    seed: Seed = 0


def main(config: Config) -> None:
    page, rows = genlab.Report(f"Flows on {config.data.data}"), []
    training = genlab.TrainOptions(config.images, config.batch, config.seed, schedule="cosine", warmup=0.02, clip=1.0)
    plan = {
        net: genlab.Experiment(FlowConfig(net=net, lr=config.lr), config.data, **vars(training)) for net in config.nets
    }
    check_all(plan.values())
    test = config.data.load("test")
    for net, each in plan.items():
        out = config.out / net
        method: Any = each.run(out, pictures=1)
        found = genlab.Run(out).results()
        torch.manual_seed(config.seed)
        with torch.no_grad():
            error = float((method.reconstruct(test.x) - test.x).abs().max() * 255)
            rows.append([net, found["nats"], found["bits_per_dim"], error])
            page.section(net, f"{found['bits_per_dim']:.2f} bits per dimension of 8-bit images.")
            for t in config.temperatures:
                page.picture(grid_png(method.sample(64, t)), f"temperature {t}")
            x = test.subset(slice(0, 16)).x
            page.picture(grid_png(method.interpolate(x[:8], x[8:], 9), 9), "between test images")
        print(f"{net}: {found['bits_per_dim']:.3f} bits/dim, largest error there and back {error:.0f} of 255 levels")
    head = ["flow", "nats per image", "bits/dim", "largest error there and back, in levels"]
    page.section("Likelihood", "Bounds of log P of held-out 8-bit images, by uniform dequantisation.").table(head, rows)
    write_atomically(config.out / "results.json", json.dumps([dict(zip(head, row)) for row in rows], indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
