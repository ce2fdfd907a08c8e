"""Batch size: images per second, and the accuracy after equally many images and after equal time.

One perceptron, trained by SGD with momentum and a cosine schedule. Speed is measured first, each size in turn; equal
time means as many images as each size trains in `--seconds`. Every size has its own learning rate for either length,
the best of `--lr` on validation images with the first seed.

python recipes/batch_size.py                                     # rendered digits, minutes on one core
python recipes/batch_size.py --data mnist --data-root DIR --size 28 --images 60000 --seconds 10
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, LearningRate, Length, NonEmpty, Positive, Seeds, Side, Width
from genlab.core.text import counted
from genlab.core.timing import seconds
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.plots import png
from genlab.reporting.spread import spread
from genlab.training.update import NonFinite, Update

HEADER = ["length", "batch", "images/s", "learning rate", "images", "accuracy", "accuracy (sd)"]
IMAGES, TIME = "equal images", "equal time"
REPEATS, TIMED = 3, 0.05  # of the measurement of speed, and seconds of each at least


@dataclass(frozen=True)
class Config:
    """What the batch size does to speed and accuracy."""

    data: str = "glyphs"
    """labelled images"""
    size: Side | None = 16
    """height and width of the images in pixels"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    sizes: NonEmpty[Count] = (1, 4, 16, 64, 256, 1024, 4096)
    """batch sizes"""
    images: Length = 2_000
    """length of the trainings with equally many images"""
    seconds: Positive = 0.25
    """length of the trainings of equal time, in seconds of the measured speed"""
    lr: NonEmpty[LearningRate] = (0.003, 0.02, 0.15, 0.6)
    """learning rates to choose from"""
    width: Width = 128
    """units in each of the two hidden layers"""
    out: Path = Path("runs/batch-size")
    """folder of the report"""
    seeds: Seeds = (0, 1, 2)
    """of the trainings"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, 1, config.data_root, hold_out=True)
    train, validation, test = (data.load(split) for split in ("train", "validation", "test"))  # type: ignore[arg-type]
    speeds = measured(train, config)
    rows = []
    for length in (IMAGES, TIME):
        for batch, speed in speeds.items():
            images = config.images if length == IMAGES else max(1, round(speed * config.seconds))
            lr = best_rate(train, validation, batch, images, config)
            found = [accuracy(train, test, batch, images, lr, config, seed) for seed in config.seeds]
            rows.append([length, batch, speed, lr, images, *spread(found)])
    results = records(HEADER, rows)
    page = genlab.Report(f"Batch size on {config.data}").text(message(results, config))
    page.picture(figure(results, config))
    page.section("Figures", f"Test accuracy: mean ± standard deviation over {counted(config.seeds)}.")
    page.table(HEADER, rows)
    finish(config.out, page, results)


def build(train: Images, config: Config, lr: float, seed: int) -> Classifier:
    torch.manual_seed(seed)
    method = ClassifierConfig("mlp", config.width, lr=lr, weight_decay=0.0)
    return method.build(train.shape, len(train.classes)).to(train.device)


def measured(train: Images, config: Config) -> dict[int, float]:
    """Images per second of every batch size: the median of interleaved measurements, in processor time on a CPU."""
    works, drawn = [], []
    for batch in config.sizes:
        method, stream = build(train, config, 1e-4, 0), Stream(train, batch)
        update = Update(method.optimizers())
        step = lambda method=method, stream=stream, update=update: method.step(stream, update)
        once = min(row[0] for row in seconds([step], 3))
        steps = max(1, round(TIMED / once))
        works.append(lambda step=step, steps=steps: [step() for _ in range(steps)])
        drawn.append(batch * steps)
    rounds = seconds(works, REPEATS)
    return {b: n / median(times) for b, n, times in zip(config.sizes, drawn, zip(*rounds))}


def accuracy(train: Images, data: Images, batch: int, images: int, lr: float, config: Config, seed: int) -> float:
    """On `data`, after a training; 0 if it has diverged."""
    method = build(train, config, lr, seed)
    options = genlab.TrainOptions(images, batch, seed=seed, schedule="cosine")
    try:
        return genlab.fit(
            method, Stream(train, batch, seed=seed), options, title=f"{seed}: batch {batch:,}, rate {lr:g}"
        ).evaluate(data)["accuracy"]
    except NonFinite:
        return 0.0


def best_rate(train: Images, validation: Images, batch: int, images: int, config: Config) -> float:
    """The learning rate with the best accuracy on the validation images, with the first seed."""
    if len(config.lr) == 1:
        return config.lr[0]
    return max(config.lr, key=lambda lr: accuracy(train, validation, batch, images, lr, config, config.seeds[0]))


def message(results: Sequence[dict[str, Any]], config: Config) -> str:
    """What the figure shows, in words."""
    best = {
        length: max((row for row in results if row["length"] == length), key=lambda row: row["accuracy"])["batch"]
        for length in (IMAGES, TIME)
    }
    first, last = results[0], results[-1]
    faster = last["images/s"] / first["images/s"]
    return (
        f"Batches of {last['batch']:,} train {faster:,.0f} times as many images a second as batches of "
        f"{first['batch']:,}. After {config.images:,} images, batches of {best[IMAGES]:,} are most "
        f"accurate; after {config.seconds:g} s, batches of {best[TIME]:,}."
    )


def figure(results: Sequence[dict[str, Any]], config: Config) -> bytes:
    """A PNG: speed, and test error after equally many images and after equal time, against the batch size."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    drawing = Figure(figsize=(10, 3.8), layout="constrained")
    speed, error = drawing.subplots(1, 2)
    sizes = list(config.sizes)
    speed.plot(sizes, [row["images/s"] for row in results[: len(sizes)]], marker="o")
    speed.set(xscale="log", yscale="log", xlabel="batch size", ylabel="images/s", title="speed of training")
    speed.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    speed.yaxis.set_major_formatter("{x:,.0f}")
    speed.yaxis.set_minor_locator(NullLocator())
    for length, label in ((IMAGES, f"after {config.images:,} images"), (TIME, f"after {config.seconds:g} s")):
        rows = [row for row in results if row["length"] == length]
        mean, sd = ([100 * row[key] for row in rows] for key in HEADER[-2:])
        error.errorbar(sizes, [100 - value for value in mean], sd, marker="o", capsize=2, label=label)
    error.set(
        xscale="log", yscale="log", xlabel="batch size", ylabel="test error, %", title="error, each at its best rate"
    )
    error.yaxis.set_minor_locator(NullLocator())
    error.set_yticks(ticks := (1, 2, 5, 10, 20, 50, 100), ticks)
    error.legend()
    for axes in (speed, error):
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
    return png(drawing)


if __name__ == "__main__":
    start(main, Config)
