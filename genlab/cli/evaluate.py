"""`genlab evaluate RUN`: quality, diversity and memorisation of a run's samples. Imports torch only when it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from genlab.core.ranges import Range, Seed, Side
from genlab.core.text import Console


@dataclass(frozen=True)
class Evaluate:
    """Compares the samples of a run with its test images: FID, KID, precision, recall, diversity, memorisation.

    Results go to results.json and report.html. The second column is a reference: real training images, measured in the
    same way. For a method that reconstructs images, also content preservation: the accuracy of a classifier on the
    reconstructed test images.

    With --real and --fake, two folders of images are compared instead: all images in them and in their subfolders.
    """

    run: tyro.conf.Positional[Path | None] = None
    """run directory of a generative model"""
    real: Path | None = None
    """folder of real images"""
    fake: Path | None = None
    """folder of images to be compared with them"""
    size: Side = 64
    """of two folders: height and width to which their images are resized"""
    n: Annotated[int, Range(2, 10**6)] = 5000
    """number of samples"""
    features: str = "classifier"
    """feature space of the metrics: pixels, inception:FILE (weights of torchvision's inception_v3), dinov2:FILE,
    efficientnet-lite0 (of a package), file.py:function (images -> features), that of a plugin, or, of a run,
    classifier, which is trained at its first use and cached"""
    data_root: Path | None = None
    """folder of the downloaded data sets; none: as in training"""
    seed: Seed = 0
    """random seed of the samples"""

    def check_task(self) -> None:
        """Raises ValueError unless the options name either a run or two folders."""
        if (self.real is None) != (self.fake is None) or (self.run is None) == (self.real is None):
            raise ValueError("evaluate takes a run directory, or two folders, --real and --fake")
        if self.real is not None and self.features == "classifier":
            raise ValueError(
                "two folders have no classifier: give --features pixels, efficientnet-lite0, inception:FILE, "
                "dinov2:FILE or file.py:function"
            )


def main(arguments: list[str]) -> None:
    from genlab.cli.options import parse

    options: Evaluate = parse(Evaluate, "evaluate", arguments)
    options.check_task()
    from genlab.metrics.own_features import check_features, named_features

    if options.features != "classifier":
        check_features(options.features)
    if options.real is not None and options.fake is not None:
        two_folders(options, options.real, options.fake)
        return
    assert options.run is not None
    from dataclasses import replace

    import torch

    from genlab.core.files import write_all
    from genlab.core.memory import FLOAT, require
    from genlab.loading import data_of, load, shape_of
    from genlab.methods.classification.features import default_features
    from genlab.metrics.evaluate import evaluate
    from genlab.metrics.extract import one_set, sampler
    from genlab.metrics.features import ClassifierFeatures, Features
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
    features: Features
    if options.features == "classifier":
        features = default_features(data)
    else:
        features = named_features(options.features, method.device)
    d = features(torch.zeros(1, *shape, device=method.device)).shape[1]
    require(2 * options.n * d * FLOAT, f"{options.n:,} samples of {d:,} features each", "--n", method.device)
    table = evaluate(draw, test, features, train, options.n, seed=options.seed)
    if hasattr(method, "reconstruct") and isinstance(features, ClassifierFeatures):
        for column, way in {"samples": method.reconstruct, "train": lambda x: x}.items():  # reference: original images
            table[column][f"content preservation[{features.name}]"] = content_preservation(way, test, features)
    Console().print(as_table(table, f"{run.path.name} against {len(test):,} test images"))
    warn_of_few(min(options.n, len(test)), d)
    with run.results_lock():
        write_all(
            {
                run.path / "results.json": lambda _: run.add_results(evaluation=table),
                run.path / "report.html": lambda path: Report(run.path.name).run(run).save(path),
            }
        )


def two_folders(options: Evaluate, real: Path, fake: Path) -> None:
    """Prints the metrics of the images in `fake` against those in `real`."""
    from genlab.core import distributed
    from genlab.data.whole_folder import whole_folder
    from genlab.metrics.evaluate import compare
    from genlab.metrics.own_features import named_features

    device = distributed.device()
    features = named_features(options.features, device)
    there, here = (whole_folder(each, size=options.size, device=device) for each in (real, fake))
    title = f"{fake} against {len(there):,} images in {real}, all of {options.size}x{options.size} pixels"
    Console().print(as_table({"samples": compare(there, here, features)}, title))
    warn_of_few(min(len(there), len(here)), features(there.subset(slice(1)).x).shape[1])


def as_table(table: dict[str, dict[str, float]], title: str) -> Table:
    """Metrics as rows, sets of images as columns."""
    view = Table(title=title, title_justify="left")
    view.add_column("metric")
    for name in table:
        view.add_column(name, justify="right")
    for figure in table["samples"]:
        view.add_row(figure, *(f"{column[figure]:,.4g}" if figure in column else "–" for column in table.values()))
    return view


def warn_of_few(n: int, d: int) -> None:
    """Prints a warning if `n` images are too few for features of `d` dimensions."""
    if n <= d:
        Console().print(
            f"warning: {n:,} images are few for features of {d:,} dimensions: FID, KID, precision and recall are then "
            "of little meaning, and comparable only at equal numbers of images"
        )
