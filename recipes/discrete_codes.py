"""Discrete codes of images: bits, one of many, and a VQ-VAE's map of codes; how well they reconstruct, by bits.

An auto-encoder whose code is one of K (one-hot) needs K units for log2 K bits, and knows K images; one of binary units
has a unit a bit, and can combine them for images unlike all that it has seen. Both learn by straight-through gradients
(arXiv:1308.3432). A VQ-VAE (arXiv:1711.00937) has a code for every place of a small map. Everything is repeated over
seeds.

python recipes/discrete_codes.py                                 # scikit-learn's digits, minutes on one core
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import LearningRate, Length, NonEmpty, Range, Seeds, Width
from genlab.core.text import counted
from genlab.data import Images
from genlab.latent.codes import apply_batched
from genlab.methods.likelihood.vq_vae import VQVAEConfig
from genlab.methods.representation.autoencoder import AutoEncoderConfig
from genlab.reporting.finish import finish
from genlab.reporting.labelled import picture_png
from genlab.reporting.plots import curves
from genlab.reporting.spread import over_seeds, plus_minus, spread

FIGURES = {"bits": ".0f", "units": ".0f", "error": ".4f", "perplexity": ".0f", "codes in use": ".0f", "unseen": ".2f"}
SHOWN = 10  # images in a picture
Figures = dict[str, float]


@dataclass(frozen=True)
class Config:
    """Reconstruction error and use of discrete codes."""

    data: str = "digits"
    """which images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    bits: NonEmpty[Annotated[int, Range(1, 12)]] = (4, 10)
    """sizes of the one-hot and the binary codes"""
    more_bits: NonEmpty[Annotated[int, Range(1, 10_000)]] = (40,)
    """further sizes, of binary codes alone"""
    codes: Annotated[int, Range(2, 2**16)] = 64
    """vectors in the codebook of the VQ-VAE"""
    hidden: Width = 256
    """units of the auto-encoders' hidden layer"""
    lr: LearningRate = 1e-2
    """learning rate of all"""
    images: Length = 15_000
    """length of every training"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/discrete-codes")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    train, test = data.load("train"), data.load("test")
    found: dict[str, list[Figures]] = {}
    shown = {"held out": test.x[:SHOWN]}
    for name, method in methods(config).items():
        for seed in config.seeds:
            folder = config.out / f"{name.replace(' ', '-')}-{seed}"
            experiment = genlab.Experiment(method, data, images=config.images, batch=64, seed=seed)
            model: Any = experiment.run(folder, pictures=0)
            found.setdefault(name, []).append(measured(model, train, test))
        shown[name] = model.reconstruct(test.x[:SHOWN]).detach()

    page = genlab.Report(f"Discrete codes of {config.data}")
    page.section("Bits combine, one of many does not", message(found))
    page.picture(figure(found)).picture(picture_png(in_rows(shown)), "held-out images, reconstructed")
    page.text(
        "Error: mean squared, per pixel, held out. Perplexity: of the codes of the training images, as if so many were "
        f"used equally; unseen: share of the held-out images whose code no training image has. Mean ± standard "
        f"deviation over {counted(config.seeds)}."
    )
    page.table(["code", *FIGURES], ([name, *cells(rows)] for name, rows in found.items()))
    finish(config.out, page, [{"code": name} | over_seeds(rows, FIGURES) for name, rows in found.items()])


def methods(config: Config) -> dict[str, genlab.Config]:
    plain = {"hidden": (config.hidden,), "lr": config.lr}
    found: dict[str, genlab.Config] = {}
    for bits in sorted(config.bits):
        found[f"one-hot {2**bits}"] = AutoEncoderConfig(code=2**bits, code_activation="one-hot", **plain)  # type: ignore[arg-type]
    for bits in sorted({*config.bits, *config.more_bits}):
        found[f"binary {bits}"] = AutoEncoderConfig(code=bits, code_activation="binary", **plain)  # type: ignore[arg-type]
    found["VQ-VAE"] = VQVAEConfig(codes=config.codes, dim=16, width=16, prior_width=16, prior_layers=1, lr=config.lr)
    return found


@torch.no_grad()
def measured(model: Any, train: Images, test: Images) -> Figures:
    known, new = codes(model, train), codes(model, test)
    kinds, counts = known.unique(dim=0, return_counts=True)
    share = counts / counts.sum()
    seen = {tuple(code) for code in kinds.tolist()}
    one_hot = getattr(model.config, "code_activation", "") == "one-hot"
    vq = isinstance(model.config, VQVAEConfig)
    units = model.config.codes if vq else model.config.code
    bits = known.shape[1] * log2(units) if vq else log2(units) if one_hot else units
    return {
        "bits": float(bits),
        "units": float(units),
        "error": model.evaluate(test)["error"],
        "perplexity": float(torch.special.entr(share).sum().exp()),
        "codes in use": float(len(kinds)),
        "unseen": mean(tuple(code) not in seen for code in new.tolist()),
    }


def codes(model: Any, images: Images) -> Tensor:
    """The codes of all images as whole numbers (N, k)."""
    if isinstance(model.config, VQVAEConfig):
        return apply_batched(model.codes, images).flatten(1)
    return apply_batched(model.code, images).round().long()


def message(found: dict[str, list[Figures]]) -> str:
    of = lambda name, key: mean(each[key] for each in found[name])
    many = max((name for name in found if name.startswith("one-hot")), key=lambda name: of(name, "units"))
    binary = f"binary {of(many, 'bits'):.0f}"
    return (
        f"With {of(many, 'bits'):.0f} bits an auto-encoder of {of(binary, 'units'):.0f} binary units errs by "
        f"{of(binary, 'error'):.4f}, one of {of(many, 'units'):.0f} one-hot units by {of(many, 'error'):.4f}, which "
        f"uses {of(many, 'codes in use'):.0f} of them."
    )


def figure(found: dict[str, list[Figures]]) -> bytes:
    lines: dict[str, Any] = {}
    for kind in ("one-hot", "binary", "VQ-VAE"):
        rows = [rows for name, rows in found.items() if name.startswith(kind)]
        bands = [spread(each["error"] for each in some) for some in rows]
        lines[kind] = ([some[0]["bits"] for some in rows], *([m + sign * s for m, s in bands] for sign in (0, -1, 1)))
    return curves(lines, x="bits of the code", y="squared error per pixel, held out")


def cells(rows: Sequence[Figures]) -> list[str]:
    return [plus_minus((each[key] for each in rows), form) for key, form in FIGURES.items()]


if __name__ == "__main__":
    start(main, Config)
