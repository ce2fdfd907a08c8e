"""What InfoGAN's codes mean: the category against the class, every value against the known factors of the images.

InfoGAN is trained several times; the run whose category says most about real images is kept, which takes no label to
choose. Beside it: the same networks, whose generator ignores the information (a plain GAN: Q reads what the latents
happen to mean), and without the discriminator: the generator writes its code into the image in the simplest way, which
Q reads, far from any real image.

python recipes/infogan_factors.py                                     # rendered digits, minutes on one core
python recipes/infogan_factors.py --data mnist --data-root DIR        # no known factors but the class
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Count, Length, Repeats, Seed, Side, Units, Width
from genlab.data import Images
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.gan.infogan import InfoGAN, InfoGANConfig
from genlab.metrics.features import ClassifierFeatures
from genlab.metrics.fid import frechet_distance
from genlab.reporting.finish import finish
from genlab.reporting.labelled import picture_png

ABLATIONS: dict[str, dict[str, Any]] = {
    "without information": {"informed": False, "lr_generator": 1e-3},  # at InfoGAN's rate a plain GAN collapses
    "without discriminator": {"adversarial": False},
}
SAMPLES = 1000  # of each model, of which Q reads the category
SHOWN = 10


@dataclass(frozen=True)
class Config:
    """Trains InfoGAN and two ablations of it, and measures what the codes mean."""

    data: str = "glyphs"
    """glyphs, letters, mnist, ...; correlations need known factors"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width in pixels"""
    values: Width = 3
    """continuous codes"""
    width: Width = 32
    """channels at the finest level"""
    hidden: Units = 256
    """units of the fully connected layers"""
    images: Length = 125_000
    """length of InfoGAN's training"""
    ablation_images: Length = 40_000
    """length of the trainings without the information term and without the discriminator"""
    batch: Count = 32
    """images per batch"""
    out: Path = Path("runs/infogan-factors")
    """folder of the runs and the report"""
    starts: Repeats = 2
    """InfoGANs to train, with seeds that follow one another"""
    classifier_images: Length | None = None
    """training length of the classifier whose features FID compares; none: 60 epochs, at most 100,000"""
    seed: Seed = 0
    """the first of these, and that of the others"""


def main(config: Config) -> None:
    seeds = range(config.seed, config.seed + config.starts)
    infogan = InfoGANConfig(weight_category=0.1, weight_values=0.5, lr_generator=3e-3)
    plan = {
        "InfoGAN": [experiment(infogan, config.images, seed, config) for seed in seeds],
        **{
            name: [experiment(replace(infogan, **changed), config.ablation_images, config.seed, config)]
            for name, changed in ABLATIONS.items()
        },
    }
    check_all(each for experiments in plan.values() for each in experiments)
    data = options(config)
    judge, test = default_features(data, images=config.classifier_images), data.load("test")
    page = genlab.Report(f"What the codes mean: {config.data}")
    rows: list[dict[str, Any]] = []
    kept: dict[str, genlab.Run] = {}
    for name, experiments in plan.items():
        runs = train(name, experiments, config)
        kept[name] = max(runs, key=information)
        rows += [measured(name, run, run is kept[name]) | samples(run, judge, test) for run in runs]
    page.text(message([row for row in rows if row["kept"]])).picture(
        drawn(kept, test), "a column per category; the real images are in any order"
    )
    for name, run in kept.items():
        show(page, name, run, config.values)
    page.section(
        "Category",
        "Information about a real image in nats, by Q alone, and the share of held-out images whose category names "
        "their class. Read from samples: the share of samples whose category Q names. Of several starts, the one with "
        "the most information is kept.",
    )
    header = ["method", "seed", "kept", "category information", "category accuracy", "read from samples", "FID"]
    page.table(header, ([row[name] for name in header] for row in rows))
    correlations(page, [row for row in rows if row["kept"]])
    finish(config.out, page, rows)


def options(config: Config) -> genlab.DataOptions:
    return genlab.DataOptions(config.data, config.size, channels=1, data_root=config.data_root)


