"""Class-conditional diffusion: steps of the samplers, guidance, likelihood, and holes filled beside a PixelCNN.

python recipes/diffusion_mnist.py                                # scikit-learn's digits, minutes on one core
python recipes/diffusion_mnist.py --data mnist --data-root DIR --patch 2 --images 300000
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.picture import Picture, in_rows
from genlab.core.ranges import Count, Length, NonEmpty, Range, Seed, Side, Steps, Weight, Width
from genlab.data import Images
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.diffusion import samplers
from genlab.methods.diffusion.denoising import HIGHEST
from genlab.methods.diffusion.diffusion import DiffusionConfig
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig
from genlab.metrics.comparison import measure
from genlab.metrics.extract import extract_features, samples, shuffled
from genlab.metrics.features import ClassifierFeatures
from genlab.reporting.finish import finish
from genlab.reporting.labelled import picture_png
from genlab.reporting.plots import bars

SHOWN = 10  # images per row


@dataclass(frozen=True)
class Config:
    """Diffusion on labelled images: quality by steps and guidance, bits/dim by steps, completion."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    width: Width = 32
    """channels of the U-Net at the finest level"""
    patch: Side = 1
    """side of the squares of pixels that are one position of that level"""
    images: Length = 120_000
    """length of the diffusion's training; the PixelCNN has a fifth"""
    steps: NonEmpty[Steps] = (2, 4, 8, 18)
    """steps of the samplers"""
    guidance: NonEmpty[Weight] = (0.0, 1.0, 2.0, 4.0)
    """weights of classifier-free guidance"""
    n: Annotated[int, Range(2, 10**6)] = 1000
    """samples per FID"""
    solver_steps: NonEmpty[Steps] = (10, 20, 40)
    """steps of the solver of the likelihood"""
    measured: Count = 100
    """held-out images whose likelihood is measured"""
    classifier_images: Length | None = None
    """training length of the classifier that judges; none: 60 epochs, at most 100,000"""
    out: Path = Path("runs/diffusion-mnist")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of every training and of all samples"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    diffusion = genlab.Experiment(
        DiffusionConfig(width=config.width, patch=config.patch, conditional=True, likelihood_images=0),
        data,
        images=config.images,
        seed=config.seed,
    )
    pixel_cnn = genlab.Experiment(
        AutoregressiveConfig("gated", levels=17, width=config.width, layers=3, conditional=True, lr=2e-3),
        data,
        images=max(1, config.images // 5),
        seed=config.seed,
        half_life=5_000,
    )
    check_all([diffusion, pixel_cnn])
    test, features = data.load("test"), default_features(data, images=config.classifier_images)
    model: Any = diffusion.run(config.out / "diffusion", pictures=1)
    other: Any = pixel_cnn.run(config.out / "pixelcnn", pictures=1)
    page = genlab.Report(f"Diffusion on {config.data}")

    by_steps, pictures = sampled_by_steps(model, test, features, config)
    page.section("Steps", "FID of samples, guidance 1; a pass is one evaluation of the network for one image.")
    page.table(list(by_steps[0]), (row.values() for row in by_steps))
    page.picture(picture_png(pictures), "by Heun's method, from the same noise")

    by_guidance, pictures = sampled_by_guidance(model, test, features, config)
    page.section("Guidance", "Accuracy: of the classifier, on the class that was asked for.")
    page.table(list(by_guidance[0]), (row.values() for row in by_guidance))
    page.picture(picture_png(pictures), "from the same noise; a class each")

    by_likelihood = likelihoods(model, test, config)
    page.section("Likelihood", "By the probability-flow ODE, on held-out images; ± is the standard error.")
    page.table(list(by_likelihood[0]), (row.values() for row in by_likelihood))

    page.section("Completion", "Of held-out images, given the class.")
    page.picture(picture_png(completed(model, other, test)))
    fid = next(name for name in by_steps[0] if name.startswith("FID"))
    best = min(by_steps, key=lambda row: row[fid])
    page.opening(
        f"The best samples, {fid} {best[fid]:.2f}, take {best['passes']} passes of the network ({best['sampler']}).",
        bars({f"{row['sampler']}, {row['passes']} passes": [row[fid]] for row in by_steps}, x=fid),
    )
    finish(config.out, page, {"steps": by_steps, "guidance": by_guidance, "likelihood": by_likelihood})


def sampled_by_steps(
    model: Any, test: Images, features: ClassifierFeatures, config: Config
) -> tuple[list[dict[str, Any]], Picture]:
    """A row per sampler and number of steps, and images of Heun's method from the same noise."""
    rows, pictures = [], {}
    torch.manual_seed(config.seed)
    z = model.latents(SHOWN)
    for steps in config.steps:
        for name in ("heun", "ddim", "ddpm"):
            started = time.process_time()
            quality = fid(partial(fresh, model, name, steps), test, features, config)
            spent = 1e3 * (time.process_time() - started) / config.n
            passes = 2 * steps - 1 if name == "heun" else steps
            rows.append({"sampler": name, "steps": steps, "passes": passes, **quality, "ms/image": spent})
        pictures[f"{steps} steps"] = drawn_by(model, "heun", steps, z)
    return rows, in_rows(pictures)


def fresh(model: Any, name: samplers.SamplerName, steps: int, n: int) -> Tensor:
    """n images in [0, 1] by a sampler of that name."""
    return drawn_by(model, name, steps, model.latents(n))


@torch.no_grad()
def drawn_by(model: Any, name: samplers.SamplerName, steps: int, z: Tensor) -> Tensor:
    """Noise z -> images in [0, 1] by a sampler of that name."""
    denoise = model.denoiser(model.condition(len(z), None), 1.0)
    *_, x = samplers.steps(name, denoise, HIGHEST * z, model.levels(steps))
    return (x / 2 + 0.5).clamp(0, 1)


def sampled_by_guidance(
    model: Any, test: Images, features: ClassifierFeatures, config: Config
) -> tuple[list[dict[str, Any]], Picture]:
    """A row per weight, and images from the same noise."""
    rows, pictures = [], {}
    torch.manual_seed(config.seed)
    z = model.latents(SHOWN)
    for weight in config.guidance:
        quality = fid(partial(model.sample, guidance=weight), test, features, config)
        x = model.sample(200, guidance=weight)
        right = features.logits(features(x)).argmax(1) == model.condition(200, None)
        rows.append({"guidance": weight, **quality, "accuracy": float(right.float().mean())})
        pictures[f"guidance {weight:g}"] = model.decode(z, guidance=weight)
    return rows, in_rows(pictures)


def fid(draw: Any, test: Images, features: ClassifierFeatures, config: Config) -> dict[str, float]:
    real = extract_features(shuffled(test), features)
    return measure("FID", real, extract_features(samples(draw, config.n, config.seed), features))


def likelihoods(model: Any, test: Images, config: Config) -> list[dict[str, Any]]:
    """Bits/dim of held-out images by the number of steps of the solver."""
    x = test.subset(slice(0, config.measured)).x
    rows = []
    for steps in config.solver_steps:
        torch.manual_seed(config.seed)
        bits = -model.log_prob(x, steps=steps).double() / (x[0].numel() * torch.tensor(2.0).log())
        error = float(bits.std()) / len(bits) ** 0.5 if len(bits) > 1 else 0.0
        rows.append({"solver steps": steps, "bits/dim": float(bits.mean()), "±": error})
    return rows


def completed(model: Any, other: Any, test: Images) -> Picture:
    """Images with the middle half missing, filled in by both models, and as they are."""
    some = test.subset(slice(0, SHOWN))
    side = some.shape[1]
    rows = torch.arange(side, device=some.device)
    known = ((rows < side // 4) | (rows >= side - side // 4))[None, :, None].expand(1, *some.shape[1:])
    hole = torch.where(known, some.x, 0.5)
    models = {"diffusion": model, "gated PixelCNN": other}
    filled = {name: each.complete(some.x, known, labels=some.labels) for name, each in models.items()}
    return in_rows({"given": hole, **filled, "original": some.x})


if __name__ == "__main__":
    start(main, Config)
