"""Detectors of attacks and of real outliers: areas under the curve, costs, and what an attacker who knows them does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch

import genlab
from attacks import PGD, Linf
from attacks.defences import scores as by
from attacks.defences.comparison import Comparison, evasion, halves, report, successful_examples
from attacks.defences.denoising import NonLocalMeans
from attacks.defences.roc import Costs
from attacks.defences.smoothing import BitDepth, Filtered
from attacks.plugin import attack
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Eps, Length, NonEmpty, Range, Seed, Share, Steps
from genlab.data.resize import resized
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig
from genlab.methods.likelihood.flow import FlowConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.methods.representation.autoencoder import AutoEncoderConfig

COSTS = {"miss 1, alarm 1": Costs(), "miss 10, alarm 1": Costs(miss=10), "miss 1, alarm 10": Costs(alarm=10)}
PIXELS = AutoregressiveConfig(head="logistic", levels=16, layers=3)
MODELS: dict[str, tuple[Any, Any]] = {
    "auto-encoder": (AutoEncoderConfig(), lambda m: by.ReconstructionError(m.reconstruct)),
    "VAE": (
        VAEConfig(evaluation_samples=1),
        lambda m: by.NegativeLogLikelihood(lambda x: -sum(m.reconstruction_and_kl(x))),
    ),
    "flow": (
        FlowConfig("realnvp", logit=0.0),
        lambda m: by.NegativeLogLikelihood(lambda x: m.density((255 * x + 0.5) / 256)),
    ),
    "PixelCNN": (
        PIXELS,
        lambda m: by.NegativeLogLikelihood(Filtered(BitDepth(4), lambda x: m.log_prob_of(15 * x, None), True)),
    ),
}


@dataclass(frozen=True)
class Config:
    data: str = "digits"
    data_root: Path | None = None
    images: Length = 40_000  # length of every training
    models: tuple[str, ...] = tuple(MODELS)  # which of them detect
    outliers: tuple[str, ...] = ("letters", "sprites")  # images of no class
    attacks: NonEmpty[str] = ("fgsm", "pgd", "cw-l2", "deepfool")  # the first teaches the detectors "together"
    tested: Annotated[int, Range(4, 10**9)] = 360
    """held-out images; all that is chosen comes from the first half, all figures from the second"""
    eps: Eps = 0.2  # L-infinity size of FGSM and PGD, in pixels of [0, 1]
    steps: Steps = 40  # of the PGD that knows the detector
    bits: Annotated[int, Range(1, 8)] = 1  # per pixel that one squeezer leaves; the other are non-local means
    fpr: Share = 0.05  # share of false alarms that a threshold may raise
    out: Path = Path("runs/feature-squeezing")
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine")
    attacks = {name: attack(name, config.eps) for name in config.attacks}
    kinds = {name: MODELS[genlab.core.registry.choose(name, MODELS, "model")][0] for name in config.models}
    kinds = {"classifier": ClassifierConfig(), **kinds}
    plan = {name: genlab.Experiment(method, data, **vars(options)) for name, method in kinds.items()}
    check_all(plan.values())
    channels, size, _ = data.load("test").shape
    others = {k: genlab.DataOptions(k, channels=channels, data_root=config.data_root) for k in config.outliers}
    odd = {k: resized(v.load("test"), size).x[: config.tested] for k, v in others.items()}
    made = {name: each.run(config.out / name, pictures=1) for name, each in plan.items()}
    net, known, test = made["classifier"].net, data.load("train"), data.load("test").subset(slice(0, config.tested))
    torch.manual_seed(config.seed)
    clean, suspects = halves(test.x), successful_examples(net, attacks, test.x, test.labels)
    suspects |= {name: halves(x[: len(test)]) for name, x in odd.items()}
    scores = by.classifier_scores(net, known.x[:10_000], known.labels[:10_000], BitDepth(config.bits), NonLocalMeans())
    scores |= {name: MODELS[name][1](made[name]) for name in config.models}
    scores["together"] = by.LogisticRegressionScore.fit(list(scores.values()), clean[0], suspects[config.attacks[0]][0])
    found, pgd = Comparison.of(scores, clean, suspects), PGD(Linf(config.eps), config.steps)
    evasions = evasion(net, scores, pgd, test.x, test.labels, config.fpr)
    results = {**found.results(COSTS, attacks), "evasion": evasions}
    print(text := json.dumps(results, indent=1))
    write_atomically(config.out / "results.json", text.encode())
    page = report(f"Detectors on {config.data}", found, results)
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