def experiment(method: InfoGANConfig, images: int, seed: int, config: Config) -> genlab.Experiment:
    method = replace(method, values=config.values, width=config.width, hidden=config.hidden)
    train: dict[str, Any] = {"batch": config.batch, "seed": seed, "schedule": "cosine", "warmup": 0.1}
    return genlab.Experiment(method, options(config), images=images, **train)


def train(name: str, experiments: Sequence[genlab.Experiment], config: Config) -> list[genlab.Run]:
    runs = []
    for each in experiments:
        out = config.out / f"{name.replace(' ', '-')}-{each.training.seed}"
        each.run(out, pictures=2)
        runs.append(genlab.Run(out))
    return runs


def information(run: genlab.Run) -> float:
    """Nats that the category tells of a real image."""
    return run.results()["category_information"]


def measured(name: str, run: genlab.Run, kept: bool) -> dict[str, Any]:
    """A row: figures of the category, and the correlations of every value with every known factor."""
    figures = run.results()
    return {
        "method": name,
        "seed": run.experiment["training"]["seed"],
        "kept": kept,
        "category information": figures.pop("category_information"),
        "category accuracy": figures.pop("category_accuracy"),
        "correlations": figures,  # "value1_rotation" and so on
    }


@torch.no_grad()
def samples(run: genlab.Run, judge: ClassifierFeatures, test: Images) -> dict[str, float]:
    """What Q reads from samples, and how far these are from real images."""
    torch.manual_seed(0)
    model: InfoGAN = genlab.load(run)  # type: ignore[assignment]
    category, values = model.sample_codes(SAMPLES)
    x = model.draw(category, values, model.noise(SAMPLES))
    read = float((model.recognise(x)[0].argmax(1) == category).float().mean())
    return {"read from samples": read, "FID": frechet_distance(judge(test.x[:SAMPLES]), judge(x))}


@torch.no_grad()
def drawn(kept: dict[str, genlab.Run], test: Images) -> bytes:
    """A PNG: real images, and samples of every method, a column per category."""
    rows = {"real images": test.x[:SHOWN]}
    for name, run in kept.items():
        torch.manual_seed(0)
        model: InfoGAN = genlab.load(run)  # type: ignore[assignment]
        codes, noise = model.sample_codes(SHOWN), model.noise(SHOWN)
        rows[name] = model.draw(torch.arange(SHOWN, device=noise.device) % model.categories, codes[1], noise)
    return picture_png(in_rows(rows))


def message(rows: list[dict[str, Any]]) -> str:
    of = {row["method"]: row for row in rows}
    infogan, plain, alone = of["InfoGAN"], of["without information"], of["without discriminator"]
    return (
        f"The category that InfoGAN reads from a held-out image names its class in {infogan['category accuracy']:.0%} "
        f"of the cases, a plain GAN's in {plain['category accuracy']:.0%}. Without a discriminator the category is "
        f"read from {alone['read from samples']:.0%} of the samples, but these are far from real images: FID "
        f"{alone['FID']:.0f}, InfoGAN's {infogan['FID']:.0f}."
    )


def show(page: genlab.Report, name: str, run: genlab.Run, values: int) -> None:
    page.section(name, "A row per category; one value grows from left to right, all else stays the same.")
    newest = {path.stem.rpartition("-")[0]: path for path in run.samples()}
    for i in range(1, values + 1):
        page.picture(newest[f"value{i}"], f"value {i}")


def correlations(page: genlab.Report, rows: Sequence[dict[str, Any]]) -> None:
    """A table of the values' correlations with the factors, a column per method, where the data have factors."""
    pairs = list(rows[0]["correlations"])
    if pairs:
        page.section("Correlations of the continuous codes, as Q reads them, with the factors of held-out images")
        page.table(
            ["value and factor", *(row["method"] for row in rows)],
            ([pair, *(row["correlations"].get(pair, "") for row in rows)] for pair in pairs),
        )


if __name__ == "__main__":
    start(main, Config)
