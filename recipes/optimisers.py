"""Optimizers, schedules and regularisers: one perceptron, trained by each of them.

Six optimizers at a constant learning rate; schedules and early stopping with the momentum optimizer; penalties, dropout
and early stopping with few images. Learning rates, weights and probabilities are those with the smallest cross-entropy
on validation images with the first seed; plateaus and early stopping measure it, too. For the optimizers the spectrum
of the Hessian of the training loss is followed: negative eigenvalues tell saddle points.

python recipes/optimisers.py                                     # scikit-learn's digits, minutes on one core
python recipes/optimisers.py --data mnist --data-root DIR --images 300000
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from torch.nn.functional import cross_entropy

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, NonEmpty, Positive, Seeds, Steps, Width
from genlab.core.text import counted
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.metrics.accuracy import predict_logits
from genlab.reporting.finish import finish, records
from genlab.reporting.plots import png
from genlab.reporting.spread import spread
from genlab.theory.hessian import Spectrum, spectrum
from genlab.training.hooks import EarlyStopping
from genlab.training.optim import RATES, OptimizerName
from genlab.training.schedules import ScheduleName
from genlab.training.update import NonFinite

LOOKS, PATIENCE, PLATEAU = 20, 4, 2  # measurements of a training; of early stopping and plateaus
CURVED = 1000  # training images whose loss is differentiated twice
FOLLOWED = (0, 1, 4, 20)  # looks at which the spectrum is measured
FEW = {  # what is tried with few images, and the options among which each is chosen
    "nothing": [{}],
    "early stopping": [{}],
    "L2 penalty": [{"weight_decay": w} for w in (0.001, 0.003, 0.01)],
    "L1 penalty": [{"l1": w} for w in (0.0001, 0.0003, 0.001)],
    "dropout, last layer": [{"dropout": p} for p in (0.2, 0.5)],
    "dropout, every layer": [{"dropout": p, "dropout_in": "blocks"} for p in (0.2, 0.5)],
}
ACCURACY = ("test accuracy", "test accuracy (sd)")
OPTIMIZERS = ["optimizer", "learning rate", "training loss", "training loss (sd)", *ACCURACY]
CURVATURE = ["largest eigenvalue", "smallest eigenvalue", "trace", "share below 0"]
ADAMW_DECAY = 0.01  # without weight decay it is Adam
SCHEDULES = ["schedule", "learning rate", "images", "training loss", "training loss (sd)", *ACCURACY]
REGULARISERS = ["regulariser", "chosen", "training loss", "training loss (sd)", *ACCURACY]


@dataclass(frozen=True)
class Config:
    """What optimizers, schedules and regularisers are worth."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 12_000
    """length of every training"""
    factors: NonEmpty[Positive] = (1.0, 3.0, 10.0, 30.0)
    """learning rates to choose from, relative to the optimizer's usual one"""
    few: Count = 100
    """training images with which the regularisers are compared"""
    width: Width = 64
    """units in each of the two hidden layers"""
    lanczos: Steps = 20
    """steps of the Lanczos iteration"""
    out: Path = Path("runs/optimisers")
    """folder of the report"""
    seeds: Seeds = (0, 1, 2)
    """of the trainings"""


@dataclass
class Trained:
    """A trained classifier: losses on the training images, and the spectra at FOLLOWED, during training."""

    method: Classifier
    images: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    spectra: dict[int, Spectrum] = field(default_factory=dict)


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root, hold_out=True)
    lab = Lab(*(data.load(split) for split in ("train", "validation", "test")), config)  # type: ignore[arg-type]
    found = {name: lab.optimizer(name) for name in get_args(OptimizerName)}
    schedules = [lab.schedule(name) for name in (*get_args(ScheduleName), "early stopping")]
    few = Lab(lab.train.subset(slice(0, config.few)), lab.validation, lab.test, config)
    regularisers = [few.regulariser(name) for name in FEW]
    rows = [row for row, _ in found.values()]
    results = {
        "optimizers": records([*OPTIMIZERS, *CURVATURE], rows),
        "schedules": records(SCHEDULES, schedules),
        "regularisers": records(REGULARISERS, regularisers),
    }
    page = genlab.Report(f"Optimizers, schedules and regularisers on {config.data}").text(message(results))
    page.picture(figure({name: runs for name, (_, runs) in found.items()}, results, config))
    seeds = f"Mean ± standard deviation over {counted(config.seeds)}"
    page.section(
        "Optimizers",
        f"{seeds}, each at the learning rate with the smallest validation loss.",
    )
    page.table(OPTIMIZERS, (row[: len(OPTIMIZERS)] for row in rows))
    page.section(
        "Hessian of the training loss",
        f"At the end of training with seed {config.seeds[0]}: eigenvalues, and the share of those below 0 in the "
        "sum of their absolute values (0 at a minimum).",
    )
    page.table(["optimizer", *CURVATURE], ([row[0], *row[len(OPTIMIZERS) :]] for row in rows))
    page.section("Schedules", f"{seeds}. Early stopping: at a constant rate, with the weights of the best measurement.")
    page.table(SCHEDULES, schedules)
    page.section("Regularisers", f"{seeds}. Adam, {len(few.train):,} training images, {config.images:,} drawn.")
    page.table(REGULARISERS, regularisers)
    finish(config.out, page, results)


