"""The smallest GAN: it learns from examples that the entries of a 4x4 matrix above the diagonal are zero.

The entries on and below the diagonal are independent draws from U(1, 5); the generator makes all sixteen of eight
normal numbers. Everything is repeated over seeds.

python recipes/triangular_matrices.py                            # minutes on one core
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import LearningRate, Length, Seeds, Width
from genlab.core.text import counted
from genlab.data import Stream, points
from genlab.methods.gan.gan import GAN, GANConfig
from genlab.nets.mlp import MLPCritic, MLPGenerator
from genlab.reporting.finish import finish
from genlab.reporting.labelled import labelled_grid_png
from genlab.reporting.plots import curves
from genlab.reporting.spread import over_seeds, plus_minus, spread

SIDE, LOW, HIGH = 4, 1.0, 5.0
ABOVE = torch.ones(SIDE, SIDE, dtype=torch.bool).triu(1).flatten()  # of the diagonal
LATENT, BATCH, SAMPLES, LOOKS, SHOWN = 8, 128, 5000, 25, 8
BINS = torch.linspace(-0.5, 6.5, 36)  # of the histograms of entries
DISTANCE = "distance from U(1, 5)"
FIGURES = {  # of `measured` -> form
    "size above the diagonal": ".3f",
    "mean below": ".2f",
    "standard deviation below": ".2f",
    DISTANCE: ".2f",
    "correlation of two entries": ".2f",
}


@dataclass(frozen=True)
class Config:
    """A GAN of lower-triangular matrices."""

    width: Width = 64
    """units of the hidden layers"""
    lr: LearningRate = 2e-3
    """learning rate of both networks"""
    images: Length = 800_000
    """length of every training, in matrices"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/triangular-matrices")
    """folder of the report"""


def main(config: Config) -> None:
    real = points.lower_triangle(side=SIDE, low=LOW, high=HIGH)
    held_out = points.lower_triangle(SAMPLES, SIDE, LOW, HIGH, seed=1).x
    gans = [trained(real, seed, config) for seed in config.seeds]
    rows = {"real": [measured(real.x[:SAMPLES], held_out)], "GAN": [measured(fake, held_out) for fake, _ in gans]}

    page = genlab.Report("A GAN of triangular matrices")
    page.section("The zeros are found", message(rows["GAN"]))
    shown = {"real": held_out, **{f"generated, seed {s}": fake for s, (fake, _) in zip(config.seeds, gans)}}
    page.picture(pictures(shown), "grey level: the entry, black 0, white 5")
    page.picture(history([looks for _, looks in gans]))
    page.picture(distribution(held_out, [fake for fake, _ in gans]))
    page.text(
        f"Mean ± standard deviation over {counted(config.seeds)}. Distance: earth mover's distance of an entry below "
        "the diagonal, to that of other real matrices, mean over the entries; correlation: mean size over pairs of "
        f"them, which in the data are independent, while the generator has {LATENT} numbers for ten."
    )
    page.table(["", *FIGURES], [[name, *cells(each)] for name, each in rows.items()])
    finish(config.out, page, [{"matrices": name} | over_seeds(each, FIGURES) for name, each in rows.items()])


def trained(real: points.Points, seed: int, config: Config) -> tuple[Tensor, dict[int, float]]:
    """Samples (SAMPLES, 16) of a trained generator, and the size above the diagonal by matrices seen."""
    torch.manual_seed(seed)
    nets = MLPGenerator(LATENT, SIDE**2, config.width), MLPCritic(SIDE**2, config.width)
    gan = GAN(*nets, GANConfig(latent=LATENT, lr=config.lr, lr_generator=config.lr))
    looks: dict[int, float] = {}

    @torch.no_grad()
    def look(images: int, method: GAN) -> None:
        looks[images] = size_above(method.sample(SAMPLES))

    half_life = max(1.0, config.images / 20)
    options = genlab.TrainOptions(config.images, BATCH, seed, schedule="cosine", half_life=half_life)
    every = max(BATCH, config.images // LOOKS)
    average = genlab.fit(gan, Stream(real, BATCH, seed=seed), options, hooks=[(every, look)], title=f"seed {seed}")
    with torch.no_grad():
        return average.sample(SAMPLES), looks  # type: ignore[attr-defined]


def measured(x: Tensor, real: Tensor) -> dict[str, float]:
    """FIGURES of matrices x (N, 16) beside other real ones of the same number."""
    below, expected = x[:, ~ABOVE], real[:, ~ABOVE]
    distance = (below.sort(0).values - expected.sort(0).values).abs().mean()  # on the line, that of the quantiles
    correlation = torch.corrcoef(below.T)
    apart = ~torch.eye(len(correlation), dtype=torch.bool)
    values = (size_above(x), below.mean(), below.std(0).mean(), distance, correlation[apart].abs().mean())
    return dict(zip(FIGURES, map(float, values)))


def size_above(x: Tensor) -> float:
    """Mean size of the entries above the diagonal."""
    return float(x[:, ABOVE].abs().mean())


def message(rows: Sequence[dict[str, float]]) -> str:
    size, distance = (mean(each[name] for each in rows) for name in ("size above the diagonal", DISTANCE))
    return (
        f"What is drawn above the diagonal has a mean size of {size:.2g}, while the entries below run from 1 "
        f"to 5; these are {distance:.2f} from the uniform distribution, in earth mover's distance."
    )


def pictures(matrices: dict[str, Tensor]) -> bytes:
    images = torch.cat([x[:SHOWN].view(-1, 1, SIDE, SIDE) for x in matrices.values()]) / HIGH
    return labelled_grid_png(images, SHOWN, rows=tuple(matrices))


def history(runs: Sequence[dict[int, float]]) -> bytes:
    bands = [spread(run[images] for run in runs) for images in runs[0]]
    middle, low, high = ([m + sign * s for m, s in bands] for sign in (0, -1, 1))
    thousands = [images / 1000 for images in runs[0]]
    return curves({"": (thousands, middle, low, high)}, x="thousand matrices seen", y="mean size above the diagonal")


def distribution(real: Tensor, fakes: Sequence[Tensor]) -> bytes:
    """Densities of all entries below the diagonal."""
    middles = ((BINS[1:] + BINS[:-1]) / 2).tolist()
    lines = {"real": real, **{f"seed {i}": fake for i, fake in enumerate(fakes)}}
    return curves({name: (middles, density(x)) for name, x in lines.items()}, x="entry below the diagonal", y="density")


def density(x: Tensor) -> list[float]:
    found: list[float] = torch.histogram(x[:, ~ABOVE].flatten().cpu(), BINS, density=True).hist.tolist()
    return found


def cells(rows: Sequence[dict[str, float]]) -> list[str]:
    return [plus_minus((each[name] for each in rows), form) for name, form in FIGURES.items()]


if __name__ == "__main__":
    start(main, Config)
