"""Are GANs created equal? FID of every objective over random settings, and of the best setting over none.

After Lucic et al. 2018, arXiv:1711.10337, section 4: each objective is trained with settings drawn at random: learning
rate, discriminator steps per generator step, normalisation, and what the objective has of its own (limit of the
weights, weight of the penalty, margin). The spread over settings is compared with that between the objectives' best
settings, which are chosen on validation images and measured on test images. Departures: small networks, one data set,
Adam's beta1 is that of the method.

python recipes/random_settings.py                                    # scikit-learn's digits, minutes on one core
python recipes/random_settings.py --settings 30 --images 50000
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import median
from typing import Annotated, Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Length, NonEmpty, Range, Seed, Side, Width
from genlab.core.registry import choose
from genlab.data import Stream
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.gan.ebgan import EBGANConfig
from genlab.methods.gan.gan import GANConfig
from genlab.methods.gan.wgan import WGANConfig
from genlab.methods.gan.wgan_gp import WGANGPConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.metrics.comparison import measure
from genlab.metrics.extract import extract_features, samples, shuffled
from genlab.reporting.finish import finish
from genlab.reporting.labelled import groups_png
from genlab.reporting.plots import boxes
from genlab.training.update import NonFinite

SHOWN = 12  # samples of the best setting of each objective


@dataclass(frozen=True)
class Between:
    """The numbers from `low` to `high`, whose logarithms are equally likely."""

    low: float
    high: float


Space = dict[str, Between | tuple[Any, ...]]  # option -> what it is drawn from: a range, or any of the values
RATE, STEPS, NORMS = Between(1e-4, 1e-2), (1, 5), ("batch", "none")
PLAIN: Space = {"lr": RATE, "n_discriminator": STEPS, "norm": NORMS}
CRITIC: Space = {"lr": RATE, "n_critic": STEPS}
OBJECTIVES: dict[str, tuple[Any, Space]] = {
    "minimax": (GANConfig(objective="minimax", hidden=0, lr_generator=None), PLAIN),
    "non-saturating": (GANConfig(hidden=0, lr_generator=None), PLAIN),
    "LSGAN": (GANConfig(objective="lsgan", hidden=0, lr_generator=None), PLAIN),
    "WGAN": (WGANConfig(hidden=0), CRITIC | {"norm": NORMS, "weight_clip": Between(1e-3, 1)}),
    "WGAN-GP": (WGANGPConfig(hidden=0), CRITIC | {"norm": ("layer", "none"), "penalty": Between(0.1, 100)}),
    "EBGAN": (EBGANConfig(pull_away=0.1), {"lr": RATE, "margin": Between(1e-3, 0.3)}),
    "VAE": (VAEConfig(), {"lr": RATE, "latent": (8, 16, 32)}),
}


@dataclass(frozen=True)
class Config:
    """FID of every objective over random settings, and the test FID of its best one."""

    data: str = "digits"
    """which images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = None
    """height and width of the images in pixels; none: as in the data set"""
    objectives: NonEmpty[str] = tuple(OBJECTIVES)
    """which: minimax, non-saturating, LSGAN, WGAN, WGAN-GP, EBGAN, VAE"""
    settings: Annotated[int, Range(2, 1000)] = 4
    """random settings of each objective"""
    images: Length = 5_000
    """length of each training, in images that the discriminator sees"""
    width: Width = 16
    """channels of the networks' finest level"""
    n: Annotated[int, Range(2, 10**6)] = 1000
    """samples per FID"""
    classifier_images: Length | None = None
    """training length of the classifier whose features FID compares; none: 60 epochs, at most 100,000"""
    seed: Seed = 0
    """of the settings and the trainings"""
    out: Path = Path("runs/random-settings")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, data_root=config.data_root, hold_out=True)
    plan = {choose(name, OBJECTIVES, "objective"): settings(name, config) for name in config.objectives}
    options = genlab.TrainOptions(config.images, 32, seed=config.seed, half_life=1000)
    check_all(genlab.Experiment(each, data, **vars(options)) for methods in plan.values() for each in methods)
    train = data.load("train")
    features = default_features(data, images=config.classifier_images)
    figure = f"FID[{features.name}]"
    real = {split: extract_features(shuffled(data.load(split)), features) for split in ("validation", "test")}

    def fid(images: Any, split: str) -> float:
        return measure("FID", real[split], extract_features(images, features))[figure]

    rows: list[dict[str, Any]] = []
    drawn: list[dict[str, Any]] = []
    spread: dict[str, list[float]] = {}
    shown = {"real, held out": data.load("test").x[:SHOWN]}
    for name, methods in plan.items():
        trained: list[tuple[float, Any]] = []
        for number, method in enumerate(methods):
            torch.manual_seed(config.seed)
            built = method.build(train.shape, len(train.classes))
            try:
                stream = Stream(train, options.batch, seed=config.seed)
                model: Any = genlab.fit(built, stream, options, title=f"{name}, setting {number}").eval()
            except NonFinite:
                continue
            value = fid(samples(model.sample, config.n), "validation")
            trained.append((value, model))
            drawn.append({"objective": name, **{o: getattr(method, o) for o in OBJECTIVES[name][1]}, figure: value})
        if not trained:
            raise ValueError(f"no setting of {name} can be trained: give more --settings")
        spread[name] = [value for value, _ in trained]
        best = min(trained, key=lambda pair: pair[0])[1]
        shown[name] = next(samples(best.sample, SHOWN))
        rows.append({
            "objective": name,
            "best": min(spread[name]), "median": median(spread[name]), "worst": max(spread[name]),
            "test images, best setting": fid(samples(best.sample, config.n), "test"),
            "not finite": len(methods) - len(trained),
        })  # fmt: skip

    values = [row["test images, best setting"] for row in rows]
    widest = max(rows, key=lambda row: row["worst"] / row["best"])
    page = genlab.Report(f"Random settings of GANs on {config.data}")
    page.text(
        f"{figure} over {config.settings} random settings goes from {widest['best']:.0f} to {widest['worst']:.0f} for "
        f"{widest['objective']}; the best settings of all objectives, chosen on validation images, are between "
        f"{min(values):.0f} and {max(values):.0f} on test images."
    )
    page.picture(boxes(spread, x=f"{figure}, validation images", log=True))
    page.text("A point is a setting; the box holds the middle half of them, its line is the median.")
    page.section("Samples of the best setting").picture(groups_png(shown, SHOWN))
    page.section("Figures", "FID over the settings by validation images; of the best setting by test images.")
    page.table(list(rows[0]), [list(row.values()) for row in rows])
    finish(config.out, page, {"figure": figure, "objectives": rows, "settings": drawn})


def settings(objective: str, config: Config) -> list[Any]:
    """Random settings of an objective."""
    method, space = OBJECTIVES[objective]
    random = Random(f"{objective}, {config.seed}")
    drawn = ({option: draw(where, random) for option, where in space.items()} for _ in range(config.settings))
    return [replace(method, width=config.width, **options) for options in drawn]


def draw(where: Between | tuple[Any, ...], random: Random) -> Any:
    if isinstance(where, Between):
        return where.low * (where.high / where.low) ** random.random()
    return random.choice(where)


if __name__ == "__main__":
    start(main, Config)
