"""How many of 1,000 modes does a generator draw? Three random digits in the channels of an image, by objective and
remedy against mode collapse.

python recipes/stacked_mnist.py                                   # scikit-learn's digits of 8x8 pixels
python recipes/stacked_mnist.py --data stacked-mnist --data-root DIR --images 2000000 --width 64 --seeds 0

The protocol is that of PacGAN (Lin et al. 2018, arXiv:1712.04086, section 4.2): 128,000 training images; 26,000
samples, of which a classifier of single digits reads the channels. Modes: combinations of digits that are drawn at all;
KL: of their shares from even ones, in nats. Test images serve for the classifier's own accuracy alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Length, NonEmpty, Range, Seeds, Width
from genlab.core.registry import choose
from genlab.core.timing import spent
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.gan.gan import GANConfig
from genlab.methods.gan.unrolled import UnrolledConfig
from genlab.methods.gan.wgan import WGANConfig
from genlab.methods.gan.wgan_gp import WGANGPConfig
from genlab.metrics.accuracy import accuracy
from genlab.metrics.diversity import kl_to_uniform
from genlab.metrics.extract import samples, shuffled
from genlab.reporting.finish import finish
from genlab.reporting.labelled import picture_png
from genlab.reporting.plots import bars
from genlab.reporting.spread import spread

# Rates of the short GANs of generative_table.py, chosen on validation images of single digits. Without a fully
# connected layer, with which the non-saturating GAN collapsed after 40,000 stacks (seed 9, which is not reported).
RATES: dict[str, Any] = {"lr": 5e-4, "lr_generator": 2e-3, "hidden": 0}
PENALISED: dict[str, Any] = {"lr": 1e-3, "lr_generator": 3e-3, "hidden": 0, "norm": "layer", "r1": 0.1, "r2": 0.1}
METHODS: dict[str, Any] = {
    "non-saturating": GANConfig(**RATES),
    "minimax": GANConfig(objective="minimax", **RATES),
    "least squares": GANConfig(objective="lsgan", **RATES),
    "hinge": GANConfig(objective="hinge", **RATES),
    "minibatch discrimination": GANConfig(minibatch=True, **RATES),
    "packs of 2": GANConfig(pack=2, **RATES),
    "packs of 4": GANConfig(pack=4, **RATES),
    "unrolled": UnrolledConfig(**RATES),
    "ensemble of 4": GANConfig(generators=4, **RATES),
    "R1 and R2": GANConfig(**PENALISED),
    "loss of R3GAN": GANConfig(objective="relativistic", **PENALISED),
    "WGAN": WGANConfig(lr=5e-4, weight_clip=0.05, n_critic=2, hidden=0),
    "WGAN-GP": WGANGPConfig(lr=2e-3, n_critic=3, hidden=0),
}
PUBLISHED = {  # of stacked MNIST: modes and KL, as reported by the papers
    "ALI": (16, None),
    "Unrolled GAN": (48.7, 4.32),
    "DCGAN": (99, 3.40),
    "VEEGAN": (150, 2.95),
    "GAN, R1 and R2": (693, 0.927),
    "StyleGAN2": (940, 0.42),
    "WGAN-GP": (959, 0.73),
    "PacGAN": (1000, 0.06),
    "VAEBM": (1000, 0.087),
    "loss of R3GAN": (1000, 0.078),
    "DDGAN": (1000, 0.071),
    "R3GAN": (1000, 0.029),
}
SHOWN = 4  # samples per method


@dataclass(frozen=True)
class Config:
    """Counts the modes that generators of stacked digits draw."""

    data: str = "stacked:digits"
    """stacked images: stacked:NAME or stacked-mnist"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    methods: NonEmpty[str] = ("non-saturating", "packs of 2", "R1 and R2", "loss of R3GAN", "WGAN-GP")
    """objectives and remedies to compare; further ones: minimax, 'least squares', hinge, 'minibatch discrimination',
    'packs of 4', unrolled, 'ensemble of 4', WGAN"""
    images: Length = 40_000
    """length of each training"""
    width: Width = 16
    """channels of the networks at the finest level"""
    n: Annotated[int, Range(2, 10**7)] = 26_000
    """samples whose modes are counted"""
    seeds: Seeds = (0,)
    """trainings of every method"""
    classifier_images: Length | None = None
    """training length of the classifier that reads the digits; none: 60 epochs, at most 100,000"""
    out: Path = Path("runs/stacked-mnist")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    data, single = genlab.DataOptions(config.data, data_root=config.data_root), grey(config)
    plan = {
        name: [experiment(METHODS[choose(name, METHODS, "method")], data, seed, config) for seed in config.seeds]
        for name in config.methods
    }
    check_all(experiments[0] for experiments in plan.values())
    features = default_features(single, images=config.classifier_images)
    judge = lambda x: features.logits(features(x))
    digits, stacks = single.load("test"), data.load("train")
    k, right = len(digits.classes), accuracy(judge, digits)
    rows, pictures = [], {"real": with_channels(stacks.x[:SHOWN])}
    for name, experiments in plan.items():
        found, began = [], spent()
        for each in experiments:
            out = config.out / f"{name.replace(' ', '-')}-{each.training.seed}"
            trained: Any = each.run(out, pictures=1)
            found.append(modes(samples(trained.sample, config.n), judge, k))
        pictures[name] = with_channels(torch.cat([*samples(trained.sample, SHOWN)]))
        rows.append({"method": name, **figures(found), "seconds": (spent() - began) / len(experiments)})
    real = modes(shuffled(stacks, config.n), judge, k)
    page = genlab.Report(f"Modes of {config.data}")
    best = max(rows, key=lambda row: (row["modes"], -row["KL"]))
    page.section(
        "Modes drawn",
        f"{rows[0]['method']}: {rows[0]['modes']:.0f} of {k**3:,} modes; {best['method']}: "
        f"{best['modes']:.0f}. Bars: means over the seeds {', '.join(map(str, config.seeds))}.",
    )
    page.picture(bars({row["method"]: row["modes of the seeds"] for row in rows}, x="modes", mark=("real", real[0])))
    page.picture(
        picture_png(in_rows(pictures)), "samples of the last seed: each stack, then its red, green and blue channel"
    )
    header = ["method", "modes", "modes (sd)", "KL, nats", "KL (sd)", "seconds"]
    cells = [[row[name] for name in ("method", "modes", "modes (sd)", "KL", "KL (sd)", "seconds")] for row in rows]
    page.table(header, [*cells, ["real images", real[0], None, real[1], None, None]])
    page.text(
        f"{config.n:,} samples of each, {config.images:,} training images; seconds of one CPU core or of the GPU per "
        f"training, samples included. The classifier reads {right:.1%} of single test images rightly."
    )
    if config.data == "stacked-mnist":
        published = ((name, *values) for name, values in PUBLISHED.items())
        page.section("Published figures of other networks").table(["method", "modes", "KL, nats"], published)
    finish(config.out, page, {"methods": rows, "real": dict(zip(("modes", "KL"), real)), "classifier": right})


