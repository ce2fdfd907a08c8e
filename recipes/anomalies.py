"""Known digits against other images: detectors that a classifier brings, that are taught, and that need no labels.

A classifier learns some of the digits. Detectors then tell its test images from digits that it does not know, letters,
sprites, noise, and adversarial images made for the classifier that the detector belongs to:
- its own: maximum softmax probability, entropy, feature squeezing, Mahalanobis distance of features;
- taught: a learnt confidence branch (DeVries & Taylor 2018, arXiv:1802.04865), and a classifier that is unsure on the
  samples of a GAN, one that imitates the data and one whose samples lie at their border (Lee et al. 2018,
  arXiv:1711.09325); the score of both is the maximum softmax probability;
- without labels: an auto-encoder's reconstruction error, scikit-learn's one-class SVM and isolation forest.
Thresholds, and all settings, were chosen on validation images (`--split validation`).

python recipes/anomalies.py                                      # scikit-learn's digits, minutes on one core
python recipes/anomalies.py --data mnist --data-root DIR --images 200000 --eps 0.3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

import genlab
from attacks import PGD, Linf
from attacks.defences.callable_module import CallableModule
from attacks.defences.denoising import NonLocalMeans
from attacks.defences.detection import Detector, GuardedClassifier
from attacks.defences.one_class import IsolationForest, OneClassSVM
from attacks.defences.scores import MaxSoftmax, ReconstructionError, classifier_scores
from attacks.defences.smoothing import BitDepth
from attacks.evaluation.detectors import undetected_rates
from attacks.evaluation.roc import auc
from genlab.cli.main import start
from genlab.core.ranges import (
    Count,
    Eps,
    LearningRate,
    Length,
    NonEmpty,
    OpenShare,
    Positive,
    Range,
    Seeds,
    Steps,
    Weight,
    Width,
)
from genlab.data import Images, Stream
from genlab.data.resize import resized
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.classification.confidence_branch import ConfidenceBranchConfig
from genlab.methods.classification.generated_outliers import GeneratedOutliersConfig
from genlab.methods.representation.autoencoder import AutoEncoderConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import labelled_grid_png
from genlab.reporting.plots import png
from genlab.reporting.spread import spread

OWN, TAUGHT, UNLABELLED = "the classifier's own", "taught", "without labels"
DETECTORS = {
    **dict.fromkeys(("squeezing", "max softmax", "entropy", "Mahalanobis"), OWN),
    **dict.fromkeys(("confidence branch", "GAN samples", "border samples"), TAUGHT),
    **dict.fromkeys(("auto-encoder", "one-class SVM", "isolation forest"), UNLABELLED),
}
SHOWN = 10
FITTED = 5_000  # training images at most that class means and one-class models are fitted on


@dataclass(frozen=True)
class Config:
    """Areas under the ROC curve of detectors, by kind of image, and attacks that know the detector."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    known: Annotated[int, Range(2, 10**6)] = 7
    """classes that the classifier learns, the first ones; images of the others are one kind of anomaly"""
    images: Length = 20_000
    """length of every training"""
    width: Width = 16
    """channels of the networks' finest level"""
    budget: Positive = 0.3
    """budget of the confidence branch, in nats"""
    uniform: Weight = 1.0
    """weight of the divergence from uniform on generated images"""
    border: Weight = 1.0
    """weight of the same divergence in the generator's loss, for border samples"""
    svm_scale: Positive = 16.0
    """scale of the one-class SVM's gamma: 1 is scikit-learn's default"""
    lr_gan: LearningRate = 2e-3
    """learning rate of the GANs beside the classifiers"""
    outliers: NonEmpty[str] = ("letters", "sprites")
    """data sets whose images are anomalies"""
    split: Literal["test", "validation"] = "test"
    """images that are measured"""
    tested: Count = 1_000
    """most images of a kind that are measured"""
    eps: Eps = 0.2
    """L-infinity radius of the attacks, in pixels of [0, 1]"""
    steps: Steps = 10
    """steps of the attacks"""
    fpr: OpenShare = 0.05
    """false-positive rate of the detectors under attack"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/anomalies")
    """folder of the report"""


@dataclass(frozen=True)
class Guard:
    """A detector's score, and the classifier that it belongs to."""

    model: nn.Module
    score: nn.Module


