"""Purification: generative models in front of a classifier, under oblivious and adaptive attacks.

Defense-GAN, PixelDefend, a VAE and an auto-encoder, and the auto-encoder behind MagNet's detectors. What each costs in
clean accuracy, how it withstands attacks that do not know of it, and attacks that do.

python recipes/purify.py                                         # scikit-learn's digits, minutes on one core
python recipes/purify.py --data mnist --data-root DIR --images 40000 --eps 0.3
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

import genlab
from attacks import FGSM, PGD, Linf
from attacks.defences.purify import DefenseGAN, PixelDefend, Reconstruct, magnet
from attacks.defences.smoothing import Filter, Filtered
from attacks.evaluation.detectors import undetected_rates
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import CAPTIONS, add_evaluation, least_robust, predictions_picture
from attacks.evaluation.results import Evaluation
from attacks.evaluation.verdict import models_and_sources, to_json
from attacks.latent import LatentAttack
from genlab.cli.main import start
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Seed, Steps
from genlab.core.text import listed
from genlab.data import Images
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.gan.gan import GANConfig
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.methods.representation.autoencoder import AutoEncoderConfig
from genlab.reporting.finish import finish
from genlab.reporting.plots import bars

FALSE_POSITIVES = 0.05  # of MagNet's detectors
SHOWN = 12  # images in a row of a picture


@dataclass(frozen=True)
class Config:
    """Clean accuracy, and success of oblivious and adaptive attacks, with each purifier."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 40_000
    """length of every training; the GAN's is four times as long"""
    models: NonEmpty[Literal["gan", "vae", "auto-encoder", "pixelcnn"]] = ("gan", "vae", "auto-encoder", "pixelcnn")
    """purifiers; MagNet comes with the auto-encoder"""
    eps: Eps = 0.2
    """L-infinity size of the attacks, in pixels of [0, 1]; PixelDefend moves pixels as far"""
    steps: Steps = 20
    """steps of PGD"""
    descent: Steps = 60
    """steps of Defense-GAN from each of its four starting points"""
    attacked: Count = 100
    """held-out images to attack; MagNet's thresholds come from the others"""
    out: Path = Path("runs/purify")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of every training"""


@dataclass(frozen=True)
class Purifier:
    """A generative model, and the filter that it becomes."""

    method: genlab.Config
    filter: Callable[[Any, Config], Filter]
    """of the trained model"""
    longer: int = 1
    """how many times as long as the others it is trained"""
    training: dict[str, Any] = field(default_factory=dict)
    """where it is not trained as the method usually is"""


PURIFIERS = {
    "gan": Purifier(
        GANConfig(width=32, hidden=0, lr_generator=None),
        lambda gan, config: DefenseGAN(gan.generator, gan.latent, 4, config.descent),
        longer=4,
    ),
    "vae": Purifier(
        VAEConfig(pixels="gaussian", sigma=0.1, evaluation_samples=1),
        lambda vae, config: Reconstruct(vae.reconstruct),
    ),
    "auto-encoder": Purifier(
        AutoEncoderConfig(noise=0.1),
        lambda autoencoder, config: Reconstruct(autoencoder.reconstruct),
    ),
    "pixelcnn": Purifier(
        AutoregressiveConfig(levels=17, layers=3),
        lambda pixelcnn, config: PixelDefend(pixelcnn.net, pixelcnn.head, config.eps),
        training={"batch": 64, "warmup": 0.0, "clip": None},
    ),
}


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    experiments = {name: experiment(PURIFIERS[name], data, config) for name in config.models}
    classification = genlab.Experiment(ClassifierConfig(), data, images=config.images, seed=config.seed)
    check_all([classification, *experiments.values()])
    attacked, others = split(data.load("test"), config)

    classifier = classification.run(config.out / "classifier", pictures=1)
    models = {name: each.run(config.out / name, pictures=1) for name, each in experiments.items()}
    filters = {name: PURIFIERS[name].filter(model, config) for name, model in models.items()}

    pgd = PGD(Linf(config.eps), steps=config.steps)
    page = genlab.Report(f"Purification: {config.data}, eps {config.eps:g}")
    found = oblivious_and_adaptive(classifier, filters, pgd, attacked)
    results = to_json(found)
    add_evaluation(page, found)
    adversarial = pgd(classifier, attacked.x, attacked.labels)
    show(page, classifier, filters, attacked.subset(slice(0, SHOWN)), adversarial[:SHOWN])
    least = least_robust(found)
    page.opening(
        f"Images that stay right under an attack that knows the defence: {listed(least, '.0%')}.",
        bars({name: [robust] for name, robust in least.items()}, x="robust accuracy"),
    )
    if "gan" in filters:
        results["latent attack"] = latent_attack(page, classifier, filters["gan"], pgd, attacked, config)
    if "auto-encoder" in filters:
        guarded = magnet(classifier, models["auto-encoder"].reconstruct, others.x, FALSE_POSITIVES).adaptive()
        results["MagNet"] = evasion(page, guarded, pgd, adversarial, attacked)
    finish(config.out, page, results)


def experiment(purifier: Purifier, data: genlab.DataOptions, config: Config) -> genlab.Experiment:
    images = purifier.longer * config.images
    return genlab.Experiment(purifier.method, data, images=images, seed=config.seed, **purifier.training)


def split(test: Images, config: Config) -> tuple[Images, Images]:
    """The held-out images to attack, and at most 1000 others, for MagNet's thresholds."""
    n = config.attacked
    if "auto-encoder" in config.models and n >= len(test):
        raise ValueError(f"--attacked {n} leaves none of the {len(test)} held-out images for MagNet's thresholds")
    return test.subset(slice(0, n)), test.subset(slice(n, n + 1000))


