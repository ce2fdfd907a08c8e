"""Likelihood models on one page: bits per dimension of held-out images, time per sample, and samples.

PixelCNNs and PixelRNNs have an exact likelihood and draw pixel by pixel; flows, mixtures, VAE and VQ-VAE have bounds
and draw in one pass.

python recipes/likelihood_table.py                                   # scikit-learn's digits, minutes on one core
python recipes/likelihood_table.py --data mnist --data-root DIR --images 60000
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Length, NonEmpty, Seed, Width
from genlab.core.registry import choose
from genlab.experiment import check_all
from genlab.likelihood.mixture import Mixture
from genlab.likelihood.units import likelihood
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig
from genlab.methods.likelihood.flow import FlowConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.methods.likelihood.vq_vae import VQVAEConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.grid import grid_png
from genlab.reporting.plots import bars

DRAWN = 64  # samples of every model


@dataclass(frozen=True)
class Model:
    """What is trained for one row of the table."""

    likelihood: str
    """exact, or a bound, and by how many latents"""
    method: genlab.Config
    longer: int = 1
    """how many times as long as the others it is trained"""


MODELS = {
    "PixelCNN": Model("exact", AutoregressiveConfig("pixelcnn", lr=2e-3)),
    "gated PixelCNN": Model("exact", AutoregressiveConfig("gated", lr=2e-3)),
    "Row LSTM": Model("exact", AutoregressiveConfig("row-lstm", layers=3, lr=2e-3)),
    "Diagonal BiLSTM": Model("exact", AutoregressiveConfig("diagonal-bilstm", layers=1, lr=2e-3)),
    "Glow": Model("bound", FlowConfig("glow")),
    "VAE": Model("bound by 64 latents", VAEConfig(pixels="gaussian", latent=16), longer=4),
    "VQ-VAE": Model("bound", VQVAEConfig(codes=64, width=32), longer=2),
}


@dataclass(frozen=True)
class Config:
    """Trains every likelihood model on the same images."""

    data: str = "digits"
    """images of any kind, in grey"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    models: NonEmpty[str] = tuple(MODELS)
    """models beside the Gaussian mixture"""
    images: Length = 22_000
    """length of a training; that of the VAE is four, of the VQ-VAE two times as long"""
    components: Width = 10
    """components of the Gaussian mixture"""
    out: Path = Path("runs/likelihood-table")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of every training and sample"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, channels=1, data_root=config.data_root)
    models = {name: MODELS[choose(name, MODELS, "model")] for name in config.models}
    experiments = {name: experiment(model, data, config) for name, model in models.items()}
    check_all(experiments.values())

    page = genlab.Report(f"Likelihood models on {config.data}")
    header = ["model", "likelihood", "bits/dim", "seconds per sample"]
    rows = [["Gaussian mixture", "bound", *mixture(page, data, config)]]
    for name, model in models.items():
        rows.append([name, model.likelihood, *trained(page, name, experiments[name], config)])
    page.section("Held-out images", f"Samples are drawn {DRAWN} at a time.").table(header, rows)
    best = min(rows, key=lambda row: row[2])
    page.opening(
        f"The {best[0]} explains held-out images best, with {best[2]:.2f} bits per dimension ({best[1]}).",
        bars({row[0]: [row[2]] for row in rows}, x="bits per dimension"),
    )
    finish(config.out, page, records(header, rows))


def experiment(model: Model, data: genlab.DataOptions, config: Config) -> genlab.Experiment:
    """All models are trained alike, but for the length."""
    train: dict[str, Any] = {"batch": 32, "schedule": "cosine", "warmup": 0.02, "clip": 100.0, "half_life": 2000}
    return genlab.Experiment(model.method, data, images=model.longer * config.images, seed=config.seed, **train)


def mixture(page: genlab.Report, data: genlab.DataOptions, config: Config) -> tuple[float, float]:
    """Bits per dimension and seconds per sample of a mixture of Gaussians."""
    fitted = Mixture.fit(data.load("train").subset(slice(0, 10_000)), config.components)
    bits = likelihood(fitted.log_prob, data.load("test"))["bits_per_dim"]
    return bits, draw(page, "Gaussian mixture", fitted, config)


def trained(page: genlab.Report, name: str, experiment: genlab.Experiment, config: Config) -> tuple[float, float]:
    """Bits per dimension and seconds per sample of a model that `experiment` trains."""
    out = config.out / name.replace(" ", "-")
    model = experiment.run(out, pictures=1)
    return genlab.Run(out).results()["bits_per_dim"], draw(page, name, model, config)


@torch.no_grad()
def draw(page: genlab.Report, name: str, model: Any, config: Config) -> float:
    """Shows samples; returns the seconds that one took."""
    torch.manual_seed(config.seed)
    began = time.perf_counter()
    x = model.sample(DRAWN)
    seconds = (time.perf_counter() - began) / DRAWN
    page.section(name).picture(grid_png(x))
    return seconds


if __name__ == "__main__":
    start(main, Config)
