"""WGAN-GP beside the WGAN with clipped weights: samples and their FID, critic distance, norms of the critic's gradient.

python recipes/wgan_gp.py                                                # rendered digits, minutes on one core
python recipes/wgan_gp.py --data mnist --data-root DIR --images 1000000
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, NonEmpty, Range, Seed, Width
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.gan.losses import gradient_norms
from genlab.methods.gan.wgan import WGANConfig
from genlab.methods.gan.wgan_gp import WGANGPConfig
from genlab.metrics.comparison import measure
from genlab.metrics.extract import extract_features, samples, shuffled
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import groups_png
from genlab.reporting.plots import curves, histograms

MODELS: dict[str, Any] = {
    "wgan-gp": WGANGPConfig(lr=2e-3, hidden=256),
    "wgan-gp-resnet": WGANGPConfig(lr=1e-3, net="resnet"),
    "wgan-clipped": WGANConfig(lr=5e-4, weight_clip=0.05, n_critic=2, hidden=256),
}


@dataclass(frozen=True)
class Config:
    """Train Wasserstein GANs, with a gradient penalty or with clipped weights; measure their samples and critics."""

    data: genlab.DataOptions = field(default_factory=lambda: genlab.DataOptions("glyphs", size=16, channels=1))
    """which images; with --hold-out, validation images are measured in place of test images"""
    models: NonEmpty[Literal["wgan-gp", "wgan-gp-resnet", "wgan-clipped"]] = ("wgan-gp", "wgan-clipped")
    """what to train"""
    images: Length = 100_000
    """length of the training of each, in real images for the critic"""
    batch: Count = 32
    """images per batch"""
    width: Width = 16
    """channels of the networks"""
    n: Annotated[int, Range(2, 10**7)] = 2000
    """samples per FID"""
    classifier_images: Length | None = None
    """training length of the classifier whose features FID compares; none: 60 epochs, at most 100,000"""
    seed: Seed = 0
    """of each training"""
    out: Path = Path("runs/wgan-gp")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    plan = {name: experiment(MODELS[name], config) for name in config.models}
    check_all(plan.values())
    held_out = config.data.load("validation" if config.data.hold_out else "test")
    features = default_features(config.data, images=config.classifier_images)
    real = extract_features(shuffled(held_out), features)

    def fid(images: Iterable[Tensor]) -> float:
        return measure("FID", real, extract_features(images, features))[f"FID[{features.name}]"]

    rows, norms, distances, shown = [], {}, {}, {"real, held out": held_out.x[:36]}
    for name, each in plan.items():
        trained: Any = each.run(config.out / name, pictures=1)
        distance, norms[name] = critic_on(trained, held_out.x[:500])
        figures = distance, norms[name].mean().item(), norms[name].std().item()
        rows.append((name, fid(samples(trained.sample, config.n)), *figures))
        shown[name] = next(samples(trained.sample, 36))
        log = genlab.Run(config.out / name).metrics()
        distances[name] = [row["images"] for row in log], [row["distance"] for row in log]
    floor = fid(shuffled(config.data.load("train"), config.n))

    page = genlab.Report(f"Wasserstein GANs on {config.data.data}")
    page.text(
        f"FID[{features.name}] of {config.n:,} samples: "
        + "".join(f"{name} {value:.3g}, " for name, value, *_ in rows)
        + f"real training images {floor:.2g}."
    )
    page.picture(groups_png(shown))
    header = ["model", "FID", "distance", "gradient norm", "deviation"]
    page.section(
        "Critics",
        "Gradient norms at random points between held-out and generated images; the penalty of WGAN-GP aims at 1, "
        "clipping at nothing in particular. Distance: the mean score of held-out images less that of samples.",
    )
    page.table(header, rows)
    page.picture(histograms(norms, x="norm of the critic's gradient"))
    page.picture(curves(distances, x="real images seen", y="critic distance"), "critic distance in training")
    finish(config.out, page, records(header, rows))


def experiment(method: Any, config: Config) -> genlab.Experiment:
    how: Any = {"images": config.images, "batch": config.batch, "seed": config.seed}
    how |= {"half_life": 5_000, "schedule": "cosine", "log_every": max(1, config.images // 50)}
    return genlab.Experiment(replace(method, width=config.width), config.data, **how)


def critic_on(trained: Any, real: Tensor) -> tuple[float, Tensor]:
    """The critic's distance between `real` and as many samples, and its gradient norms between them, (N,)."""
    with torch.no_grad():
        fake = torch.cat(list(samples(trained.sample, len(real))))
        distance = trained.critic(real).mean() - trained.critic(fake).mean()
    return distance.item(), gradient_norms(trained.critic, real, fake).detach()


if __name__ == "__main__":
    start(main, Config)