def grey(config: Config) -> genlab.DataOptions:
    """The data of which three images are stacked.

    Raises:
        ValueError: the data are not stacked.
    """
    kind, _, name = config.data.partition(":")
    if config.data != "stacked-mnist" and (kind != "stacked" or not name):
        raise ValueError(f"--data must be stacked-mnist or stacked:NAME, as in stacked:digits, got {config.data!r}")
    return genlab.DataOptions(name or "mnist", channels=1, data_root=config.data_root)


def experiment(method: Any, data: genlab.DataOptions, seed: int, config: Config) -> genlab.Experiment:
    options = {"images": config.images, "batch": 32, "half_life": max(1, config.images // 50), "seed": seed}
    return genlab.Experiment(replace(method, width=config.width), data, schedule="cosine", **options)


def with_channels(stacks: Tensor) -> Tensor:
    """(N, 3, H, W) -> (4 N, 3, H, W): each image, then its channels in grey."""
    return torch.cat([stacks[:, None], stacks[:, :, None].expand(-1, -1, 3, -1, -1)], 1).flatten(0, 1)


@torch.no_grad()
def modes(images: Iterable[Tensor], judge: Callable[[Tensor], Tensor], k: int) -> tuple[int, float]:
    """The number of combinations of `k` classes in the channels of images (n, 3, H, W), and their KL from even shares.

    judge: (n, 1, H, W) -> logits (n, k).
    """
    counts = torch.zeros(k**3, dtype=torch.double)
    for x in images:
        a, b, c = (judge(channel.contiguous()).argmax(1).cpu() for channel in x.split(1, dim=1))
        counts += torch.bincount((a * k + b) * k + c, minlength=k**3)
    return int((counts > 0).sum()), kl_to_uniform(counts / counts.sum())


def figures(found: list[tuple[int, float]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds."""
    drawn, divergences = zip(*found)
    modes_, kl = spread(drawn), spread(divergences)
    return {"modes": modes_[0], "modes (sd)": modes_[1], "KL": kl[0], "KL (sd)": kl[1], "modes of the seeds": [*drawn]}


if __name__ == "__main__":
    start(main, Config)
