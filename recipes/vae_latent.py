"""The latents of a VAE beside those of an auto-encoder (the same without the KL term), and a mixture of Gaussians.

python recipes/vae_latent.py                                     # scikit-learn's digits, minutes on one core
python recipes/vae_latent.py --data mnist --data-root DIR --images 600000 --width 32 --covariance diag
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Length, Width
from genlab.experiment import check_all
from genlab.latent.walks import interpolate, plane, traverse
from genlab.likelihood.gaussian import kl_to_standard_normal
from genlab.likelihood.mixture import Mixture
from genlab.likelihood.units import likelihood
from genlab.methods.classification.features import default_features
from genlab.methods.likelihood.vae import VAEConfig
from genlab.metrics.features import PixelFeatures
from genlab.metrics.memorisation import nearest_image
from genlab.metrics.sharpness import sharpness
from genlab.reporting.grid import grid_png
from genlab.reporting.plots import curves

METHODS = {"VAE": {}, "auto-encoder": {"beta": 0.0}, "Gaussian VAE": {"pixels": "gaussian"}}


@dataclass(frozen=True)
class Config:
    data: genlab.DataOptions = field(default_factory=genlab.DataOptions)
    images: Length = 120_000  # length of each training
    width: Width = 16  # channels at the finest level
    components: Width = 10  # Gaussians in the mixture
    covariance: Literal["full", "diag"] = "full"  # of the mixture
    n: Count = 300  # samples and pairs that are measured
    out: Path = Path("runs/vae-latent")


def main(config: Config) -> None:
    training, models = genlab.TrainOptions(config.images, schedule="cosine"), {}
    plan = {
        name: genlab.Experiment(VAEConfig(latent=10, width=config.width, **options), config.data, **vars(training))
        for name, options in METHODS.items()
    }
    check_all(plan.values())
    train, test = (config.data.load(split) for split in ("train", "test"))
    if config.components > len(train):
        raise ValueError(f"--components must be at most {len(train)}, one per image, got {config.components}")
    features, page, x = default_features(config.data), genlab.Report("Latents"), test.x[: config.n]
    for name, each in plan.items():
        models[name] = each.run(config.out / name, pictures=1)
    torch.set_grad_enabled(False)
    vae, sure = models["VAE"], lambda x: float(features.logits(features(x)).softmax(1).amax(1).mean())
    two = kl_to_standard_normal(*vae.posterior(x)).mean(0).argsort(descending=True).tolist()[:2]
    sliders = vae.decode(traverse(torch.zeros(10, device=x.device), two, plane(10)))
    page.section("The two of ten dimensions with the largest KL, from -3 to 3").picture(grid_png(sliders, 10))
    a, b = (images[test.labels[: config.n] != test.labels[-config.n :]] for images in (x, test.x[-config.n :]))
    ways = {name: m.decode(interpolate(m.encode(a), m.encode(b), 9)) for name, m in list(models.items())[:2]}
    middle = {name: sure(way[4::9]) for name, way in {"pixels": interpolate(a, b, 9), **ways}.items()}
    page.section("Between two classes").table(["way through", "classifier's confidence in the middle"], middle.items())
    for name, way in ways.items():
        page.picture(grid_png(way[:72], 9), name)
    logs = {name: genlab.Run(config.out / name).metrics() for name in models}
    noise = {name: [[row[k] for row in log] for k in ("images", "posterior_std")] for name, log in logs.items()}
    page.section("Without the KL term the variance vanishes")
    page.picture(curves(noise, x="images", y="posterior_std", log=True))
    mixture, rows = Mixture.fit(train, config.components, config.covariance), []
    drawn = {name: m.sample(config.n).to(x) for name, m in {**models, "mixture": mixture}.items()}
    spoilt = {"test, shifted": x.roll(1, 3), "test, blurred": (x + x.roll(1, 3)) / 2, "test, VAE": vae.reconstruct(x)}
    near = lambda y: float(nearest_image(y.flatten(1), train, PixelFeatures())[0].median())
    page.section("Samples, and what pixel error does not see", "Nearest: distance to the nearest training image.")
    for name, y in {"test": x, **spoilt, **drawn}.items():
        rows.append([name, sharpness(y), near(y), sure(y), float((y - x).square().mean()) if name in spoilt else ""])
        page.picture(grid_png(y[:64]), name)
    page.table(["images", "sharpness", "nearest", "confidence", "pixel error"], rows)
    bits = {"mixture": likelihood(mixture.log_prob, test), "Gaussian VAE": models["Gaussian VAE"].evaluate(test)}
    page.table(["model of 8-bit pixels", "bits/dim"], [[name, found["bits_per_dim"]] for name, found in bits.items()])
    found = {"middle": middle, "posterior_std": noise, "images": rows, "likelihood": bits}
    print(middle, *rows, bits, sep="\n")
    write_atomically(config.out / "results.json", json.dumps(found).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