@dataclass(frozen=True)
class Measured:
    """One seed: detector -> kind of image -> area; detector -> rates under attack; classifier -> accuracy; and images
    to show, by name."""

    areas: dict[str, dict[str, float]]
    attacks: dict[str, dict[str, float | None]]
    accuracy: dict[str, float]
    pictures: dict[str, Tensor]


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root, hold_out=True)
    parts = {split: of_classes(data.load(split), config.known) for split in ("train", "validation", config.split)}
    test, unknown = (images.subset(slice(0, config.tested)) for images in parts[config.split])
    anomalies = {"other digits": unknown.x, **load_outliers(config, test.shape)}
    train, validation = parts["train"][0], parts["validation"][0]
    found = [measured(train, validation, test, anomalies, seed, config) for seed in config.seeds]

    kinds = list(found[0].areas["entropy"])
    areas = {name: {kind: spread(each.areas[name][kind] for each in found) for kind in kinds} for name in DETECTORS}
    page = genlab.Report(f"Known {config.data} and other images").text(verdict(areas)).picture(figure(areas))
    shown = found[-1].pictures
    rows = labelled_grid_png(torch.cat(list(shown.values())), SHOWN, rows=list(shown))
    page.picture(rows, f"what is measured, and what the two GANs teach with (seed {config.seeds[-1]})")
    page.section("Area under the ROC curve", f"{len(test):,} {config.split} images; mean ± standard deviation.")
    names = ["detector", *(column for kind in kinds for column in (kind, f"{kind} (sd)"))]
    table = [[name, *sum(each.values(), ())] for name, each in areas.items()]
    page.table(names, table)
    page.section(
        f"Attacks at a false-positive rate of {config.fpr:g}",
        f"PGD, eps {config.eps:g}. right: classified correctly without alarm. Of these, the share that an attack turns "
        "wrong without alarm: one that does not know the detector (oblivious), and one that does (adaptive).",
    )
    under = ["detector", "right", "oblivious", "adaptive"]
    rates = [[name, *over_seeds(found, name)] for name in found[0].attacks]
    page.table(under, rates)
    page.section("Accuracy on the known classes", "Mean ± standard deviation.")
    correct = [[name, *spread(each.accuracy[name] for each in found)] for name in found[0].accuracy]
    page.table(header := ["classifier", "accuracy", "accuracy (sd)"], correct)
    results = {"areas": records(names, table)}
    results |= {"attacks": records(under, rates), "accuracy": records(header, correct)}
    finish(config.out, page, results)


def of_classes(images: Images, known: int) -> tuple[Images, Images]:
    """The images of the first `known` classes, and those of the others."""
    if known >= len(images.classes):
        raise ValueError(f"--known must be less than the {len(images.classes)} classes of {images.name}, got {known}")
    inside = images.labels < known
    return replace(images.subset(inside), classes=images.classes[:known]), images.subset(~inside)


