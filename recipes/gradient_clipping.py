"""Gradient clipping where gradients explode: a recurrent network that reads images pixel by pixel.

The same weights are used at every pixel, so that the gradient is a product of as many factors: small for long, then
suddenly huge, and one step at a usual learning rate throws the weights far away. Clipping to a maximal norm (Pascanu,
Mikolov, Bengio 2013, arXiv:1211.5063, Algorithm 1) keeps the direction and limits the step. The network is the
recurrent one of rectified units that starts with the identity (Le, Jaitly, Hinton 2015, arXiv:1504.00941).

With and without clipping it is trained at several learning rates, and compared at the same one and each at its best
one, which validation images choose.

python recipes/gradient_clipping.py                              # scikit-learn's digits, minutes on one core
python recipes/gradient_clipping.py --at-once 4                  # shorter sequences
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

import genlab
from genlab.cli.main import start
from genlab.core.labels import check_classes
from genlab.core.ranges import Count, LearningRate, Length, NonEmpty, Positive, Seeds, Side, Width
from genlab.core.text import counted
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.metrics.accuracy import accuracy
from genlab.nets.classifiers import Normalise
from genlab.reporting.finish import finish
from genlab.reporting.plots import png
from genlab.reporting.spread import spread
from genlab.training.update import NonFinite

CLIPPED, FREE = "clipped", "not clipped"
HEADER = ["gradients", "learning rate", "accuracy", "accuracy (sd)", "stopped", "largest norm"]


@dataclass(frozen=True)
class Config:
    """Trains a recurrent network with and without gradient clipping."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = None
    """height and width of the images in pixels; none: as in the data set"""
    at_once: Count = 1
    """pixels read per step of the recurrent network"""
    images: Length = 25_600
    """length of every training"""
    width: Width = 32
    """units of the recurrent layer"""
    rates: NonEmpty[LearningRate] = (0.003, 0.01, 0.03, 0.1)
    """learning rates of momentum SGD"""
    clip: Positive = 5.0
    """largest norm of a clipped gradient"""
    out: Path = Path("runs/gradient-clipping")
    """folder of the report"""
    seeds: Seeds = (0, 1, 2)
    """of the trainings"""


@dataclass
class Trained:
    """Losses and norms of the gradients before they are clipped, per step; whether training was stopped by a number
    that is not finite; accuracies after the last step."""

    losses: list[float]
    norms: list[float]
    stopped: bool
    validation: float
    test: float


class PixelByPixel(nn.Module):
    """x (N, C, H, W) in [0, 1] -> logits (N, classes), from the last state of a recurrent layer that reads the pixels
    row by row, `at_once` of them per step."""

    def __init__(self, channels: int, classes: int, width: int, at_once: int):
        super().__init__()
        self.normalise, self.inputs = Normalise(), channels * at_once
        self.read = nn.RNN(self.inputs, width, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(width, classes)
        nn.init.normal_(self.read.weight_ih_l0, std=0.01)
        nn.init.eye_(self.read.weight_hh_l0)
        for bias in (self.read.bias_ih_l0, self.read.bias_hh_l0):
            nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.normalise(x).flatten(2).transpose(1, 2)
        return self.head(self.read(pixels.reshape(len(x), -1, self.inputs))[0][:, -1])


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, data_root=config.data_root, hold_out=True)
    train, validation, test = (data.load(split) for split in ("train", "validation", "test"))
    check_classes(len(train.classes), "a classifier")
    pixels = train.shape[1] * train.shape[2]
    if pixels % config.at_once:
        raise ValueError(f"--at-once must divide the {pixels} pixels of an image, got {config.at_once}")
    found: dict[tuple[str, float], list[Trained]] = {}  # gradients, learning rate -> a training per seed
    for gradients in (CLIPPED, FREE):
        for rate in config.rates:
            runs = [fit(train, validation, test, gradients, rate, seed, config) for seed in config.seeds]
            found[gradients, rate] = runs
    best = {gradients: chosen(found, gradients) for gradients in (CLIPPED, FREE)}
    rate = best[CLIPPED]
    results = {
        "all": [row(key, runs) for key, runs in found.items()],
        "best": [row((gradients, best[gradients]), found[gradients, best[gradients]]) for gradients in best],
        "same": [row((gradients, rate), found[gradients, rate]) for gradients in best],
    }
    page = genlab.Report(f"Gradient clipping on {config.data}").text(message(results, len(config.seeds)))
    page.picture(figure(found, rate, config))
    page.text(
        f"A recurrent network that reads an image's pixels, {config.at_once} per step. Left and middle: the training "
        f"with seed {config.seeds[0]} at the learning rate {rate:g}, the best with clipping; a cross: the next loss or "
        f"gradient is not finite. Right: mean and standard deviation over {counted(config.seeds)}."
    )
    page.section("All trainings", "Stopped: the share that ended at a number that is not finite.")
    page.table(HEADER, (each.values() for each in results["all"]))
    finish(config.out, page, results)