def oblivious_and_adaptive(classifier: nn.Module, filters: dict[str, Filter], pgd: PGD, attacked: Images) -> Evaluation:
    """FGSM and PGD against the classifier alone, and against each purifier obliviously and adaptively."""
    models, sources = models_and_sources(
        classifier, {name: Filtered(each, classifier) for name, each in filters.items()}
    )
    attacks = {"fgsm": FGSM(pgd.ball), "pgd": pgd}
    return evaluate(models, attacks, attacked.x, attacked.labels, sources=sources)


def show(
    page: genlab.Report, classifier: nn.Module, filters: dict[str, Filter], images: Images, adversarial: Tensor
) -> None:
    page.section("Purified", f"The adversarial images are those of PGD on the classifier alone. {CAPTIONS}")
    for name, purify in filters.items():
        rows = {}
        for kind, x in {"original": images.x, "adversarial": adversarial}.items():
            rows |= {kind: x, f"{kind}, purified": purify(x)}
        page.picture(predictions_picture(rows, classifier, images.labels, images.classes), name)


def latent_attack(
    page: genlab.Report, classifier: nn.Module, purifier: Filter, pgd: PGD, attacked: Images, config: Config
) -> dict[str, Any]:
    """An adaptive attack on Defense-GAN that searches its latents instead of passing gradients through it."""
    attack = LatentAttack(pgd.ball, purifier, classifier, 3 * config.descent)
    defended = {"gan": Filtered(purifier, classifier).adaptive()}
    found = evaluate(defended, {"latents": attack}, attacked.x, attacked.labels)
    row = next(row for row in found.rows if row.attack == "latents")  # beside it stands random noise
    page.section("Defense-GAN, attacked through its latents", "Success rate, and median L2 norm of the perturbation.")
    page.table(["success (95 %)", "L2 median"], [[str(row.success), row.l2.median]])
    return {"success": row.success.value, "l2": asdict(row.l2)}


def evasion(
    page: genlab.Report, guarded: nn.Module, pgd: PGD, adversarial: Tensor, attacked: Images
) -> dict[str, float | None]:
    """How often MagNet is wrong without an alarm, under an attack that does not know of it and one that does."""
    rates = undetected_rates(guarded, pgd, adversarial, attacked.x, attacked.labels)
    page.section(
        "MagNet",
        "clean: share classified correctly without an alarm. Of these, the share that is wrong without an alarm when "
        "attacked.",
    )
    page.table([*rates], [[*rates.values()]])
    return rates


if __name__ == "__main__":
    start(main, Config)
