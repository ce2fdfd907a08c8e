"""Likelihood models on one page: what an image costs, how long a sample takes, and what samples look like.

PixelCNN is exact and slow to draw from; flows, mixtures, VAE and VQ-VAE give bounds and draw in one pass.

python recipes/likelihood_table.py                                   # scikit-learn's digits, minutes on one core
python recipes/likelihood_table.py --data mnist --data-root DIR --images 60000
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Length, Seed, Width
from genlab.experiment import check_all
from genlab.likelihood.mixture import Mixture
from genlab.likelihood.units import likelihood
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig
from genlab.methods.likelihood.flow import FlowConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.methods.likelihood.vq_vae import VQVAEConfig
from genlab.reporting.grid import grid_png

WAYS = {
    "PixelCNN": ("exact", AutoregressiveConfig("pixelcnn", "softmax", lr=2e-3), 1.0),
    "gated PixelCNN": ("exact", AutoregressiveConfig("gated", "softmax", lr=2e-3), 1.0),
    "Row LSTM": ("exact", AutoregressiveConfig("row-lstm", "softmax", layers=3, lr=2e-3), 1.0),
    "Diagonal BiLSTM": ("exact", AutoregressiveConfig("diagonal-bilstm", "softmax", layers=1, lr=2e-3), 1.0),
    "Glow": ("bound", FlowConfig("glow"), 1.0),
    "VAE": ("bound, 64 samples", VAEConfig(pixels="gaussian", latent=16), 4.0),
    "VQ-VAE": ("bound", VQVAEConfig(codes=64, width=32), 4.0),
}


@dataclass(frozen=True)
class Config:
    data: str = "digits"
    data_root: Path | None = None  # where downloaded sets lie
    models: tuple[str, ...] = tuple(WAYS)  # which
    images: Length = 30_000  # length of a training; those of VAE and VQ-VAE are four times as long
    components: Width = 10  # of the Gaussian mixture
    out: Path = Path("runs/likelihood-table")
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, channels=1, data_root=config.data_root)
    train, test, page, rows = data.load("train"), data.load("test"), genlab.Report(f"Likelihood: {config.data}"), []
    ways = {name: WAYS[genlab.core.registry.choose(name, WAYS, "model")] for name in config.models}
    options = genlab.TrainOptions(
        batch=32, seed=config.seed, schedule="cosine", half_life=2000, clip=100.0, warmup=0.02
    )

    check_all(genlab.Experiment(method, data, **vars(options)) for _, method, _ in ways.values())

    @torch.no_grad()
    def add(name: str, kind: str, bits: float, model: Any) -> None:
        torch.manual_seed(config.seed)
        began = time.perf_counter()
        x = model.sample(64)
        rows.append([name, kind, bits, (time.perf_counter() - began) / 64])
        page.section(name).picture(grid_png(x), f"{bits:.3f} bits per dimension ({kind})")
        print(f"{name:16} {bits:7.3f} bits/dim ({kind}), {rows[-1][3]:.5f} s per sample")

    mixture = Mixture.fit(train.subset(slice(0, 10_000)), config.components)
    add("Gaussian mixture", "bound", likelihood(mixture.log_prob, test)["bits_per_dim"], mixture)
    for name, (kind, method, longer) in ways.items():
        run = config.out / name.replace(" ", "-")
        length = round(longer * config.images)
        model = genlab.Experiment(method, data, **vars(replace(options, images=length))).run(run, pictures=1)
        add(name, kind, genlab.Run(run).results()["bits_per_dim"], model)
    page.section("Table", "Held-out images; samples in batches of 64.")
    page.table(header := ["model", "likelihood", "bits/dim", "s per sample"], rows)
    write_atomically(
        config.out / "results.json", json.dumps([dict(zip(header, row)) for row in rows], indent=1).encode()
    )
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
