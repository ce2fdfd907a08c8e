"""One generator for several domains: StarGAN between sprites by day, by night and in another style.

A classifier of the domains, trained separately, tells whether each output is in the target domain. Where images of two
domains correspond, their true partners, which training never sees, tell how far each output is from right, and a linear
map per pixel, fitted to such pairs, how much of the target image the original determines at all.

python recipes/stargan.py
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.picture import MOST, Picture, in_rows
from genlab.core.ranges import Count, Layers, LearningRate, Length, Seed, Side, Width
from genlab.data import Images, Pair
from genlab.data.domains import names, original
from genlab.methods.classification.features import default_features
from genlab.methods.translation.stargan import StarGANConfig
from genlab.metrics.features import ClassifierFeatures
from genlab.metrics.partner import PARTNER_ERROR
from genlab.metrics.translation import content_preservation, cycle_errors
from genlab.reporting.finish import finish
from genlab.reporting.labelled import picture_png

LINEAR = "error of a linear map per pixel"


@dataclass(frozen=True)
class Config:
    """Trains StarGAN and measures every direction."""

    data: str = "domains:sprites,night:sprites,styled:sprites"
    """domains, of the same originals or of others"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width in pixels; none: the set's own"""
    images: Length = 40_000
    """length of training, most of it the critic's"""
    batch: Count = 8
    """images per batch"""
    width: Width = 16
    """channels of the generator at the finest level"""
    width_critic: Width = 48
    """channels of the critic at the finest level"""
    blocks: Layers = 3
    """residual blocks of the generator"""
    lr: LearningRate = 8e-4
    """learning rate of both Adams"""
    classifier_images: Length = 20_000
    """length of the classifier's training"""
    out: Path = Path("runs/stargan")
    """folder of the run and the report"""
    seed: Seed = 0
    """of the training"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, data_root=config.data_root)
    if not config.data.startswith("domains:"):
        raise ValueError(f"--data names domains, as in domains:A,B, got {config.data!r}")
    method = StarGANConfig(
        width=config.width,
        width_critic=config.width_critic,
        blocks=config.blocks,
        levels=1,
        n_critic=2,
        lr=config.lr,
    )
    experiment = genlab.Experiment(method, data, images=config.images, batch=config.batch, seed=config.seed)
    trained = experiment.run(config.out / "run", pictures=4)
    judge = default_features(data, images=config.classifier_images)
    test = data.load("test")
    rows = directions(trained, judge, test, names(config.data))
    page = genlab.Report(f"StarGAN: {config.data}").text(message(rows))
    page.picture(picture_png(examples(trained, test, names(config.data), worst(rows))))
    page.section("All translations").picture(
        genlab.Run(config.out / "run").samples()[-1], "Rows: the original, then its translation to every domain"
    )
    page.section(
        "Figures",
        f"Errors are mean absolute ones in pixels of [0, 1]; {LINEAR}: a map fitted to half of the true pairs, on the "
        f"others. The classifier is right on {content_preservation(lambda x: x, test, judge):.2%} of the test images.",
    )
    columns = list(dict.fromkeys(name for row in rows for name in row))
    page.table(columns, [[row.get(name, "") for name in columns] for row in rows])
    finish(config.out, page, rows)


def directions(trained: Any, judge: ClassifierFeatures, test: Images, domains: list[str]) -> list[dict[str, Any]]:
    """The figures of the translation from each domain to each other one."""
    sides = [test.subset(test.labels == label) for label in range(len(domains))]
    rows = []
    for source, target in permutations(range(len(domains)), 2):
        there, back = partial(trained.translate, to=target), partial(trained.translate, to=source)
        wanted = replace(sides[source], labels=torch.full_like(sides[source].labels, target))
        aligned = original(domains[source]) == original(domains[target])
        known = {LINEAR: linear_error(sides[source].x, sides[target].x)} if aligned else {}
        rows.append(
            {
                "from": domains[source],
                "to": domains[target],
                "classified as target": content_preservation(there, wanted, judge),
                **cycle_errors(there, back, Pair(sides[source], sides[target], aligned=aligned)),
                **known,
            }
        )
    return rows


def linear_error(x: Tensor, y: Tensor) -> float:
    """Mean absolute error of the best affine map of each pixel's channels from x to y, both (N, C, H, W), fitted by
    least squares to the first half of the pairs, on the second."""
    n = len(x) // 2
    places = x.flatten(2).permute(2, 0, 1)  # (H W, N, C)
    inputs = torch.cat([places, torch.ones_like(places[..., :1])], 2).double()
    wanted = y.flatten(2).permute(2, 0, 1).double()
    fitted = torch.linalg.lstsq(inputs[:, :n], wanted[:, :n]).solution
    return float((inputs[:, n:] @ fitted - wanted[:, n:]).abs().mean())


def worst(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The direction whose translations differ most from the true partners; the first, if no partners are known."""
    return max(rows, key=lambda row: row.get(PARTNER_ERROR, 0.0))


@torch.no_grad()
def examples(trained: Any, test: Images, domains: list[str], row: dict[str, Any]) -> Picture:
    """Rows: originals, their translations in the direction of `row` and, if they are known, their true partners."""
    source, target = (domains.index(row[way]) for way in ("from", "to"))
    x, y = (test.subset(test.labels == label).x[:MOST] for label in (source, target))
    partners = {"true partner": y} if PARTNER_ERROR in row else {}
    return in_rows({row["from"]: x, f"to {row['to']}": trained.translate(x, to=target), **partners})


def message(rows: list[dict[str, Any]]) -> str:
    """How the translations look to the classifier and, of the direction that is worst, beside the true partners."""
    seen = min(row["classified as target"] for row in rows)
    found = f"A classifier sees the target domain in at least {seen:.0%} of the translations of each direction."
    row = worst(rows)
    if LINEAR not in row:
        return found
    return (
        f"{found} From {row['from']} to {row['to']} they differ from the true partners by {row[PARTNER_ERROR]:.3f}; a "
        f"linear map per pixel, fitted to pairs, by {row[LINEAR]:.3f}: what the image tells and no loss asks for."
    )


if __name__ == "__main__":
    start(main, Config)
