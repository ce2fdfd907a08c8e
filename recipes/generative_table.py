"""Every family of generators on one page: trained on the same images for the same time, judged by the same features.

python recipes/generative_table.py                                  # scikit-learn's digits, minutes on one core
python recipes/generative_table.py --data mnist --data-root DIR --minutes 60 --width 32

The first batches of every method tell how many images it trains on in `--minutes` of one CPU core, or of the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Length, NonEmpty, Positive, Range, Seeds, Width
from genlab.core.registry import choose
from genlab.core.text import counted
from genlab.core.timing import spent
from genlab.data import Images, Stream
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.diffusion.consistency import ConsistencyConfig
from genlab.methods.diffusion.diffusion import DiffusionConfig
from genlab.methods.diffusion.flow_matching import FlowMatchingConfig
from genlab.methods.gan.gan import GANConfig
from genlab.methods.gan.wgan_gp import WGANGPConfig
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig
from genlab.methods.likelihood.energy_model import EnergyModelConfig
from genlab.methods.likelihood.flow import FlowConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.methods.likelihood.vq_vae import VQVAEConfig
from genlab.metrics.comparison import measure
from genlab.metrics.extract import FeatureSet, extract_features, samples, shuffled
from genlab.reporting.finish import finish
from genlab.reporting.labelled import picture_png
from genlab.reporting.plots import pareto
from genlab.reporting.spread import over_seeds, plus_minus, spread
from genlab.training.loop import fit

TRIED = 20  # batches whose time is measured before a training
SHOWN = 12  # samples per row of the picture
TIMED = 64  # samples whose time is measured
FIGURES = {"FID": "FID", "KID": "KID", "precision": "precision-recall", "recall": "precision-recall"}


@dataclass(frozen=True)
class Family:
    """A row: a method, and what its bits/dim are."""

    method: Callable[[int], Any]  # width -> config
    likelihood: str = ""  # a sign before bits/dim: "" if exact or none, "≤" a bound, "~" a bound's estimate
    batch: int | None = None  # none: the method's own


def r3gan(width: int) -> GANConfig:
    """The loss of R3GAN, on the networks of the DCGAN here; without normalisation they collapse in so short a time."""
    return GANConfig(
        objective="relativistic", r1=0.1, r2=0.1, norm="layer", width=width, hidden=0, lr=1e-3, lr_generator=3e-3
    )


# Rates, batches and networks of the GANs, the VQ-VAE and consistency were chosen among three to nine settings each by
# the FID on validation images after 18 seconds (--validation, seed 0). In so short a time a GAN's generator has to
# learn faster than its discriminator, and the codebook of a VQ-VAE faster than by default. With a fully connected layer
# of 128 units the DCGAN is better with seed 0 and collapses with seed 1.
FAMILIES = {
    "DCGAN": Family(lambda width: GANConfig(width=width, hidden=0, lr=5e-4, lr_generator=2e-3), batch=32),
    "WGAN-GP": Family(lambda width: WGANGPConfig(width=width, hidden=0, lr=2e-3, n_critic=3), batch=32),
    "loss of R3GAN": Family(r3gan, batch=32),
    "VAE": Family(lambda width: VAEConfig(pixels="gaussian", latent=16, width=width), "≤"),
    "VQ-VAE and PixelCNN": Family(
        lambda width: VQVAEConfig(
            codes=128, width=2 * width, prior_width=2 * width, prior_layers=2, decay=0.9, lr=3e-3
        ),
        "≤",
        batch=32,
    ),
    "Glow": Family(lambda width: FlowConfig(width=2 * width), "≤"),
    "gated PixelCNN": Family(lambda width: AutoregressiveConfig("gated", width=width, lr=2e-3)),
    "energy model": Family(lambda width: EnergyModelConfig(width=width)),
    "diffusion": Family(lambda width: DiffusionConfig(width=width), "~"),
    "flow matching": Family(lambda width: FlowMatchingConfig(width=width), "~"),
    "consistency": Family(lambda width: ConsistencyConfig(width=width, stages=4, pretraining=0.5)),
}


@dataclass(frozen=True)
class Config:
    """Compares families of generators at equal time of training."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    families: NonEmpty[str] = tuple(FAMILIES)
    """families to compare"""
    minutes: Positive = 0.3
    """length of every training, in minutes of one CPU core or of the GPU"""
    width: Width = 16
    """channels of the networks at the finest level; Glow's have twice as many"""
    n: Annotated[int, Range(2, 10**7)] = 1000
    """samples that are measured"""
    validation: bool = False
    """compare with a validation part of the training images, which is not trained on, to choose settings"""
    seeds: Seeds = (0,)
    """trainings of every method"""
    classifier_images: Length | None = None
    """training length of the classifier whose features are compared; none: 60 epochs, at most 100,000"""
    out: Path = Path("runs/generative-table")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root, hold_out=config.validation)
    families = {name: FAMILIES[choose(name, FAMILIES, "family")] for name in config.families}
    check_all(experiment(family, data, 0, config) for family in families.values())
    features, train = default_features(data, images=config.classifier_images), data.load()
    test = data.load("validation" if config.validation else "test")
    judged = lambda images: figures(extract_features(shuffled(test), features), extract_features(images, features))
    found: dict[str, list[dict[str, float]]] = {}
    pictures = {"real": test.x[:SHOWN]}
    for name, family in families.items():
        planned = images_per_minute(experiment(family, data, 0, config), train) * config.minutes
        found[name] = []
        for seed in config.seeds:
            out = config.out / f"{name.replace(' ', '-')}-{seed}"
            began = spent()
            model: Any = experiment(family, data, seed, config, max(1, round(planned))).run(out, pictures=1)
            seconds = spent() - began
            bits = genlab.Run(out).results().get("bits_per_dim")
            row = judged(samples(model.sample, config.n)) | {"ms per sample": 1000 * per_sample(model)}
            row |= {"training images": planned, "seconds": seconds} | ({"bits/dim": bits} if bits else {})
            found[name].append(row)
        pictures[name] = torch.cat([*samples(model.sample, SHOWN)])
    page = genlab.Report(f"Generators on {config.data}")
    best = min(found, key=lambda name: mean(found[name], "FID"))
    floor = judged(shuffled(train, config.n))
    page.section(
        "Quality and speed",
        f"{best} is best here: FID[{features.name}] {mean(found[best], 'FID'):.3g} at "
        f"{mean(found[best], 'ms per sample'):.2g} ms per sample; real training images: {floor['FID']:.3g}.",
    )
    page.picture(pareto({("ms per sample", f"FID[{features.name}]"): {n: point(rows) for n, rows in found.items()}}))
    page.picture(picture_png(in_rows(pictures)), "samples of the last seed")
    header = ["family", "FID", "KID", "precision", "recall", "bits/dim", "ms per sample", "seconds", "images"]
    page.table(header, [*([name, *cells(rows, families[name])] for name, rows in found.items())])
    page.text(
        f"Features {features.name}, {config.n:,} samples, {counted(config.seeds)}. Seconds of one CPU core or of the "
        "GPU, the evaluation of likelihoods included; bits/dim of test images, ≤ a bound, ~ the estimate of a bound."
    )
    rows = [{"family": name} | over_seeds(each) for name, each in found.items()]
    finish(config.out, page, {"families": rows, "real training images": floor})


