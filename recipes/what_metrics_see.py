"""What metrics of generators see, and what they miss: real images stand in for samples, and are damaged in known ways.

By section: inception score, FID, precision, recall and coverage of damaged images; the Parzen window estimate of a
perfect generator, by number of samples and width; likelihood and quality of a mixture with noise (Theis et al. 2016,
arXiv:1511.01844); the nearest neighbour of a shifted copy, in pixels and in features (the same); the birthday test of
diversity on generators of known support (Arora & Zhang 2017, arXiv:1706.08224).

python recipes/what_metrics_see.py                                   # rendered digits, minutes on one core
python recipes/what_metrics_see.py --data mnist --data-root DIR --size 28
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Fraction, Length, NonEmpty, Positive, Range, Seeds, Side
from genlab.data import Images
from genlab.data.seeds import generator
from genlab.methods.classification.features import default_features
from genlab.metrics.comparison import measure
from genlab.metrics.distances import squared
from genlab.metrics.diversity import birthday
from genlab.metrics.extract import FeatureSet, extract_features
from genlab.metrics.features import ClassifierFeatures, PixelFeatures
from genlab.metrics.memorisation import shift_experiment
from genlab.metrics.parzen import WIDTHS, log_density, mixed_with_noise, parzen, sensitivity
from genlab.reporting.finish import finish
from genlab.reporting.labelled import labelled_grid_png
from genlab.reporting.plots import curves, heat
from genlab.reporting.spread import spread

FIGURES = {
    "IS": "IS",
    "FID": "FID",
    "precision": "precision-recall",
    "recall": "precision-recall",
    "coverage": "density-coverage",
}
NOISE, POOL, SHIFT = 0.3, 50, 2  # std of the noise; images that are repeated; pixels
TWINS = 1e-3  # images nearer than this, as vectors, are one


@dataclass(frozen=True)
class Config:
    """Metrics of images that were damaged in known ways."""

    data: str = "grey:glyphs"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width of the images in pixels; none: as in the data set"""
    n: Annotated[int, Range(40, 10**6)] = 1000
    """images in every set that is measured"""
    counts: NonEmpty[Annotated[int, Range(2, 10**6)]] = (100, 1000, 5000)
    """numbers of samples of the Parzen window estimate"""
    widths: NonEmpty[Positive] = WIDTHS
    """widths of its windows, pixels of [0, 1]"""
    noise: NonEmpty[Fraction] = (0.0, 0.5, 0.9, 0.99)
    """shares of noise among the samples of a mixture"""
    shifts: NonEmpty[Annotated[int, Range(0, 100)]] = (0, 1, 2, 3, 4)
    """shifts of copies, in pixels"""
    supports: NonEmpty[Annotated[int, Range(2, 10**6)]] = (25, 100, 400, 1600)
    """numbers of different images that generators for the birthday test have"""
    classifier_images: Length = 20_000
    """length of training of the classifier whose features and predictions are used"""
    seeds: Seeds = (0, 1, 2)
    """of the samples of the birthday test"""
    out: Path = Path("runs/what-metrics-see")
    """folder of the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, data_root=config.data_root)
    known, test = data.load("train"), data.load("test")
    check_sizes(config, known)
    features = default_features(data, images=config.classifier_images)
    page = genlab.Report(f"What metrics see: {config.data}")
    results = {
        "damage": damage(config, known, test, features, page),
        "parzen": parzen_windows(config, known, test, page),
        "mixture": mixture(config, known, test, features, page),
        "shift": shift(config, test, features, page),
        "birthday": birthdays(config, known, page),
    }
    finish(config.out, page, results)


def check_sizes(config: Config, known: Images) -> None:
    """Raises ValueError if there are fewer images, or smaller ones, than the options ask for."""
    limits = {"n": (config.n, len(known)), "shifts": (max(config.shifts), min(known.shape[1:]) - 1)}
    for option, (value, most) in limits.items():
        if value > most:
            raise ValueError(
                f"--{option} must be at most {most:,} for {len(known):,} training images of "
                f"{known.shape[1]}x{known.shape[2]}, got {value:,}"
            )


def damaged(known: Images, n: int) -> dict[str, Tensor]:
    """name -> n images (N, C, H, W): real ones, and what each damage makes of them."""
    x, y, classes = known.x[:n], known.labels, len(known.classes)
    half = known.x[y < classes // 2]
    one = torch.stack([known.x[y == c][0] for c in range(classes)])
    repeated = lambda images: images[torch.arange(n) % len(images)]
    return {
        "real": x,
        "half of the classes": repeated(half[:n]),
        "one image per class": repeated(one),
        f"{POOL} images, repeated": repeated(x[:POOL]),
        "noise": (x + NOISE * torch.randn(x.shape, generator=generator("noise", 0)).to(x)).clamp(0, 1),
        "blur, 3x3": avg_pool2d(x, 3, 1, 1, count_include_pad=False),
        f"shift by {SHIFT} pixels": pad(x, (SHIFT, 0, 0, 0))[..., : x.shape[3]],
    }


def damage(
    config: Config, known: Images, test: Images, features: ClassifierFeatures, page: genlab.Report
) -> list[dict[str, Any]]:
    """A row of metrics per damage."""
    real = extract_features(test.x[: config.n].split(256), features)
    sets, rows = damaged(known, config.n), []
    for name, x in sets.items():
        fake = extract_features(x.split(256), features)
        rows.append({"images": name} | {figure: value(figure, real, fake) for figure in FIGURES})
    by = {row["images"]: row for row in rows}
    page.section(
        "Collapse and noise",
        "The inception score does not see that a class has one image only "
        f"({by['one image per class']['IS']:.1f}, real images {by['real']['IS']:.1f}), recall and coverage do; half of "
        f"the classes ({by['half of the classes']['IS']:.1f}) and noise ({by['noise']['IS']:.1f}) each lower it.",
    )
    cells = [
        [(rows[0][f] / max(row[f], 1e-9) if f == "FID" else row[f] / rows[0][f], f"{row[f]:.3g}") for f in FIGURES]
        for row in rows
    ]
    page.picture(heat(cells, [row["images"] for row in rows], list(FIGURES), title="yellow: as good as real images"))
    page.picture(labelled_grid_png(torch.cat([x[:8] for x in sets.values()]), 8, rows=tuple(sets)))
    page.text(
        f"{config.n:,} training images and their damaged copies against as many test images, features {features.name}."
    )
    return rows


def value(figure: str, real: FeatureSet, fake: FeatureSet) -> float:
    return measure(FIGURES[figure], real, fake)[f"{figure}[{fake.name}]"]


def parzen_windows(config: Config, known: Images, test: Images, page: genlab.Report) -> list[dict[str, float]]:
    """Nats of test images, by number of samples and width."""
    samples, x = known.x.flatten(1), test.x[: config.n].flatten(1)
    counts = [count for count in config.counts if count <= len(samples)]
    rows = sensitivity(samples, x, counts, config.widths)
    lines = {f"{count:,} samples": columns(rows, "samples", count, "width", "nats") for count in counts}
    best = [max(nats) for _, nats in lines.values()]
    page.section(
        "Parzen windows: counts and widths",
        f"The estimate for a perfect generator (real training images) goes from {best[0]:.0f} to {best[-1]:.0f} nats "
        "with the number of its samples alone, at the best width of each; other widths change it by more than that.",
    )
    page.picture(
        curves(
            lines,
            x="width of a window, pixels of [0, 1]",
            y="nats per image",
            log_x=True,
            limits=(-max(best), 1.2 * max(best)),
        )
    )
    return rows


def columns(rows: list[dict[str, Any]], key: str, name: Any, x: str, y: str) -> tuple[list[float], list[float]]:
    mine = [row for row in rows if row[key] == name]
    return [row[x] for row in mine], [row[y] for row in mine]


def mixture(
    config: Config, known: Images, test: Images, features: ClassifierFeatures, page: genlab.Report
) -> list[dict[str, float]]:
    """Likelihood and quality of real images mixed with noise, uniform in every pixel, by the share of noise."""
    samples, x = known.x[: config.n], test.x[: config.n]
    half = len(x) // 2
    width = parzen(samples.flatten(1), x[:half].flatten(1), x[half:].flatten(1), config.widths).width
    log_p = log_density(x[half:].flatten(1), samples.flatten(1), [width])[0]
    noise = torch.rand(samples.shape, generator=generator("noise", 1)).to(samples)
    real, rows = extract_features(x.split(256), features), []
    for share in config.noise:
        images = torch.where(
            (torch.arange(config.n) < round(share * config.n))[:, None, None, None].to(x.device), noise, samples
        )
        fake = extract_features(images[torch.randperm(config.n, generator=generator("order", 0))].split(256), features)
        nats = float(mixed_with_noise(log_p, share, 0.0).mean())  # the density of the noise is 1
        rows.append(
            {"share of noise": share, "nats": nats, "FID": value("FID", real, fake), "IS": value("IS", real, fake)}
        )
    first, last = rows[0], rows[-1]
    page.section(
        "Likelihood is not quality",
        f"{last['share of noise']:.0%} of noise among the samples costs {first['nats'] - last['nats']:.3f} of "
        f"{first['nats']:.0f} nats (at most -ln {1 - last['share of noise']:.3g} = "
        f"{-math.log1p(-last['share of noise']):.3f}), but takes FID from {first['FID']:.3g} to {last['FID']:.3g}.",
    )
    page.table(list(first), (row.values() for row in rows))
    return rows


def shift(config: Config, test: Images, features: ClassifierFeatures, page: genlab.Report) -> list[dict[str, Any]]:
    """How often the nearest neighbour of a shifted copy is its original, or of its class; in pixels and features."""
    x, labels, maps = test.x[: config.n], test.labels[: config.n], [PixelFeatures(), features]
    same = {
        "original": shift_experiment(x, maps, config.shifts),
        "class": shift_experiment(x, maps, config.shifts, labels),
    }
    rows = [
        {"nearest in": space, "pixels": pixels, "original found": share, "class found": same["class"][space][i]}
        for space, shares in same["original"].items()
        for i, (pixels, share) in enumerate(zip(config.shifts, shares))
    ]
    shown = min(config.shifts, key=lambda pixels: abs(pixels - SHIFT))
    pixel, feature = (
        next(row for row in rows if row["nearest in"] == each.name and row["pixels"] == shown) for each in maps
    )
    page.section(
        "Memorisation and shifts",
        f"Of a copy shifted by {shown} pixels, the nearest image in pixels is of the same class in "
        f"{pixel['class found']:.0%}, in features in {feature['class found']:.0%}; it is the original in "
        f"{pixel['original found']:.0%} and {feature['original found']:.0%}.",
    )
    lines = {
        f"{found.removesuffix(' found')}, in {space}": columns(rows, "nearest in", space, "pixels", found)
        for found in ("original found", "class found")
        for space in same["original"]
    }
    page.picture(curves(lines, x="shift, pixels", y="share that is right"))
    return rows


def birthdays(config: Config, known: Images, page: genlab.Report) -> list[dict[str, float]]:
    """The estimated support of generators that repeat so many training images, over seeds; a pair of each is shown."""
    rows, pairs = [], []
    supports = [support for support in config.supports if support <= len(known)]
    for support in supports:
        found = []
        for seed in config.seeds:
            picks = torch.randint(support, (20 * math.ceil(support**0.5),), generator=generator("birthday", seed))
            found.append(birthday(known.x[:support].flatten(1)[picks], TWINS).support)
        average, deviation = spread(found)
        rows.append({"support": support, "estimate": average, "estimate (sd)": deviation})
        pairs += list(twins(known.x[:support][picks]))
    page.section(
        "Birthdays",
        "If s samples hold a duplicate with probability 1/2, a generator makes about s² / (2 ln 2) images: "
        + ", ".join(f"{row['estimate']:.0f} for {row['support']}" for row in rows)
        + ".",
    )
    lines = {
        "birthday test": (
            [row["support"] for row in rows],
            [row["estimate"] for row in rows],
            [row["estimate"] - row["estimate (sd)"] for row in rows],
            [row["estimate"] + row["estimate (sd)"] for row in rows],
        ),
        "the truth": (supports, supports),
    }
    page.picture(curves(lines, x="different images of the generator", y="estimate", log=True, log_x=True))
    heads = [f"of {support:,}" for support in supports]
    shown = torch.stack(pairs).unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1)
    page.picture(labelled_grid_png(shown, len(supports), heads=heads), "the two nearest samples of each generator")
    return rows


def twins(x: Tensor) -> Tensor:
    """The two nearest of images (N, C, H, W): (2, C, H, W)."""
    distances = torch.cat([block for _, block in squared(x.flatten(1), x.flatten(1))]).fill_diagonal_(math.inf)
    first, second = divmod(int(distances.argmin()), len(x))
    return x[[first, second]]


if __name__ == "__main__":
    start(main, Config)