def fit(
    train: Images, validation: Images, test: Images, gradients: str, rate: float, seed: int, config: Config
) -> Trained:
    torch.manual_seed(seed)
    net = PixelByPixel(train.shape[0], len(train.classes), config.width, config.at_once)
    method = Classifier(net, ClassifierConfig(optimizer="momentum", lr=rate, weight_decay=0.0)).to(train.device)
    clip = config.clip if gradients == CLIPPED else None
    options = genlab.TrainOptions(config.images, seed=seed, schedule="constant", clip=clip)
    squares: list[Tensor] = []
    for parameter in method.parameters():
        parameter.register_hook(lambda gradient: squares.append(gradient.double().square().sum()))
    losses, norms = [], []

    def note(images: int, now: Any, metrics: dict[str, float]) -> None:
        losses.append(metrics["loss"])
        norms.append(float(sum(squares)) ** 0.5)
        squares.clear()

    stopped = False
    try:
        title = f"{gradients}, learning rate {rate:g}, seed {seed}"
        stream = Stream(train, options.batch, seed=seed)
        genlab.fit(method, stream, options, hooks=[(options.batch, note)], title=title)
    except NonFinite:
        stopped = True
    method.eval()
    return Trained(losses, norms, stopped, accuracy(method, validation), accuracy(method, test))


def chosen(found: dict[tuple[str, float], list[Trained]], gradients: str) -> float:
    """The learning rate with the largest mean accuracy on validation images."""
    rates = [rate for name, rate in found if name == gradients]
    return max(rates, key=lambda rate: mean(run.validation for run in found[gradients, rate]))


def row(key: tuple[str, float], runs: list[Trained]) -> dict[str, Any]:
    stopped, largest = mean(run.stopped for run in runs), max(max(run.norms, default=0.0) for run in runs)
    return dict(zip(HEADER, [*key, *spread(run.test for run in runs), stopped, largest], strict=True))


def message(results: dict[str, list[dict[str, Any]]], seeds: int) -> str:
    clipped, free = results["same"]
    best = {each["gradients"]: each for each in results["best"]}
    return (
        f"At the learning rate {clipped['learning rate']:g} the network is right on {clipped['accuracy']:.0%} of the "
        f"test images with clipping, on {free['accuracy']:.0%} without; {round(seeds * free['stopped'])} of these "
        f"{seeds} trainings end at numbers that are not finite. Each at its best rate: "
        f"{best[CLIPPED]['accuracy']:.0%} and {best[FREE]['accuracy']:.0%}."
    )


def figure(found: dict[tuple[str, float], list[Trained]], rate: float, config: Config) -> bytes:
    """A PNG: loss and norm of the gradient per step, and accuracy against learning rate."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(12.5, 3.6), layout="constrained")
    loss, norm, accuracies = drawing.subplots(1, 3)
    for colour, gradients in (("C0", CLIPPED), ("C1", FREE)):
        run = found[gradients, rate][0]
        for axes, values in ((loss, run.losses), (norm, run.norms)):
            axes.plot(range(1, len(values) + 1), values, color=colour, lw=0.8, label=gradients)
            if run.stopped:
                axes.plot([len(values)], values[-1:], "x", color=colour, markersize=9)
        rows = [row((gradients, each), found[gradients, each]) for each in config.rates]
        accuracies.errorbar(
            config.rates, [each["accuracy"] for each in rows], [each["accuracy (sd)"] for each in rows],
            color=colour, marker="o", markersize=3, capsize=2,
        )  # fmt: skip
    norm.axhline(config.clip, color="black", lw=0.8, ls=":", label="limit")
    loss.set(yscale="log", xlabel="step", ylabel="loss", title=f"loss, learning rate {rate:g}")
    norm.set(yscale="log", xlabel="step", ylabel="norm before clipping", title="norm of the gradient")
    accuracies.set(xscale="log", xlabel="learning rate", ylabel="accuracy", title="test images", ylim=(0, 1))
    for axes in (loss, norm, accuracies):
        axes.grid(alpha=0.3)
    drawing.legend(*norm.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return png(drawing)


if __name__ == "__main__":
    start(main, Config)