def load_outliers(config: Config, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """data set -> images as large as those that are classified; others than in the test while settings are chosen."""
    split = "test" if config.split == "test" else "train"
    found = {}
    for name in config.outliers:
        data = genlab.DataOptions(name, channels=shape[0], data_root=config.data_root)  # type: ignore[arg-type]
        found[name] = resized(data.load(split, option="outliers"), shape[1]).x[: config.tested]
    return found


def measured(
    train: Images, validation: Images, test: Images, anomalies: dict[str, Tensor], seed: int, config: Config
) -> Measured:
    """Trains everything and measures every detector; thresholds are chosen on the validation images."""
    trained = {name: fitted(name, method, train, seed, config) for name, method in methods(config).items()}
    torch.manual_seed(seed)
    anomalies = {**anomalies, "noise": torch.rand_like(test.x)}
    pgd = PGD(Linf(config.eps), config.steps)
    areas, attacks, x, y = {}, {}, test.x, test.labels
    for name, guard in guards(trained, train, seed, config).items():
        detector = Detector(guard.score).calibrate(validation.x, config.fpr)
        attacked = pgd(guard.model, x, y)
        suspects = {**anomalies, "adversarial": fooling(guard.model, attacked, test, config)}
        clean = detector.scores(x)
        areas[name] = {kind: auc(clean, detector.scores(each)) for kind, each in suspects.items()}
        if name != "isolation forest":  # it has no gradient to attack
            attacks[name] = undetected_rates(GuardedClassifier(guard.model, detector), pgd, attacked, x, y)
    with torch.no_grad():
        samples = {name: trained[name].sample(SHOWN) for name in ("GAN samples", "border samples")}
    pictures = {"known": x, **suspects, **samples}
    return Measured(
        areas,
        attacks,
        {name: method.evaluate(test)["accuracy"] for name, method in trained.items() if name != "auto-encoder"},
        {name: images[:SHOWN] for name, images in pictures.items() if len(images) >= SHOWN},
    )


def methods(config: Config) -> dict[str, genlab.Config]:
    taught = GeneratedOutliersConfig(
        width=config.width, width_gan=config.width, uniform=config.uniform, lr_gan=config.lr_gan
    )
    return {
        "plain": ClassifierConfig(width=config.width),
        "confidence branch": ConfidenceBranchConfig(width=config.width, budget=config.budget),
        "GAN samples": replace(taught, border=0.0),
        "border samples": replace(taught, border=config.border),
        "auto-encoder": AutoEncoderConfig(hidden=(128,), code=16),
    }


def fitted(name: str, method: genlab.Config, train: Images, seed: int, config: Config) -> Any:
    torch.manual_seed(seed)
    options = replace(method.training, images=config.images, batch=32, seed=seed, warmup=0.05)
    built = method.build(train.shape, len(train.classes)).to(train.device)
    return genlab.fit(built, Stream(train, options.batch, seed=seed), options, title=f"{name}, seed {seed}").eval()


def guards(trained: dict[str, Any], train: Images, seed: int, config: Config) -> dict[str, Guard]:
    """The detectors, in the order of DETECTORS."""
    plain, x, y = trained["plain"].net, train.x[:FITTED], train.labels[:FITTED]
    own = classifier_scores(plain, x, y, BitDepth(1), NonLocalMeans())
    branch = trained["confidence branch"]
    taught = {name: Guard(trained[name], MaxSoftmax(trained[name])) for name in ("GAN samples", "border samples")}
    unlabelled = {
        "auto-encoder": ReconstructionError(trained["auto-encoder"].reconstruct),
        "one-class SVM": OneClassSVM.fit(x, scale=config.svm_scale),
        "isolation forest": IsolationForest.fit(x, seed=seed),
    }
    return {
        **{name: Guard(plain, score) for name, score in own.items()},
        "confidence branch": Guard(branch, CallableModule(branch.doubt)),
        **taught,
        **{name: Guard(plain, score) for name, score in unlabelled.items()},
    }


def fooling(model: nn.Module, attacked: Tensor, test: Images, config: Config) -> Tensor:
    """The attacked images that are misclassified, of those that were not."""
    with torch.no_grad():
        right, wrong = model(test.x).argmax(1) == test.labels, model(attacked).argmax(1) != test.labels
    if not (found := right & wrong).any():
        raise ValueError(f"no image is misclassified under PGD with --eps {config.eps:g} and --steps {config.steps}")
    return attacked[found]


def over_seeds(found: Sequence[Measured], detector: str) -> list[float | None]:
    """The mean rates under attack; none where no image is classified correctly without alarm."""
    rates = [each.attacks[detector].values() for each in found]
    return [None if None in values else mean(values) for values in zip(*rates)]


def verdict(areas: dict[str, dict[str, tuple[float, float]]]) -> str:
    """The best detector of every kind of image, in a sentence."""
    best = {kind: max(areas, key=lambda name: areas[name][kind][0]) for kind in areas["entropy"]}
    found = [f"{kind} {name} ({areas[name][kind][0]:.3f})" for kind, name in best.items()]
    return f"Which detector is best depends on the images; by the area under the ROC curve: {', '.join(found)}."


def figure(areas: dict[str, dict[str, tuple[float, float]]]) -> bytes:
    """A PNG with a panel per kind of image: the area of every detector and its deviation over seeds."""
    from matplotlib.figure import Figure

    kinds = list(areas["entropy"])
    colours = {group: f"C{i}" for i, group in enumerate(dict.fromkeys(DETECTORS.values()))}
    drawing = Figure(figsize=(2.0 + 2.0 * len(kinds), 3.6), layout="constrained")
    for axes, kind in zip(drawing.subplots(1, len(kinds), sharey=True), kinds):
        for at, (name, each) in enumerate(areas.items()):
            value, deviation = each[kind]
            axes.errorbar(value, at, xerr=deviation, fmt="o", ms=5, capsize=3, color=colours[DETECTORS[name]])
        axes.axvline(0.5, color="0.6", ls=":", lw=1)
        axes.set(title=kind, xlim=(-0.02, 1.02), xticks=[0, 0.5, 1], yticks=range(len(areas)))
        axes.set_yticklabels(areas)
        axes.grid(alpha=0.3)
    axes.invert_yaxis()
    handles = [drawing.axes[0].errorbar([], [], fmt="o", color=c, label=group) for group, c in colours.items()]
    title = "area under the ROC curve (dotted: chance), by where the detector comes from"
    drawing.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, title=title, title_fontsize=9)
    return png(drawing)


if __name__ == "__main__":
    start(main, Config)
