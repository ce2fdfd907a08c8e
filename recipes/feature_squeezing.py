"""Detectors of adversarial images and of outliers: ROC curves, costs, and attacks that know the detector.

Detectors: feature squeezing, the classifier's softmax and entropy, Mahalanobis distance of its features, reconstruction
error of an auto-encoder, likelihoods of generative models, and a logistic regression on all of these, fitted on the
first attack. What is chosen is chosen on the first half of the held-out images, what is reported is measured on the
second.

python recipes/feature_squeezing.py                              # scikit-learn's digits, minutes on one core
python recipes/feature_squeezing.py --data mnist --data-root DIR --images 75000 --eps 0.3 --models auto-encoder VAE
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

import genlab
from attacks import PGD, Linf
from attacks.defences import scores
from attacks.defences.denoising import NonLocalMeans
from attacks.defences.smoothing import BitDepth, Filtered
from attacks.evaluation.detectors import Comparison, Halves, evasion, halves, report, successful_examples
from attacks.evaluation.roc import Costs
from attacks.plugin import attack
from genlab.cli.main import start
from genlab.core.ranges import Eps, Length, NonEmpty, OpenShare, Range, Seed, Several, Steps
from genlab.core.registry import choose
from genlab.data import Images
from genlab.data.resize import resized
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig
from genlab.methods.likelihood.flow import FlowConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.methods.representation.autoencoder import AutoEncoderConfig
from genlab.reporting.finish import finish

COSTS = {"miss 1, alarm 1": Costs(), "miss 10, alarm 1": Costs(miss=10), "miss 1, alarm 10": Costs(alarm=10)}
KNOWN = 10_000  # training images that the class means of the Mahalanobis distance are fitted on


@dataclass(frozen=True)
class Config:
    """Areas under the ROC curve, costs of errors, and the success of oblivious and adaptive attacks."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 40_000
    """length of every training"""
    models: NonEmpty[str] = ("auto-encoder", "VAE", "flow", "PixelCNN")
    """generative models that detect: auto-encoder, VAE, flow, PixelCNN"""
    outliers: Several[str] = ("letters", "sprites")
    """data sets whose images are outliers here"""
    attacks: NonEmpty[str] = ("fgsm", "pgd", "cw-l2", "deepfool")
    """names as `genlab list` shows them; on the first one the logistic regression is fitted"""
    tested: Annotated[int, Range(4, 10**9)] = 360
    """held-out images, in two halves: to choose on and to measure on"""
    eps: Eps = 0.2
    """L-infinity radius of FGSM and PGD, in pixels of [0, 1]"""
    steps: Steps = 40
    """steps of the PGD that is oblivious of the detector, and of the one that knows it"""
    bits: Annotated[int, Range(1, 8)] = 1
    """bits per pixel that one of the squeezers leaves; the other is non-local means"""
    fpr: OpenShare = 0.05
    """false positive rate at which the thresholds are set"""
    out: Path = Path("runs/feature-squeezing")
    """folder of the runs and the report"""
    seed: Seed = 0
    """seed of every training and of the attacks"""


@dataclass(frozen=True)
class Generative:
    """A generative model as a detector; score: the trained method -> its score of suspicion."""

    method: genlab.Config
    score: Callable[[Any], nn.Module]


def reconstruction_error(model: Any) -> nn.Module:
    return scores.ReconstructionError(model.reconstruct)


def vae_bound(model: Any) -> nn.Module:
    def bound(x: Tensor) -> Tensor:
        reconstruction, kl = model.reconstruction_and_kl(x)
        return -(reconstruction + kl)

    return scores.NegativeLogLikelihood(bound)


def flow_density(model: Any) -> nn.Module:
    def density(x: Tensor) -> Tensor:
        return model.density((255 * x + 0.5) / 256)  # the middle of the cell of each of the 256 levels

    return scores.NegativeLogLikelihood(density)


def pixelcnn_likelihood(model: Any) -> nn.Module:
    """Of the image in 4 bits; the rounding is differentiated as the identity."""

    def log_prob(x: Tensor) -> Tensor:
        return model.log_prob_of(15 * x, None)

    return scores.NegativeLogLikelihood(Filtered(BitDepth(4), log_prob, True))


GENERATIVE = {
    "auto-encoder": Generative(AutoEncoderConfig(), reconstruction_error),
    "VAE": Generative(VAEConfig(evaluation_samples=1), vae_bound),
    "flow": Generative(FlowConfig("realnvp", logit=0.0), flow_density),
    "PixelCNN": Generative(AutoregressiveConfig(head="logistic", levels=16, layers=3), pixelcnn_likelihood),
}


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    attacks = {name: attack(name, config.eps) for name in config.attacks}
    models = {name: GENERATIVE[choose(name, GENERATIVE, "model")] for name in config.models}
    plan = experiments(config, data, models)
    outliers = load_outliers(config, data.load("test").shape)
    trained = {name: experiment.run(config.out / name, pictures=1) for name, experiment in plan.items()}
    classifier, test = trained["classifier"].net, data.load("test").subset(slice(0, config.tested))

    torch.manual_seed(config.seed)
    suspects = successful_examples(classifier, attacks, test.x, test.labels)
    suspects |= {name: halves(x[: len(test)]) for name, x in outliers.items()}
    detectors = scores.classifier_scores(classifier, *labelled(data), BitDepth(config.bits), NonLocalMeans())
    detectors |= {name: model.score(trained[name]) for name, model in models.items()}
    detectors["regression on all"] = regression(detectors, test, suspects[config.attacks[0]])

    found = Comparison.of(detectors, halves(test.x), suspects)
    pgd = PGD(Linf(config.eps), config.steps)
    evasions = evasion(classifier, detectors, pgd, test.x, test.labels, config.fpr)
    results = {**found.results(COSTS, attacks), "evasion": evasions}
    finish(config.out, report(f"Detectors on {config.data}", found, results), results)


def experiments(
    config: Config, data: genlab.DataOptions, models: dict[str, Generative]
) -> dict[str, genlab.Experiment]:
    """The classifier and the generative models, all trained alike."""
    train = {"images": config.images, "batch": 64, "seed": config.seed, "warmup": 0.0, "clip": None}
    methods = {"classifier": ClassifierConfig(), **{name: model.method for name, model in models.items()}}
    plan = {name: genlab.Experiment(method, data, **train) for name, method in methods.items()}
    check_all(plan.values())
    return plan


def load_outliers(config: Config, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """data set -> images as large as those that are classified, (n, *shape)."""
    channels, size, _ = shape
    found = {}
    for name in config.outliers:
        data = genlab.DataOptions(name, channels=channels, data_root=config.data_root)
        found[name] = resized(data.load("test", option="outliers"), size).x[: config.tested]
    return found


def labelled(data: genlab.DataOptions) -> tuple[Tensor, Tensor]:
    known = data.load("train")
    return known.x[:KNOWN], known.labels[:KNOWN]


def regression(detectors: dict[str, nn.Module], test: Images, attacked: Halves) -> nn.Module:
    """A logistic regression on all scores, fitted on the first halves."""
    clean, _ = halves(test.x)
    adversarial, _ = attacked
    return scores.LogisticRegressionScore.fit(list(detectors.values()), clean, adversarial)


if __name__ == "__main__":
    start(main, Config)