@dataclass(frozen=True)
class Lab:
    """Trains on `train`, chooses on `validation`, and reports on `test`."""

    train: Images
    validation: Images
    test: Images
    config: Config

    def fit(
        self, options: dict[str, Any], schedule: str, seed: int, *, follow: bool = False, look: bool = True
    ) -> Trained | None:
        """A training with these options of the classifier; None if it has diverged. schedule: a ScheduleName, or "early
        stopping". look: measures the training loss on the way; follow: the spectra, too."""
        torch.manual_seed(seed)
        how = {"weight_decay": 0.0, **options}
        method = ClassifierConfig("mlp", self.config.width, **how).build(self.train.shape, len(self.train.classes))
        trained = Trained(method.to(self.train.device))
        every = max(1, self.config.images // LOOKS)

        def note(images: int, now: Any) -> None:
            trained.images.append(images)
            trained.losses.append(loss(now, self.train))
            if follow and len(trained.images) - 1 in FOLLOWED:
                trained.spectra[images] = self.spectrum(now)

        hooks: list[Any] = [(every, note)] if look else []
        if look:
            note(0, trained.method.eval())
        measured = lambda now: loss(now, self.validation)
        stopping = EarlyStopping(
            measured,
            PATIENCE if schedule == "early stopping" else None,
            larger_is_better=False,
            plateau=PLATEAU if schedule == "plateau" else None,
        )
        plain = "constant" if schedule == "early stopping" else schedule
        train = genlab.TrainOptions(self.config.images, seed=seed, schedule=plain, best_by="min:loss")  # type: ignore[arg-type]
        if schedule in ("early stopping", "plateau"):
            hooks.append((every, stopping))
        try:
            title = ", ".join([f"{seed}: {schedule}", *(f"{key} {value}" for key, value in options.items())])
            genlab.fit(trained.method, Stream(self.train, train.batch, seed=seed), train, hooks=hooks, title=title)
        except NonFinite:
            return None
        if schedule == "early stopping":
            trained.images.append(stopping.images)
            stopping.restore(trained.method)
        return trained

    def choose(self, candidates: Sequence[dict[str, Any]], schedule: str) -> dict[str, Any]:
        """The options with the smallest validation loss, with the first seed."""
        if len(candidates) == 1:
            return candidates[0]

        def measured(options: dict[str, Any]) -> float:
            trained = self.fit(options, schedule, self.config.seeds[0], look=False)
            return float("inf") if trained is None else loss(trained.method, self.validation)

        return min(candidates, key=measured)

    def rated(self, optimizer: OptimizerName, schedule: str) -> dict[str, Any]:
        rates = [RATES[optimizer] * factor for factor in self.config.factors]
        more = {"weight_decay": ADAMW_DECAY} if optimizer == "adamw" else {}
        return self.choose([{"optimizer": optimizer, "lr": rate, **more} for rate in rates], schedule)

    def runs(self, options: dict[str, Any], schedule: str, follow: bool = False) -> list[Trained]:
        """One training per seed; the first is followed."""
        found = [
            self.fit(options, schedule, seed, follow=follow and seed == self.config.seeds[0])
            for seed in self.config.seeds
        ]
        if lost := [seed for seed, run in zip(self.config.seeds, found) if run is None]:
            raise NonFinite(f"{options} with schedule {schedule} diverges with seed {lost[0]}: give smaller --factors")
        return [run for run in found if run is not None]

    def figures(self, runs: Sequence[Trained]) -> list[float]:
        losses, accuracies = zip(
            *((loss(r.method, self.train), r.method.evaluate(self.test)["accuracy"]) for r in runs)
        )
        return [*spread(losses), *spread(accuracies)]

    def optimizer(self, name: OptimizerName) -> tuple[list[Any], list[Trained]]:
        options = self.rated(name, "constant")
        runs = self.runs(options, "constant", follow=True)
        last = list(runs[0].spectra.values())[-1]
        curvature = [last.largest, last.smallest, last.trace, last.negative]
        return [name, options["lr"], *self.figures(runs), *curvature], runs

    def schedule(self, name: str) -> list[Any]:
        options = self.rated("momentum", name)
        runs = self.runs(options, name)
        return [name, options["lr"], round(spread(run.images[-1] for run in runs)[0]), *self.figures(runs)]

    def regulariser(self, name: str) -> list[Any]:
        schedule = "early stopping" if name == "early stopping" else "constant"
        chosen = self.choose([{"optimizer": "adam", **options} for options in FEW[name]], schedule)
        text = ", ".join(f"{key} {value}" for key, value in chosen.items() if key in ("weight_decay", "l1", "dropout"))
        return [name, text, *self.figures(self.runs(chosen, schedule))]

    def spectrum(self, method: Classifier) -> Spectrum:
        x, y = self.train.x[:CURVED], self.train.labels[:CURVED]
        return spectrum(cross_entropy(method(x), y), method.parameters(), self.config.lanczos)


def loss(method: Any, data: Images) -> float:
    """The mean cross-entropy."""
    return cross_entropy(predict_logits(method.eval(), data), data.labels).item()


def message(results: dict[str, list[dict[str, Any]]]) -> str:
    """What the figure shows, in words."""
    optimizers, few = results["optimizers"], {row["regulariser"]: row for row in results["regularisers"]}
    fastest = min(optimizers, key=lambda row: row["training loss"])
    slowest = max(optimizers, key=lambda row: row["training loss"])
    best = max(few.values(), key=lambda row: row[ACCURACY[0]])
    accuracies = [row[ACCURACY[0]] for row in optimizers]
    nothing, (accuracy, deviation) = few["nothing"], ACCURACY
    gain = best[accuracy] - nothing[accuracy]
    helps = f"{best['regulariser']} has most: {100 * best[accuracy]:.1f} %, {100 * nothing[accuracy]:.1f} % without"
    if gain <= max(best[deviation], nothing[deviation]):
        helps += ", no more than the spread over seeds"
    return (
        f"Each with its best learning rate: {fastest['optimizer']} reaches a training loss of "
        f"{fastest['training loss']:.2g}, {slowest['optimizer']} {slowest['training loss']:.2g}; on test images they "
        f"differ by {100 * (max(accuracies) - min(accuracies)):.1f} points of accuracy. With few images {helps}."
    )


def figure(found: dict[str, list[Trained]], results: dict[str, list[dict[str, Any]]], config: Config) -> bytes:
    """A PNG: training loss and largest eigenvalue by optimizer during training, and accuracy with few images."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(12.5, 3.9), layout="constrained")
    curves, sharpness, few = drawing.subplots(1, 3)
    for name, runs in found.items():
        bands = [spread(values) for values in zip(*(run.losses for run in runs))]
        (line,) = curves.plot(runs[0].images, [mean for mean, _ in bands], label=name)
        low, high = zip(*((max(mean - sd, mean / 3), mean + sd) for mean, sd in bands))
        curves.fill_between(runs[0].images, low, high, color=line.get_color(), alpha=0.15, lw=0)
        spectra = runs[0].spectra
        sharpness.plot(list(spectra), [each.largest for each in spectra.values()], marker="o", markersize=3)
        sharpness.plot(
            list(spectra), [-each.smallest for each in spectra.values()], ":", marker="v", markersize=3,
            color=line.get_color(),
        )  # fmt: skip
    curves.set(yscale="log", xlabel="images", ylabel="training loss", title="optimizers, each at its best rate")
    curves.legend(fontsize=8)
    sharpness.set(yscale="log", xlabel="images", title="ends of the Hessian's spectrum")
    sharpness.set_ylabel("largest (solid), minus the smallest (dotted)", fontsize=8)
    rows = results["regularisers"][::-1]
    few.errorbar(
        [100 * row[ACCURACY[0]] for row in rows], range(len(rows)), xerr=[100 * row[ACCURACY[1]] for row in rows],
        fmt="o", capsize=2,
    )  # fmt: skip
    few.set_yticks(range(len(rows)), [row["regulariser"] for row in rows], fontsize=8)
    few.set(xlabel="test accuracy, %", title=f"regularisers with {config.few:,} images")
    for axes in (curves, sharpness, few):
        axes.grid(alpha=0.3)
    return png(drawing)


if __name__ == "__main__":
    start(main, Config)
