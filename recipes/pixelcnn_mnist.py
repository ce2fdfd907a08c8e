"""PixelCNNs and PixelRNNs on black and white digits: exact likelihood, samples, samples by class, completions.

python recipes/pixelcnn_mnist.py                                      # scikit-learn's digits, minutes on one core
python recipes/pixelcnn_mnist.py --data binary:mnist --data-root DIR --nets gated --kernel 5 --position-bias \\
    --images 76000
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Count, Layers, LearningRate, Length, NonEmpty, Range, Seed
from genlab.core.text import listed
from genlab.data import Images
from genlab.experiment import check_all
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig, NetName
from genlab.reporting.finish import finish
from genlab.reporting.grid import grid_png
from genlab.reporting.labelled import picture_png
from genlab.reporting.plots import bars


@dataclass(frozen=True)
class Config:
    """Trains every net, and a class-conditional one, and shows what they draw."""

    data: str = "binary:digits"
    """black and white images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    nets: NonEmpty[NetName] = ("pixelcnn", "gated", "row-lstm", "diagonal-bilstm")
    """the networks to train"""
    conditional: bool = True
    """also a gated net that is given the class"""
    images: Length = 20_000
    """length of every training; three times as long, the nets memorise scikit-learn's 1,437 digits"""
    width: Annotated[int, Range(3, 2**16)] = 32
    """features per pixel"""
    layers: Layers = 3
    """layers after the first"""
    kernel: Annotated[int, Range(1, 99, odd=True)] = 3
    """side of the masked convolutions, odd"""
    position_bias: bool = False
    """a learned bias for every position in the first layer"""
    batch: Count = 16
    """images per batch"""
    lr: LearningRate = 2e-3
    """learning rate of Adam"""
    out: Path = Path("runs/pixelcnn")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of every training and sample"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    methods = {net: method(net, config) for net in config.nets}
    if config.conditional:
        methods["conditional"] = replace(method("gated", config), conditional=True)
    train = {"images": config.images, "batch": config.batch, "seed": config.seed, "half_life": 5000, "warmup": 0.0}
    experiments = {name: genlab.Experiment(each, data, **train) for name, each in methods.items()}
    check_all(experiments.values())

    test = data.load("test")
    page = genlab.Report(f"Pixel by pixel: {config.data}")
    rows = []
    for name, experiment in experiments.items():
        model = experiment.run(config.out / name, pictures=1)
        rows.append({"net": name, **genlab.Run(config.out / name).results()})
        torch.manual_seed(config.seed)
        draw(page, name, model, test)
    nats = {row["net"]: row["nats"] for row in rows}
    page.opening(
        f"Minus the mean log-likelihood of held-out images, in nats per image: {listed(nats, '.2f')}; the lower, the "
        "better.",
        bars({name: [value] for name, value in nats.items()}, x="nats per held-out image"),
    )
    page.section("Likelihood", "Of held-out images, per image and per pixel.")
    page.table(list(rows[0]), (row.values() for row in rows))
    finish(config.out, page, rows)


def method(net: NetName, config: Config) -> AutoregressiveConfig:
    return AutoregressiveConfig(
        net,
        head="bernoulli",
        width=config.width,
        layers=config.layers,
        kernel=config.kernel,
        position_bias=config.position_bias,
        lr=config.lr,
    )


def draw(page: genlab.Report, name: str, model: Any, test: Images) -> None:
    """Samples at two temperatures, and completions of ten held-out images whose lower half is hidden."""
    page.section(name, "Samples, one class a column." if model.config.conditional else "Samples and completions.")
    for temperature in (1.0, 0.8):
        page.picture(grid_png(model.sample(100, temperature=temperature), 10), f"temperature {temperature:g}")
    x, labels = test.x[:10], test.labels[:10]
    known = torch.ones(1, *test.shape[1:], dtype=torch.bool, device=test.device)
    known[:, test.shape[1] // 2 :] = False
    given = labels.repeat(3) if model.config.conditional else None
    completions = model.complete(x.repeat(3, 1, 1, 1), known, given).split(len(x))
    drawn = {f"completion {i}": completion for i, completion in enumerate(completions, 1)}
    page.picture(picture_png(in_rows({"held out": x, "given": x * known, **drawn})))


if __name__ == "__main__":
    start(main, Config)
