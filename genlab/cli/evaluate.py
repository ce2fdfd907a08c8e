"""`genlab evaluate RUN`: quality, diversity and memorisation of a run's samples. Imports torch only when it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from genlab.core.ranges import Range, Seed
from genlab.core.registry import choose, resolve
from genlab.core.text import Console
from genlab.plugins import gather


@dataclass(frozen=True)
class Evaluate:
    """Compares the samples of a run with its test images: FID, KID, precision, recall, diversity, memorisation.

    Results go to results.json and report.html. The second column is a reference: real training images, measured in the
    same way. For a method that reconstructs images, also content preservation: the accuracy of a classifier on the
    reconstructed test images.
    """

    run: tyro.conf.Positional[Path]
    """run directory of a generative model"""
    n: Annotated[int, Range(2, 10**6)] = 5000
    """number of samples"""
    features: str = "classifier"
    """feature space of the metrics: classifier (trained at its first use and cached), pixels, or that of a plugin"""
    data_root: Path | None = None
    """folder of the downloaded data sets; none: as in training"""
    seed: Seed = 0
    """random seed of the samples"""


def main(arguments: list[str]) -> None:
    from genlab.cli.options import parse

    options: Evaluate = parse(Evaluate, "evaluate", arguments)
    more = gather("FEATURES", {})
    choose(options.features, ["classifier", "pixels", *more], "features")
    from dataclasses import replace

    import torch

    from genlab.core.files import write_all
    from genlab.core.memory import FLOAT, require
    from genlab.experiment import data_of, load, shape_of
    from genlab.methods.classification.features import default_features
    from genlab.metrics.evaluate import evaluate
    from genlab.metrics.extract import one_set, sampler
    from genlab.metrics.features import ClassifierFeatures, Features, NamedFeatures, PixelFeatures
    from genlab.metrics.translation import content_preservation
    from genlab.reporting.report import Report
    from genlab.run import Run

    run = Run(options.run)
    shape = shape_of(run)
    method: Any = load(run)
    draw = sampler(method)
    data = data_of(run)
    data = data if options.data_root is None else replace(data, data_root=options.data_root)
    train, test = (one_set(data.load(split)) for split in ("train", "test"))
    own: dict[str, Callable[[], Features]] = {"pixels": PixelFeatures, "classifier": lambda: default_features(data)}
    named = lambda: NamedFeatures(options.features, resolve(more[options.features][0]))
    features = own[options.features]() if options.features in own else named()
    d = features(torch.zeros(1, *shape, device=method.device)).shape[1]
    require(2 * options.n * d * FLOAT, f"{options.n:,} samples of {d:,} features each", "--n", method.device)
    table = evaluate(draw, test, features, train, options.n, seed=options.seed)
    if hasattr(method, "reconstruct") and isinstance(features, ClassifierFeatures):
        for column, way in {"samples": method.reconstruct, "train": lambda x: x}.items():  # reference: original images
            table[column][f"content preservation[{features.name}]"] = content_preservation(way, test, features)
    Console().print(as_table(table, f"{run.path.name} against {len(test):,} test images"))
    with run.results_lock():
        write_all(
            {
                run.path / "results.json": lambda _: run.add_results(evaluation=table),
                run.path / "report.html": lambda path: Report(run.path.name).run(run).save(path),
            }
        )


def as_table(table: dict[str, dict[str, float]], title: str) -> Table:
    """Metrics as rows, sets of images as columns."""
    view = Table(title=title, title_justify="left")
    view.add_column("metric")
    for name in table:
        view.add_column(name, justify="right")
    for figure in table["samples"]:
        view.add_row(figure, *(f"{column[figure]:,.4g}" for column in table.values()))
    return view
