"""Auto-encoders whose code has more numbers than the image has pixels: what keeps them from copying their input.

Without a regulariser such an auto-encoder nearly copies: noise goes through it. Three remedies: few active units, by an
L1 penalty on the code (sparse); a corrupted input, whose clean image is the target (denoising; Vincent et al. 2010,
JMLR 11:3371); a penalty on the encoder's Jacobian (contractive; Rifai et al. 2011, ICML). Everything is repeated over
seeds.

python recipes/overcomplete_codes.py                                   # rendered digits, a minute on one core
python recipes/overcomplete_codes.py --data mnist --data-root DIR --size 28 --code 1000 --images 200000
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Length, NonEmpty, Positive, Seeds, Side, Weight, Width
from genlab.core.text import counted
from genlab.data.seeds import generator
from genlab.methods.representation.autoencoder import AutoEncoderConfig
from genlab.reporting.finish import finish
from genlab.reporting.labelled import labelled_grid_png
from genlab.reporting.plots import curves
from genlab.reporting.spread import plus_minus, spread

PLAIN = "no regulariser"
ACTIVE = 0.01  # of the largest activation: a unit above it is active
SHOWN, TESTED = 4, 500  # test images in the picture, and in the figures
FIGURES = {  # of `judged` -> digits after the point
    "error, clean": 3,
    "error, noisy": 3,
    "noise kept": 2,
    "code moved": 2,
    "active units": 2,
}


@dataclass(frozen=True)
class Config:
    """Copies, denoised images and the stability of codes, by regulariser."""

    data: str = "grey:glyphs"
    """images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width of the images in pixels; none: as in the data set"""
    code: Width = 512
    """units of the code, the only hidden layer"""
    images: Length = 30_000
    """length of every training"""
    sparse: Weight = 0.3
    """weight of the code's L1 norm in the sparse auto-encoder"""
    noise: Positive = 0.5
    """standard deviation of the noise on the denoising auto-encoder's input and in the table, pixels of [0, 1]"""
    contractive: Weight = 0.1
    """weight of the Jacobian's squared norm in the contractive auto-encoder"""
    levels: NonEmpty[Positive] = (0.1, 0.2, 0.3, 0.4, 0.5)
    """standard deviations of the noise in the curves"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/overcomplete-codes")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, data_root=config.data_root)
    x = data.load("test").x[:TESTED]
    methods: dict[str, dict[str, float]] = {
        PLAIN: {},
        "sparse": {"sparse": config.sparse},
        "denoising": {"noise": config.noise},
        "contractive": {"contractive": config.contractive},
    }
    levels = sorted({*config.levels, config.noise})
    found: dict[tuple[str, float], list[dict[str, float]]] = {}  # (method, noise) -> figures of every seed
    pictures = {}
    for name, options in methods.items():
        for seed in config.seeds:
            model = train(config, data, options, f"{name.replace(' ', '-')}-{seed}", seed)
            for level in levels:
                found.setdefault((name, level), []).append(judged(model, x, level))
        pictures[name] = shown(model, x, config.noise)
    results = [row(name, level, repetitions) for (name, level), repetitions in found.items()]

    page = genlab.Report(f"Codes of {config.code} units for {x[0].numel()} pixels: {config.data}")
    page.section("What goes through an auto-encoder", message({name: found[name, config.noise] for name in methods}))
    rows = {"input": torch.cat([x[:SHOWN], noisy(x, config.noise)[:SHOWN]]), **pictures}
    heads = [*["clean"] * SHOWN, *["noisy"] * SHOWN]
    page.picture(labelled_grid_png(torch.cat(list(rows.values())), 2 * SHOWN, rows=tuple(rows), heads=heads))
    page.text(
        f"Mean squared errors per pixel to the clean image; noise kept: |r(x + noise) - r(x)|² / |noise|²; code moved: "
        "|h(x + noise) - h(x)| over the mean distance of two images' codes. The noise has standard deviation "
        f"{config.noise:g}; {len(x)} test images; mean ± standard deviation over {counted(config.seeds)}."
    )
    table = [
        [
            name,
            *(
                plus_minus((each[figure] for each in found[name, config.noise]), f".{digits}f")
                for figure, digits in FIGURES.items()
            ),
        ]
        for name in methods
    ]
    page.table(["regulariser", *FIGURES], table)
    page.section("By the size of the noise")
    for figure in ("error, noisy", "code moved"):
        lines = {name: line(results, name, figure) for name in methods}
        page.picture(curves(lines, x="standard deviation of the noise", y=figure))
    finish(config.out, page, results)


def train(config: Config, data: genlab.DataOptions, options: dict[str, float], name: str, seed: int) -> Any:
    method = AutoEncoderConfig(hidden=(), code=config.code, code_activation="relu", error="linear", **options)  # type: ignore[arg-type]
    return genlab.Experiment(method, data, images=config.images, seed=seed).run(config.out / name, pictures=1)


def noisy(x: Tensor, level: float) -> Tensor:
    """x with the same Gaussian noise at every call, clipped to [0, 1]."""
    return (x + level * torch.randn(x.shape, generator=generator("noise", 0)).to(x)).clamp(0, 1)


@torch.no_grad()
def judged(model: Any, x: Tensor, level: float) -> dict[str, float]:
    """FIGURES of images x (N, C, H, W) and the same with noise."""
    y = noisy(x, level)
    h, moved, r, s = model.code(x), model.code(y), model.reconstruct(x), model.reconstruct(y)
    apart = (h - h.roll(1, 0)).norm(dim=1).mean()
    return {
        "error, clean": float((r - x).square().mean()),
        "noise kept": float((s - r).square().sum() / (y - x).square().sum()),
        "error, noisy": float((s - x).square().mean()),
        "code moved": float((moved - h).norm(dim=1).mean() / apart),
        "active units": float((h > ACTIVE * h.max()).float().mean()),
    }


@torch.no_grad()
def shown(model: Any, x: Tensor, level: float) -> Tensor:
    """Reconstructions of a few images, then of the same with noise."""
    return model.reconstruct(torch.cat([x[:SHOWN], noisy(x, level)[:SHOWN]]))


def row(name: str, level: float, repetitions: list[dict[str, float]]) -> dict[str, Any]:
    found: dict[str, Any] = {"regulariser": name, "noise": level}
    for figure in repetitions[0]:
        found[figure], found[f"{figure} (sd)"] = spread(each[figure] for each in repetitions)
    return found


def message(found: dict[str, list[dict[str, float]]]) -> str:
    of = {name: {f: mean(each[f] for each in rows) for f in FIGURES} for name, rows in found.items()}
    plain = of[PLAIN]
    return (
        f"Without a regulariser {plain['noise kept']:.0%} of the noise goes through, with few active units "
        f"{of['sparse']['noise kept']:.0%}. Denoising takes the error of noisy images from {plain['error, noisy']:.3f} "
        f"to {of['denoising']['error, noisy']:.3f}. Noise moves a code by {plain['code moved']:.2f} of the distance "
        f"between images, with contraction by {of['contractive']['code moved']:.2f}."
    )


def line(results: list[dict[str, Any]], name: str, figure: str) -> tuple[list[float], ...]:
    """Noise, a figure, and the ends of its spread."""
    mine = [row for row in results if row["regulariser"] == name]
    ends = ([row[figure] + sign * row[f"{figure} (sd)"] for row in mine] for sign in (-1, 1))
    return [row["noise"] for row in mine], [row[figure] for row in mine], *ends


if __name__ == "__main__":
    start(main, Config)
