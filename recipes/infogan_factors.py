"""What InfoGAN's codes mean: the category against the class, every value against the known factors of the images.

InfoGAN is trained several times; the run whose category says most about real images is kept, which takes no label to
choose. Beside it: the same networks without the information term (a plain GAN, whose latents mean nothing in
particular) and without the discriminator (the generator writes its code into the image in the simplest way).

python recipes/infogan_factors.py                                     # rendered digits, minutes on one core
python recipes/infogan_factors.py --data mnist --data-root DIR        # no known factors but the class
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, Repeats, Seed, Side, Units, Width
from genlab.experiment import check_all
from genlab.methods.gan.infogan import InfoGANConfig
from genlab.reporting.finish import finish


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
    images: Length = 160_000
    """length of InfoGAN's training; the others have a quarter"""
    batch: Count = 32
    """images per batch"""
    out: Path = Path("runs/infogan-factors")
    """folder of the runs and the report"""
    starts: Repeats = 3
    """InfoGANs to train, with seeds that follow one another"""
    seed: Seed = 0
    """the first of these, and that of the others"""


def main(config: Config) -> None:
    seeds = range(config.seed, config.seed + config.starts)
    quarter = max(1, config.images // 4)
    infogan = InfoGANConfig(weight_category=0.1, lr_generator=3e-3)
    plan = {
        "InfoGAN": [experiment(infogan, config.images, seed, config) for seed in seeds],
        "without information": [
            experiment(InfoGANConfig(weight_category=0.0, weight_values=0.0), quarter, config.seed, config)
        ],
        "without discriminator": [experiment(InfoGANConfig(adversarial=False), quarter, config.seed, config)],
    }
    check_all(each for experiments in plan.values() for each in experiments)
    page = genlab.Report(f"What the codes mean: {config.data}")
    rows: list[dict[str, Any]] = []
    for name, experiments in plan.items():
        runs = train(name, experiments, config)
        kept = max(runs, key=information)
        rows += [measured(name, run, run is kept) for run in runs]
        show(page, name, kept, config.values)
    page.section(
        "Category",
        "Information about a real image in nats, by Q alone, and the share of held-out images whose category names "
        "their class. Of several starts, the one with the most information is kept.",
    )
    header = ["method", "seed", "kept", "category information", "category accuracy"]
    page.table(header, ([row[name] for name in header] for row in rows))
    correlations(page, [row for row in rows if row["kept"]])
    finish(config.out, page, rows)


def experiment(method: InfoGANConfig, images: int, seed: int, config: Config) -> genlab.Experiment:
    data = genlab.DataOptions(config.data, config.size, channels=1, data_root=config.data_root)
    method = replace(method, values=config.values, width=config.width, hidden=config.hidden)
    return genlab.Experiment(method, data, images=images, batch=config.batch, seed=seed, schedule="cosine")


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
