"""Are GANs created equal? Every objective on one data set with the same networks, over seeds.

The table of Lucic et al. 2018, arXiv:1711.10337, with their networks (those of InfoGAN): best, median and worst FID of
the lab's own classifier. Beside them: models with one of the two networks only, and the FID of real training images,
which no generator is expected to fall below.

python recipes/gan_zoo.py --methods nonsaturating wgan-gp --seeds 0          # scikit-learn's digits, minutes
python recipes/gan_zoo.py --data mnist --data-root DIR --images 400000
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Length, NonEmpty, Range, Seeds, Units, Width
from genlab.core.registry import choose
from genlab.core.text import counted
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.gan.began import BEGANConfig
from genlab.methods.gan.ebgan import EBGANConfig
from genlab.methods.gan.gan import GANConfig
from genlab.methods.gan.loss_sensitive import LossSensitiveConfig
from genlab.methods.gan.wgan import WGANConfig
from genlab.methods.gan.wgan_gp import WGANGPConfig
from genlab.methods.likelihood.energy_model import EnergyModelConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.metrics.comparison import measure
from genlab.metrics.extract import extract_features, samples, shuffled
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import groups_png


@dataclass(frozen=True)
class Config:
    """Best, median and worst FID of every method over seeds."""

    data: genlab.DataOptions = field(default_factory=genlab.DataOptions)
    """which images"""
    methods: NonEmpty[str] = ("minimax", "nonsaturating", "lsgan", "spectral", "wgan", "wgan-gp", "vae")
    """which; all: minimax nonsaturating lsgan hinge kl reverse-kl pearson hellinger js spectral residual attention wgan
    wgan-gp ct-gan ebgan began loss-sensitive energy-model vae auto-encoder"""
    seeds: Seeds = (0, 1, 2)
    """trainings of every method"""
    training: genlab.TrainOptions = genlab.TrainOptions(150_000, 32, schedule="cosine", half_life=10_000)
    """images: those that every discriminator sees, whatever its number of steps; seed plays no part"""
    width: Width = 32
    """channels of the networks' finest level"""
    hidden: Units = 512
    """units of their fully connected layers"""
    n: Annotated[int, Range(2, 10**7)] = 2000
    """samples per FID"""
    classifier_images: Length | None = None
    """training length of the classifier whose features FID compares; none: 60 epochs, at
    most 100,000"""
    out: Path = Path("runs/gan-zoo")
    """folder of the runs and the report"""


def zoo(width: int, hidden: int) -> dict[str, genlab.Config]:
    """width: channels of the finest level; hidden: units of the fully connected layers, where there are any."""
    objectives = ("minimax", "nonsaturating", "lsgan", "hinge", "kl", "reverse-kl", "pearson", "hellinger", "js")
    nets: dict[str, Any] = {"width": width, "hidden": hidden}
    plain = {name: GANConfig(objective=name, **nets) for name in objectives}
    # Without batch normalisation a bounded discriminator does not notice collapse; minibatch discrimination does.
    spectral = GANConfig(objective="hinge", spectral=True, norm="none", minibatch=True, **nets)
    return {
        **plain,
        "spectral": spectral,
        "residual": GANConfig(net="resnet", width=width),
        "attention": GANConfig(attention=True, **nets),
        "wgan": WGANConfig(lr=5e-4, weight_clip=0.05, n_critic=2, **nets),
        "wgan-gp": WGANGPConfig(lr=1e-3, **nets),
        "ct-gan": WGANGPConfig(lr=1e-3, consistency=2.0, dropout=0.2, **nets),
        "ebgan": EBGANConfig(width=width, pull_away=0.1),
        "began": BEGANConfig(width=width, latent=16, code=16, lr=1e-3, diversity=0.9, gain=0.1),
        "loss-sensitive": LossSensitiveConfig(**nets),
        "energy-model": EnergyModelConfig(**nets),
        "vae": VAEConfig(**nets),
        "auto-encoder": VAEConfig(beta=0.0, **nets),  # its decoder, fed with noise
    }


def main(config: Config) -> None:
    known = zoo(config.width, config.hidden)
    methods = {choose(name, known, "method"): known[name] for name in config.methods}
    check_all(experiment(method, 0, config) for method in methods.values())
    features = default_features(config.data, images=config.classifier_images)
    real = extract_features(shuffled(config.data.load("test")), features)

    def fid(images: Any) -> float:
        return measure("FID", real, extract_features(images, features))[f"FID[{features.name}]"]

    shown = {"real, held out": config.data.load("test").subset(slice(0, 24)).x}
    header = ["method", "best", "median", "worst"]
    rows = []
    for name, method in methods.items():
        found = []
        for seed in config.seeds:
            out = config.out / f"{name}-{seed}"
            trained: Any = experiment(method, seed, config).run(out, pictures=1)
            found.append(fid(samples(trained.sample, config.n)))
        rows.append([name, min(found), median(found), max(found)])
        shown[name] = next(samples(trained.sample, 24))  # of the last seed
    floor = fid(shuffled(config.data.load("train"), config.n))
    page = genlab.Report(f"GAN zoo on {config.data.data}")
    lowest = min(rows, key=lambda row: row[2])
    page.text(
        f"Lowest median FID[{features.name}] of {config.n:,} samples: {lowest[0]}, {lowest[2]:.3g}; of as many real "
        f"training images {floor:.3g}. {counted(config.seeds)}, {config.training.images:,} images each; samples of "
        "the last seed."
    )
    page.picture(groups_png(shown))
    page.section("FID by method").table(header, rows)
    finish(
        config.out,
        page,
        {"figure": f"FID[{features.name}]", "training images": floor, "methods": records(header, rows)},
    )


def experiment(method: genlab.Config, seed: int, config: Config) -> genlab.Experiment:
    return genlab.Experiment(method, config.data, **vars(replace(config.training, seed=seed)))


if __name__ == "__main__":
    start(main, Config)
