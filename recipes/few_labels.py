"""Few labels: what unlabelled images add to 2, 5, 10 and 20 labelled ones of each class.

Every method that uses the unlabelled training images stands beside the same model on the labelled images alone. A CNN:
pseudo-labels, entropy minimisation, smoothness among neighbours, Triple GAN. The discriminator of a GAN, trained on all
images or not. On principal components of the pixels: EM with Gaussian class densities, a transductive SVM, label
propagation, clusters that are labelled. All see the same labelled images, chosen by the seed. `--validation` measures
on a tenth of the training images, as the settings were chosen.

python recipes/few_labels.py                                     # scikit-learn's digits, minutes on one core
python recipes/few_labels.py --data mnist-5k --methods cnn triple-gan label-propagation
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Distinct, LearningRate, Length, Seeds, Several, Width
from genlab.core.registry import choose
from genlab.core.text import counted
from genlab.data import Images, Stream
from genlab.experiment import check_all
from genlab.latent.baselines import pca
from genlab.methods.classification.few_labels import check_labels_per_class, labelled_positions
from genlab.methods.classification.semi_supervised import (
    DiscriminatorClassifier,
    SemiSupervised,
    SemiSupervisedConfig,
)
from genlab.methods.gan.gan import GANConfig
from genlab.methods.gan.triple_gan import TripleGANConfig
from genlab.metrics.accuracy import accuracy
from genlab.reporting.finish import finish
from genlab.reporting.labelled import labelled_grid_png
from genlab.reporting.plots import png
from genlab.reporting.spread import plus_minus, spread
from genlab.semi_supervised.clusters import cluster_then_label, nearest_label
from genlab.semi_supervised.gaussian_em import gaussian_em
from genlab.semi_supervised.graph import LARGEST, NeighbourGraph
from genlab.semi_supervised.transductive_svm import transductive_svm


@dataclass(frozen=True)
class Config:
    """Accuracy from few labels, with and without the unlabelled images."""

    data: str = "digits"
    """labelled images, of whose labels few are used"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    labels: Annotated[tuple[Count, ...], Distinct()] = (2, 5, 10, 20)
    """labelled images per class"""
    methods: Several[str] = ()
    """methods, such as triple-gan; none: all"""
    images: Length = 4_800
    """length of the trainings of the CNN and of discriminators as classifiers"""
    gan_images: Length = 6_400
    """length of the trainings of Triple GAN, and of the GAN whose discriminator is used"""
    batch: Count = 32
    """batch size of all trainings"""
    lr_triple: LearningRate = 1e-3
    """learning rate of Triple GAN"""
    width: Width = 16
    """channels at the finest level"""
    components: Width = 20
    """principal components of the pixels"""
    clusters: Count = 80
    """clusters to be labelled"""
    validation: bool = False
    """measure on a tenth of the training images, which is then left out of training, instead of the test images"""
    out: Path = Path("runs/few-labels")
    """folder of the report"""
    seeds: Seeds = (0, 1, 2)
    """of the labelled images and of all trainings"""