def experiment(
    family: Family, data: genlab.DataOptions, seed: int, config: Config, images: int = 1
) -> genlab.Experiment:
    """Half-life of the average: a fiftieth of the training, at most the method's own."""
    method = family.method(config.width)
    half_life = min(method.training.half_life or 10_000, max(1, images // 50))
    batch = family.batch or method.training.batch
    return genlab.Experiment(
        method, data, images=images, batch=batch, seed=seed, schedule="cosine", half_life=half_life
    )


def images_per_minute(trial: genlab.Experiment, train: Images) -> float:
    """Training images per minute, measured on the batches after the first few."""
    batch, spans = trial.training.batch, []
    method = trial.method.build(train.shape, len(train.classes)).to(train.device)
    for batches in (3, TRIED):
        began = spent()
        fit(method, Stream(train, batch), genlab.TrainOptions(images=batches * batch, batch=batch))
        spans.append(spent() - began)
    return 60 * TRIED * batch / spans[1]


def per_sample(model: Any) -> float:
    """Seconds per sample, drawn TIMED at a time."""
    model.sample(TIMED)
    began = spent()
    model.sample(TIMED)
    return (spent() - began) / TIMED


def figures(real: FeatureSet, fake: FeatureSet) -> dict[str, float]:
    return {figure: measure(name, real, fake)[f"{figure}[{fake.name}]"] for figure, name in FIGURES.items()}


def mean(rows: Sequence[dict[str, float]], figure: str) -> float:
    return spread(row[figure] for row in rows)[0]


def point(rows: Sequence[dict[str, float]]) -> tuple[float, float, float]:
    """Of the figure: time per sample, FID and its deviation over the seeds."""
    return mean(rows, "ms per sample"), *spread(row["FID"] for row in rows)


def cells(rows: Sequence[dict[str, float]], family: Family) -> list[str | None]:
    def cell(figure: str, form: str) -> str:
        return plus_minus((row[figure] for row in rows), form)

    bits = f"{family.likelihood} {cell('bits/dim', '.2f')}".strip() if "bits/dim" in rows[0] else None
    shares = [cell("precision", ".2f"), cell("recall", ".2f")]
    times = [f"{mean(rows, 'ms per sample'):.2g}", f"{mean(rows, 'seconds'):.0f}"]
    times += [f"{mean(rows, 'training images'):,.0f}"]
    return [cell("FID", ".2f"), cell("KID", ".3f"), *shares, bits, *times]


if __name__ == "__main__":
    start(main, Config)
