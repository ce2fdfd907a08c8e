"""Sharp or blurred: a VAE, VAE-GANs with two and three classes of the discriminator (Larsen et al. 2016,
arXiv:1512.09300), and a GAN, with networks of one width.

Measured are FID and sharpness of samples and reconstructions, over seeds. The VAE sees three times as many images, as
its steps take a third of the time. Then single dimensions of z are swept: in a GAN's latent space nothing asks for
regular change.

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

import genlab
from genlab.cli.main import start
from genlab.core.ranges import LearningRate, Length, Range, Seeds, Side, Width
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
from genlab.reporting.report import over_seeds, plus_minus

VAE, BEST = "VAE", "VAE-GAN"
SHOWN, DIMENSIONS, REACH = 10, 3, 2.5  # images per row; swept dimensions per model, from -REACH to REACH
FIGURES = {  # of `judged` -> digits after the point
    "FID": 1,
    "sharpness": 2,
    "sharpness, reconstructed": 2,
    "error": 3,
}


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
    test = data.load("test").x
    features = default_features(data, images=config.classifier_images)
    nets = {"width": config.width, "latent": config.latent}
    methods: dict[str, genlab.Config] = {
        VAE: VAEConfig(**nets, lr=config.lr),  # type: ignore[arg-type]
        BEST: VAEGANConfig(**nets, lr=config.lr),  # type: ignore[arg-type]
        "VAE-GAN, three classes": VAEGANConfig(**nets, kinds=3, lr=config.lr),  # type: ignore[arg-type]
        "GAN": GANConfig(**nets, hidden=0, lr=config.lr, lr_generator=config.lr),  # type: ignore[arg-type]
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    models: dict[str, Any] = {}
    for name, method in methods.items():
        for seed in config.seeds:
            length = config.images * (3 if name == VAE else 1)
            experiment = genlab.Experiment(method, data, images=length, batch=32, seed=seed, half_life=None)
            folder = config.out / f"{name.lower().replace(',', '').replace(' ', '-')}-{seed}"
            models[name] = experiment.run(folder, pictures=1)
            found[name].append(judged(models[name], test, features, config.n))

    page = genlab.Report(f"VAE, VAE-GAN and GAN on {config.data}")
    page.section("Sharp or blurred", message(found))
    page.picture(pictures(models, test))
    page.text(
        "Sharpness: energy of the Laplacian, real images 1; error: mean squared, per pixel, of reconstructions. Mean "
        f"± standard deviation over {len(config.seeds)} seeds; pictures of the last."
    )
    page.table(["model", *FIGURES], ([name, *cells(each)] for name, each in found.items()))
    page.section(
        "Sweeps of z",
        f"Rows: {DIMENSIONS} dimensions of each model, from -{REACH:g} to {REACH:g}, all others fixed.",
    )
    page.picture(sweeps(models))
    finish(config.out, page, [{"model": name} | over_seeds(rows) for name, rows in found.items()])


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
    return found


def cells(rows: list[dict[str, float]]) -> list[str | None]:
    return [
        plus_minus((each[figure] for each in rows), f".{digits}f") if figure in rows[0] else None
        for figure, digits in FIGURES.items()
    ]


def message(found: dict[str, list[dict[str, float]]]) -> str:
    of = {name: {figure: mean(each[figure] for each in rows) for figure in rows[0]} for name, rows in found.items()}
    vae, best = of[VAE], of[BEST]
    return (
        f"Samples of the VAE have {vae['sharpness']:.0%} of the sharpness of real images and FID "
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
def sweeps(models: dict[str, Any]) -> bytes:
    images, names = [], []
    for name, model in models.items():
        torch.manual_seed(0)
        z = torch.randn(model.latent, device=model.device).repeat(SHOWN, 1)
        for dimension in range(DIMENSIONS):
            codes = z.clone()
            codes[:, dimension] = torch.linspace(-REACH, REACH, SHOWN).to(codes)
            images.append(model.decode(codes) if hasattr(model, "decode") else model.decoder(codes))
            names.append(f"{name}, z{dimension + 1}")
    return labelled_grid_png(torch.cat(images), SHOWN, rows=names)


if __name__ == "__main__":
    start(main, Config)
