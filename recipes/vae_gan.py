"""Sharp or blurred: an auto-encoder, a VAE, VAE-GANs with two and three classes of the discriminator (Larsen et al.
2016, arXiv:1512.09300), and a GAN, with networks of one width.

Measured are FID and sharpness of samples and reconstructions, over seeds. The auto-encoder's decoder is a generator,
too: fed with noise as the others, or with codes from a Gaussian fitted to those of the training images. It and the VAE
see three times as many images, as their steps take a third of the time. Then z is swept: in a GAN's latent space
nothing asks for regular change.

python recipes/vae_gan.py                                   # scikit-learn's digits, minutes on one core
python recipes/vae_gan.py --data mnist --data-root DIR --images 200000
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

import genlab
from genlab.cli.main import start
from genlab.core.ranges import LearningRate, Length, Range, Seeds, Side, Width
from genlab.core.text import counted
from genlab.experiment import check_all
from genlab.latent.regularity import common_effect, largest_step
from genlab.latent.walks import plane, spherical, traverse
from genlab.methods.classification.features import default_features
from genlab.methods.gan.gan import GANConfig
from genlab.methods.gan.vae_gan import VAEGANConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.metrics.comparison import measure
from genlab.metrics.extract import extract_features
from genlab.metrics.features import ClassifierFeatures
from genlab.metrics.sharpness import sharpness
from genlab.reporting.finish import finish
from genlab.reporting.labelled import labelled_grid_png
from genlab.reporting.spread import over_seeds, plus_minus

AUTO_ENCODER, VAE, BEST, GAN = "auto-encoder", "VAE", "VAE-GAN", "GAN"
LONGER = {AUTO_ENCODER: 3, VAE: 3}
SHOWN, SIDE, REACH = 10, 8, 2.5  # images per row; of a plane of z, SIDE x SIDE from -REACH to REACH
LINES = 200  # and codes, at which the latent space is measured
FIGURES = {  # of `judged` -> digits after the point
    "FID": 1,
    "sharpness": 2,
    "sharpness, reconstructed": 2,
    "error": 3,
}
REGULARITY = {"largest step": 2, "class changes": 2, "common effect": 2}  # of `regularity`


@dataclass(frozen=True)
class Config:
    """FID, sharpness and sweeps of VAE, VAE-GAN and GAN."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = None
    """height and width of the images in pixels; none: as in the data set"""
    width: Width = 16
    """channels of the networks' finest level"""
    latent: Width = 16
    """dimensions of z"""
    images: Length = 20_000
    """length of every training; of the VAE's three times as many"""
    lr: LearningRate = 1e-3
    """learning rate of every model"""
    n: Annotated[int, Range(20, 10**6)] = 1000
    """samples that are measured"""
    classifier_images: Length | None = None
    """training length of the classifier whose features FID compares; none: 60 epochs, at most 100,000"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/vae-gan")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, data_root=config.data_root)
    nets: dict[str, Any] = {"width": config.width, "latent": config.latent, "lr": config.lr}
    methods: dict[str, Any] = {
        AUTO_ENCODER: VAEConfig(**nets, beta=0.0, evaluation_samples=1),
        VAE: VAEConfig(**nets, evaluation_samples=1),
        BEST: VAEGANConfig(**nets),
        "VAE-GAN, three classes": VAEGANConfig(**nets, kinds=3),
        GAN: GANConfig(**nets, hidden=0, lr_generator=config.lr),
    }
    plan = {
        seed: {name: experiment(name, method, data, seed, config) for name, method in methods.items()}
        for seed in config.seeds
    }
    check_all(plan[config.seeds[0]].values())
    features, test = default_features(data, images=config.classifier_images), data.load("test").x
    found: dict[str, list[dict[str, float]]] = {}
    models: dict[str, Any] = {}
    for seed, experiments in plan.items():
        for name, each in experiments.items():
            folder = config.out / f"{name.lower().replace(',', '').replace(' ', '-')}-{seed}"
            models[name] = each.run(folder, pictures=1)
        models[f"{AUTO_ENCODER}, fitted codes"] = FittedCodes(models[AUTO_ENCODER], data.load("train"))
        for name, model in models.items():
            found.setdefault(name, []).append(judged(model, test, features, config.n))

    page = genlab.Report(f"VAE, VAE-GAN and GAN on {config.data}")
    page.section("Sharp or blurred", message(found))
    page.picture(pictures(models, test))
    page.text(
        "Sharpness: energy of the Laplacian, real images 1; error: mean squared, per pixel, of reconstructions. Mean "
        f"± standard deviation over {counted(config.seeds)}; pictures of the last."
    )
    page.table(["model", *FIGURES], ([name, *cells(each, FIGURES)] for name, each in found.items()))
    page.section(
        "Sweeps of z",
        "Largest step: along the great circle from one z to another in 16 equal steps, the largest change of the "
        "classifier's features relative to the mean change. Class changes: on that line. Common effect: the share of "
        "what a dimension of z changes that it changes in all images. Pictures: the two dimensions of z that change "
        f"most, from -{REACH:g} to {REACH:g}, all others fixed.",
    )
    for name in (VAE, BEST, GAN):
        page.picture(plane_of(models[name], features), name)
    swept = {name: found[name] for name in (VAE, BEST, GAN)}
    page.table(["model", *REGULARITY], ([name, *cells(each, REGULARITY)] for name, each in swept.items()))
    finish(config.out, page, [{"model": name} | over_seeds(rows) for name, rows in found.items()])


def experiment(name: str, method: Any, data: genlab.DataOptions, seed: int, config: Config) -> genlab.Experiment:
    length = config.images * LONGER.get(name, 1)
    return genlab.Experiment(method, data, images=length, batch=32, seed=seed, half_life=None)


class FittedCodes:
    """The decoder of an auto-encoder as a generator, of codes from a Gaussian fitted to those of `known` images."""

    def __init__(self, model: Any, known: genlab.Images):
        with torch.no_grad():
            codes = model.encode(known.x)
        self.decode, self.codes = model.decode, MultivariateNormal(codes.mean(0), codes.T.cov())

    def sample(self, n: int) -> Tensor:
        return self.decode(self.codes.sample((n,)))


@torch.no_grad()
def judged(model: Any, test: Tensor, features: ClassifierFeatures, n: int) -> dict[str, float]:
    """FIGURES, those of reconstructions of models that have any; sharpness relative to real images (N, C, H, W)."""
    torch.manual_seed(0)
    real, drawn = extract_features(test.split(256), features), model.sample(n)
    fid = measure("FID", real, extract_features(drawn.split(256), features))[f"FID[{features.name}]"]
    found = {"FID": fid, "sharpness": sharpness(drawn) / sharpness(test)}
    if hasattr(model, "reconstruct"):
        again = model.reconstruct(test)
        found["sharpness, reconstructed"] = sharpness(again) / sharpness(test)
        found["error"] = float((again - test).square().mean())
    return found | (regularity(model, features) if hasattr(model, "latent") else {})


def regularity(model: Any, features: ClassifierFeatures) -> dict[str, float]:
    """REGULARITY of a model with normal z."""
    a, b = torch.randn(2, LINES, model.latent)
    seen = lambda codes: features(decoded(model, codes))
    classes = features.logits(seen(spherical(a, b, 17))).argmax(1).view(LINES, 17)
    return {
        "largest step": float(largest_step(seen, a, b).mean()),
        "class changes": float((classes.diff(dim=1) != 0).sum(1).float().mean()),
        "common effect": common_effect(seen, a)[0],
    }


def decoded(model: Any, z: Tensor) -> Tensor:
    """z (N, latent) -> images (N, C, H, W)."""
    return model.decode(z) if hasattr(model, "decode") else model.decoder(z)


def cells(rows: list[dict[str, float]], figures: dict[str, int]) -> list[str | None]:
    return [
        plus_minus((each[figure] for each in rows), f".{digits}f") if figure in rows[0] else None
        for figure, digits in figures.items()
    ]


def message(found: dict[str, list[dict[str, float]]]) -> str:
    of = {name: {figure: mean(each[figure] for each in rows) for figure in rows[0]} for name, rows in found.items()}
    vae, best = of[VAE], of[BEST]
    return (
        f"Samples of an auto-encoder's decoder have FID {of[AUTO_ENCODER]['FID']:.3g}, of a GAN {of[GAN]['FID']:.3g}. "
        f"Those of the VAE have {vae['sharpness']:.0%} of the sharpness of real images and FID "
        f"{vae['FID']:.3g}, those of the VAE-GAN {best['sharpness']:.0%} and {best['FID']:.3g}; their errors "
        f"are {vae['error']:.3f} and {best['error']:.3f}."
    )


@torch.no_grad()
def pictures(models: dict[str, Any], test: Tensor) -> bytes:
    """Real images, reconstructions of them, and samples."""
    x = test[:SHOWN]
    rows = {"real": x}
    torch.manual_seed(0)
    for name, model in models.items():
        if hasattr(model, "reconstruct"):
            rows[f"{name}: reconstructions"] = model.reconstruct(x)
        rows[f"{name}: samples"] = model.sample(SHOWN)
    return labelled_grid_png(torch.cat(list(rows.values())), SHOWN, rows=tuple(rows))


@torch.no_grad()
def plane_of(model: Any, features: ClassifierFeatures) -> bytes:
    """The plane of the two dimensions of z in which the features change most; the others as in one draw."""
    torch.manual_seed(0)
    z = torch.randn(LINES, model.latent)
    sizes = common_effect(lambda codes: features(decoded(model, codes)), z)[1]
    first, second = sizes.topk(2).indices.tolist()
    codes = traverse(z[0], (first, second), plane(SIDE, -REACH, REACH))
    return labelled_grid_png(decoded(model, codes), SIDE)


if __name__ == "__main__":
    start(main, Config)
