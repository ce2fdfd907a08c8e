"""PixelCNN and its gated successor on black and white digits: exact nats, samples, classes asked for, hidden halves.

python recipes/pixelcnn_mnist.py                                      # scikit-learn's digits, minutes on one core
python recipes/pixelcnn_mnist.py --data binary:mnist --data-root DIR --nets gated --kernel 5 --position-bias \\
    --images 76000
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
from genlab.core.ranges import Count, Layers, LearningRate, Length, Range, Seed
from genlab.experiment import check_all
from genlab.methods.likelihood.autoregressive import Autoregressive, AutoregressiveConfig, NetName
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """Trains every net, and a class-conditional one, and shows what they draw."""

    data: str = "binary:digits"
    """black and white images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    nets: tuple[NetName, ...] = ("pixelcnn", "gated", "row-lstm", "diagonal-bilstm")
    conditional: bool = True
    """also a gated net that is told the class"""
    images: Length = 20_000
    """length of every training; the digits, which are few, are learnt by heart in three times as much"""
    width: Annotated[int, Range(3, 2**16)] = 32
    layers: Layers = 3
    kernel: Annotated[int, Range(1, 99)] = 3
    """side of the masked convolutions"""
    position_bias: bool = False
    """every place of the image has a bias of its own"""
    batch: Count = 16
    lr: LearningRate = 2e-3
    out: Path = Path("runs/pixelcnn")
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    page, rows = genlab.Report(f"Pixel after pixel: {config.data}"), []
    train = genlab.TrainOptions(config.images, config.batch, config.seed, schedule="cosine", half_life=5000, clip=100.0)
    plain = AutoregressiveConfig(head="bernoulli", width=config.width, layers=config.layers, kernel=config.kernel)
    plain = replace(plain, position_bias=config.position_bias, lr=config.lr)
    methods = {str(net): replace(plain, net=net) for net in config.nets}
    if config.conditional:
        methods["conditional"] = replace(plain, net="gated", conditional=True)
    plan = {name: genlab.Experiment(method, data, **vars(train)) for name, method in methods.items()}
    check_all(plan.values())
    test = data.load("test")
    for name, each in plan.items():
        told, model = name == "conditional", each.run(config.out / name, pictures=1)
        assert isinstance(model, Autoregressive)
        rows.append({"net": name, **genlab.Run(config.out / name).results()})
        torch.manual_seed(config.seed)
        page.section(name, "Draws, one class a column." if told else "Draws.")
        page.picture(grid_png(model.sample(100), 10), "temperature 1")
        page.picture(grid_png(model.sample(100, temperature=0.8), 10), "temperature 0.8")
        x = test.x[:10]
        known = torch.ones(1, *test.shape[1:], dtype=torch.bool, device=test.device)
        known[:, test.shape[1] // 2 :] = False
        labels = test.labels[:10].repeat(3) if told else None
        three = model.complete(x.repeat(3, 1, 1, 1), known, labels)
        page.picture(grid_png(torch.cat([x, x * known, three]), 10), "held out; what was shown; three completions")
    page.section("Figures", "Minus the mean log-likelihood of held-out images, per image and per pixel.")
    page.table(list(rows[0]), [list(row.values()) for row in rows])
    for row in rows:
        print(f"{row['net']:16} {row['nats']:8.2f} nats {row['bits_per_dim']:.4f} bits/dim")
    write_atomically(config.out / "results.json", json.dumps(rows, indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