@dataclass(frozen=True, eq=False)
class Task:
    """What a method is given: the images, and the labels of few. `labels` (N,) are those of `train`, or -1."""

    train: Images
    labels: Tensor
    each: int
    seed: int
    config: Config

    def codes(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> the principal components of the training images, float64 (N, components)."""
        return components(self.train, self.config.components).code(x.double())


Classify = Callable[[Tensor], Tensor]  # images (N, C, H, W) -> scores (N, classes)
components = cache(pca)


def gaussians(task: Task, steps: int = 30, shared: bool = False) -> Classify:
    x = task.codes(task.train.x)
    model, _ = gaussian_em(x, task.labels, len(task.train.classes), steps, shared=shared)
    return lambda new: model.log_joint(task.codes(new))


def svm(task: Task, unlabelled: float = 10.0) -> Classify:
    cost = 100.0
    found = transductive_svm(task.codes(task.train.x), task.labels, len(task.train.classes), cost, unlabelled * cost)
    return lambda new: found(task.codes(new))


def nearest(task: Task) -> Classify:
    known = task.labels >= 0
    x, labels = task.codes(task.train.x[known]), task.labels[known]
    return lambda new: one_hot(nearest_label(x, labels, task.codes(new)), len(task.train.classes))


def propagation(task: Task) -> Classify:
    graph = NeighbourGraph.of(task.codes(task.train.x), neighbours=5)
    y = graph.propagate(task.labels, len(task.train.classes))
    return lambda new: graph.extend(y, task.codes(new))


def clusters(task: Task) -> Classify:
    classes = len(task.train.classes)
    centres, labels = cluster_then_label(
        task.codes(task.train.x), task.labels, classes, task.config.clusters, task.seed
    )
    return lambda new: one_hot(nearest_label(centres, labels, task.codes(new)), classes)


def cnn(task: Task, **weights: float) -> Classify:
    """The CNN, with terms of the loss for unlabelled images of these weights."""
    method = semi_supervised(task.each, task.config, **weights)
    return fitted(method, task.config.images, task, "CNN")


def discriminator(task: Task, trained: bool) -> Classify:
    """A discriminator as classifier of the labelled images; before, `trained` as that of a GAN on all images."""
    method = semi_supervised(task.each, task.config)
    torch.manual_seed(task.seed)
    shape, classes = task.train.shape, len(task.train.classes)
    start = gan(task.train, task.config, task.seed) if trained else gan_config(task.config).build(shape, classes)
    built = SemiSupervised(DiscriminatorClassifier(start.discriminator, classes), shape, classes, method)
    return fitted(method, task.config.images, task, "discriminator", built)


def triple_gan(task: Task) -> Classify:
    return fitted(triple_gan_config(task.each, task.config), task.config.gan_images, task, "Triple GAN")


@cache
def gan(train: Images, config: Config, seed: int) -> Any:
    """A GAN of all training images."""
    task = Task(train, train.labels, 0, seed, config)
    return fitted(gan_config(config), config.gan_images, task, "GAN")


def fitted(method: genlab.Config, images: int, task: Task, title: str, built: Any = None) -> Any:
    """`method`, or what was `built` of it, trained; its stream has the same labelled images as the task."""
    options = replace(method.training, images=images, batch=task.config.batch, seed=task.seed)
    if options.half_life:
        options = replace(options, half_life=min(options.half_life, images / 8))
    torch.manual_seed(task.seed)
    built = built or method.build(task.train.shape, len(task.train.classes))
    stream = Stream(task.train, options.batch, seed=task.seed)
    title = f"{title}, {task.each} labels, seed {task.seed}"
    return genlab.fit(built.to(task.train.device), stream, options, title=title)


def semi_supervised(each: int, config: Config, **weights: float) -> SemiSupervisedConfig:
    return SemiSupervisedConfig(labels_per_class=each, width=config.width, **{"pseudo": 0.0, **weights})  # type: ignore[arg-type]


def triple_gan_config(each: int, config: Config) -> TripleGANConfig:
    return TripleGANConfig(labels_per_class=each, width=config.width, lr=config.lr_triple)


def gan_config(config: Config) -> GANConfig:
    return GANConfig(width=config.width, hidden=0)


@dataclass(frozen=True)
class Way:
    """A method; `alone` names the same model on the labelled images alone, or it is that itself."""

    run: Callable[..., Classify]
    alone: str = ""
    network: bool = False
    options: dict[str, Any] = field(default_factory=dict)


METHODS = {
    "gaussians": Way(gaussians, options={"steps": 0}),
    "em-shared": Way(gaussians, "gaussians", options={"shared": True}),
    "em": Way(gaussians, "gaussians"),
    "svm": Way(svm, options={"unlabelled": 0.0}),
    "transductive-svm": Way(svm, "svm"),
    "nearest": Way(nearest),
    "label-propagation": Way(propagation, "nearest"),
    "clusters": Way(clusters, "nearest"),
    "cnn": Way(cnn, network=True),
    "pseudo-labels": Way(cnn, "cnn", True, {"pseudo": 1.0}),
    "entropy": Way(cnn, "cnn", True, {"entropy": 0.1}),
    "smoothness": Way(cnn, "cnn", True, {"smoothness": 0.3}),
    "triple-gan": Way(triple_gan, "cnn", True),
    "discriminator": Way(discriminator, "", True, {"trained": False}),
    "pre-trained": Way(discriminator, "discriminator", True, {"trained": True}),
}


def main(config: Config) -> None:
    chosen = [choose(name, METHODS, "method") for name in config.methods] or list(METHODS)
    asked = {*chosen, *(METHODS[name].alone for name in chosen)}  # each beside the same model alone
    names = [name for name in METHODS if name in asked]
    data = genlab.DataOptions(config.data, data_root=config.data_root, hold_out=config.validation)
    train, test = data.load("train"), data.load("validation" if config.validation else "test")
    check_sizes(config, names, train)
    tried = [kind(each, config) for each in config.labels for kind in (semi_supervised, triple_gan_config)]
    check_all(genlab.Experiment(method, data) for method in [*tried, gan_config(config)])
    accuracies: dict[str, list[list[float]]] = {name: [] for name in names}  # by number of labels, and seed
    for each in config.labels:
        tasks = [given(train, each, seed, config) for seed in config.seeds]
        for name in names:
            way = METHODS[name]
            accuracies[name].append([accuracy(way.run(task, **way.options), test) for task in tasks])
    finish(config.out, page(config, accuracies, train, test), results(config, accuracies))


def check_sizes(config: Config, names: list[str], train: Images) -> None:
    """Raises ValueError if the training images are too few, or too many for a graph."""
    check_labels_per_class(max(config.labels), train.labels, "--labels")
    limits = {"components": min(len(train), train.pixels[0].numel()), "clusters": len(train)}
    for option, most in limits.items():
        if (value := getattr(config, option)) > most:
            raise ValueError(f"--{option} must be at most {most:,} for {len(train):,} training images, got {value:,}")
    if "label-propagation" in names and len(train) > LARGEST:
        raise ValueError(
            f"--methods: label-propagation takes at most {LARGEST:,} training images, and {config.data} has "
            f"{len(train):,}: name the other methods"
        )


def given(train: Images, each: int, seed: int, config: Config) -> Task:
    where = labelled_positions(train, each, seed)
    labels = torch.full_like(train.labels, -1)
    labels[where] = train.labels[where]
    return Task(train, labels, each, seed, config)


def page(config: Config, accuracies: dict[str, list[list[float]]], train: Images, test: Images) -> genlab.Report:
    found, fewest = genlab.Report(f"Few labels on {config.data}"), config.labels[0]
    means = {name: spread(rows[0])[0] for name, rows in accuracies.items()}
    name = max(means, key=means.__getitem__)
    best = f"{name} is most accurate with {100 * means[name]:.0f} %"
    if alone := METHODS[name].alone:
        best += f"; the same model without the unlabelled images ({alone}): {100 * means[alone]:.0f} %"
    found.section(
        f"{fewest} labels per class",
        f"{best}. Accuracy on {len(test):,} {'validation' if config.validation else 'test'} images; mean and, as "
        f"bands, standard deviation over {counted(config.seeds)}. Dashed lines know the labelled images alone, solid "
        f"lines all {len(train):,} training images; one colour: the same model.",
    )
    found.picture(figure(config, accuracies))
    header = ["method", "compared with", *(f"{each} labels" for each in config.labels)]
    cells = [
        [name, METHODS[name].alone or None, *(plus_minus(100 * a for a in values) for values in rows)]
        for name, rows in accuracies.items()
    ]
    found.section("Accuracy in %, by labels per class", "Compared with: the same model, labelled images alone.")
    found.table(header, cells)
    few = labelled_positions(train, fewest, config.seeds[0]).view(-1, fewest).T.flatten()
    found.section("The labelled images", f"{fewest} of each class, seed {config.seeds[0]}; columns: classes.")
    return found.picture(labelled_grid_png(train.subset(few).x, len(train.classes), heads=train.classes))


def results(config: Config, accuracies: dict[str, list[list[float]]]) -> list[dict[str, Any]]:
    """A row per method: the mean accuracies in %, by labels per class, and their standard deviations."""
    rows = []
    for name, by_labels in accuracies.items():
        row: dict[str, Any] = {"method": name, "compared with": METHODS[name].alone or None}
        for each, values in zip(config.labels, by_labels):
            mean, sd = spread(100 * a for a in values)
            row |= {f"{each} labels": mean, f"{each} labels (sd)": sd}
        rows.append(row)
    return rows


def figure(config: Config, accuracies: dict[str, list[list[float]]]) -> bytes:
    """A PNG: accuracy against labels per class, of networks and of methods on principal components."""
    from matplotlib.figure import Figure

    kinds = {"principal components of the pixels": False, "networks": True}
    drawing = Figure(figsize=(12, 4.4), layout="constrained")
    for axes, (title, network) in zip(drawing.subplots(1, 2, sharey=True), kinds.items()):
        colours: dict[str, str] = {}  # a model alone has that of the first method that is compared with it
        shared = set[str]()
        for name in (name for name in accuracies if METHODS[name].network is network):
            alone = METHODS[name].alone
            pair = alone in colours and alone not in shared
            shared.add(alone)
            colours[name] = colours[alone] if pair else f"C{len(set(colours.values()))}"
            mean, sd = zip(*(spread(100 * a for a in values) for values in accuracies[name]))
            low, high = [m - s for m, s in zip(mean, sd)], [m + s for m, s in zip(mean, sd)]
            style = "-o" if alone else "--o"
            axes.plot(config.labels, mean, style, ms=3, lw=1.4, color=colours[name], label=name)
            axes.fill_between(config.labels, low, high, color=colours[name], alpha=0.13, lw=0)
        axes.set(title=title, xlabel="labelled images per class", xscale="log")
        axes.set_xticks(config.labels, [str(each) for each in config.labels])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.yaxis.set_tick_params(labelleft=True)
        if colours:
            axes.legend(fontsize=8, loc="lower right")
    drawing.axes[0].set_ylabel("accuracy, %")
    return png(drawing)


if __name__ == "__main__":
    start(main, Config)
