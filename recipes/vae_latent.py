"""The latents of a VAE beside those of the same auto-encoder without the KL term, and a mixture of Gaussians.

The weight of the KL term is one at which reconstructions of validation images keep their class: of a VAE whose code
says little, images half-way between two codes say nothing either.

python recipes/vae_latent.py                                     # scikit-learn's digits, minutes on one core
python recipes/vae_latent.py --data mnist --data-root DIR --images 600000 --width 32 --covariance diag
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Count, Length, Seed, Weight, Width
from genlab.data import Images
from genlab.experiment import check_all
from genlab.latent.walks import interpolate, plane, traverse
from genlab.likelihood.gaussian import kl_to_standard_normal
from genlab.likelihood.mixture import Mixture
from genlab.likelihood.units import likelihood
from genlab.methods.classification.features import default_features
from genlab.methods.likelihood.vae import VAEConfig
from genlab.metrics.features import ClassifierFeatures, PixelFeatures
from genlab.metrics.memorisation import nearest_image
from genlab.metrics.sharpness import sharpness
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import labelled_grid_png, picture_png
from genlab.reporting.plots import curves

LATENT = 10  # dimensions of every code
STEPS = 9  # images of a walk from one code to another
NEIGHBOURS = 5000  # training images of which the nearest is looked up


@dataclass(frozen=True)
class Config:
    """What the KL term of a VAE is for: codes to draw from and to walk between."""

    data: genlab.DataOptions = field(default_factory=genlab.DataOptions)
    """which images"""
    images: Length = 60_000
    """length of each training"""
    beta: Weight = 0.3
    """weight of the KL term; the VAE whose likelihood is measured has 1"""
    width: Width = 16
    """channels at the finest level"""
    components: Width = 10
    """Gaussians in the mixture"""
    covariance: Literal["full", "diag"] = "full"
    """covariance matrices of the mixture"""
    n: Count = 300
    """samples and pairs that are measured"""
    classifier_images: Length | None = None
    """training length of the classifier that is asked; none: 60 epochs, at most 100,000"""
    out: Path = Path("runs/vae-latent")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of the trainings"""


def main(config: Config) -> None:
    train, test = config.data.load("train"), config.data.load("test")
    if config.components > len(train):
        raise ValueError(f"--components must be at most {len(train)}, one per image, got {config.components}")
    models = train_models(config)
    judge = default_features(config.data, images=config.classifier_images)
    mixture = Mixture.fit(train, config.components, config.covariance)
    page = genlab.Report("Latents of a VAE")
    with torch.no_grad():
        walks = interpolations(page, models, judge, train, test, config.n)
        show_dimensions(page, models["VAE"], test.x[: config.n])
        results = {
            "interpolation": walks,
            "posterior_std": posterior_std(page, config),
            "images": samples(page, {**models, "mixture": mixture}, judge, train, test.x[: config.n]),
            "likelihood": likelihoods(page, mixture, test, config),
        }
    finish(config.out, page, results)


def train_models(config: Config) -> dict[str, Any]:
    methods = {
        "VAE": VAEConfig(latent=LATENT, width=config.width, beta=config.beta),
        "auto-encoder": VAEConfig(latent=LATENT, width=config.width, beta=0.0),
        "Gaussian VAE": VAEConfig(latent=LATENT, width=config.width, pixels="gaussian"),
    }
    plan = {
        name: genlab.Experiment(method, config.data, images=config.images, seed=config.seed)
        for name, method in methods.items()
    }
    check_all(plan.values())
    return {name: experiment.run(config.out / name, pictures=1) for name, experiment in plan.items()}


def show_dimensions(page: genlab.Report, vae: Any, x: Tensor) -> None:
    """The plane of the two dimensions of the code in which most is encoded."""
    kl = kl_to_standard_normal(*vae.posterior(x)).mean(0)
    first, second = kl.argsort(descending=True).tolist()[:2]
    codes = traverse(torch.zeros(LATENT, device=x.device), (first, second), plane(10))
    page.section(f"The two of {LATENT} dimensions with the largest KL, from -3 to 3")
    steps = [f"{value:.1f}" for value in torch.linspace(-3, 3, 10)]
    page.picture(labelled_grid_png(vae.decode(codes), 10, rows=steps[::-1], heads=steps))


def posterior_std(page: genlab.Report, config: Config) -> dict[str, Any]:
    """The standard deviation of the encoder's Gaussians during training, with and without the KL term."""
    curve = {}
    for name in ("VAE", "auto-encoder"):
        log = genlab.Run(config.out / name).metrics()
        curve[name] = ([row["images"] for row in log], [row["posterior_std"] for row in log])
    page.section("Without the KL term the posterior's standard deviation vanishes")
    page.picture(curves(curve, x="images", y="posterior standard deviation", log=True))
    page.table(["model", "at the end of training"], [[name, values[-1]] for name, (_, values) in curve.items()])
    return {name: {"images": images, "std": values} for name, (images, values) in curve.items()}


def interpolations(
    page: genlab.Report, models: dict[str, Any], judge: ClassifierFeatures, train: Images, test: Images, n: int
) -> list[dict[str, Any]]:
    """Half-way between images of two classes: is there one that a classifier is sure of, and that resembles real ones?

    A blurred decoder is unsure everywhere, and one that draws the same digit from every code is sure everywhere. So the
    half-way images are compared with the ends of the same walks, which are reconstructions and must keep their class.
    """
    first, last = test.subset(slice(0, n)), test.subset(slice(-min(n, len(test)), None))
    differ = first.labels != last.labels
    a, b = first.x[differ], last.x[differ]
    labels = torch.cat([first.labels[differ], last.labels[differ]])
    walks, few = {"pixels": interpolate(a, b, STEPS)}, train.subset(slice(0, NEIGHBOURS))
    for name in ("VAE", "auto-encoder"):
        model = models[name]
        walks[name] = model.decode(interpolate(model.encode(a), model.encode(b), STEPS))
    rows = [{"interpolation of": name} | measure_walks(walk, labels, judge, few) for name, walk in walks.items()]
    way = [i / (STEPS - 1) for i in range(STEPS)]
    lines = {name: (way, [confidence(judge, walk[i::STEPS]) for i in range(STEPS)]) for name, walk in walks.items()}
    page.section("Between images of two classes", walks_message(rows))
    page.picture(curves(lines, x="way from one code to the other", y="confidence"))
    page.text(
        "Confidence: a classifier's mean largest probability; at the ends it is that of reconstructions. Class kept: "
        "the share of these that the classifier takes for the class of their image. Nearest: mean distance of the "
        "classifier's features to those of the nearest training image."
    )
    page.table(list(rows[0]), map(dict.values, rows))
    for name, walk in walks.items():
        ends = ["one", *[""] * (STEPS // 2 - 1), "half-way", *[""] * (STEPS - STEPS // 2 - 2), "other"]
        page.picture(labelled_grid_png(walk[: 8 * STEPS], STEPS, heads=ends), name)
    return rows


def measure_walks(walk: Tensor, labels: Tensor, judge: ClassifierFeatures, train: Images) -> dict[str, float]:
    """Figures of the ends and the middles of walks (N STEPS, C, H, W); labels (2 N,) of the images at both ends."""
    ends, middle = torch.cat([walk[::STEPS], walk[STEPS - 1 :: STEPS]]), walk[STEPS // 2 :: STEPS]
    found = {"class kept, ends": float((judge.logits(judge(ends)).argmax(1) == labels).float().mean())}
    for what, measure in {"confidence": confidence, "nearest": partial(nearest_features, train=train)}.items():
        found |= {f"{what}, ends": measure(judge, ends), f"{what}, half-way": measure(judge, middle)}
    return found | {"confidence lost": found["confidence, ends"] - found["confidence, half-way"]}


def nearest_features(judge: ClassifierFeatures, x: Tensor, train: Images) -> float:
    return float(nearest_image(judge(x), train, judge)[0].mean())


def walks_message(rows: list[dict[str, Any]]) -> str:
    """What the KL term does to the images half-way, in a sentence."""
    of = {row["interpolation of"]: row for row in rows}
    parts = [
        f"{name}: {of[name]['confidence, ends']:.0%} at the ends, which keep their class in "
        f"{of[name]['class kept, ends']:.0%}, {of[name]['confidence, half-way']:.0%} half-way"
        for name in ("VAE", "auto-encoder")
    ]
    less = of["VAE"]["confidence lost"] < of["auto-encoder"]["confidence lost"]
    return f"With the KL term the classifier loses {'less' if less else 'more'} of its confidence: {'; '.join(parts)}."


def samples(
    page: genlab.Report, models: dict[str, Any], judge: ClassifierFeatures, train: Images, x: Tensor
) -> list[dict[str, Any]]:
    """Test images, changed ones whose pixel error is known, and samples, by measures that need no partner."""
    shifted = x.roll(1, dims=3)
    changed = {"test, shifted": shifted, "test, blurred": (x + shifted) / 2, "test, VAE": models["VAE"].reconstruct(x)}
    drawn = {name: model.sample(len(x)).to(x) for name, model in models.items()}
    header = ["images", "sharpness", "nearest", "confidence", "pixel error"]
    rows = []
    page.section(
        "Samples, and what pixel error does not see",
        "Nearest: median distance to the nearest training image; pixel error: mean square.",
    )
    sets = {"test": x, **changed, **drawn}
    for name, images in sets.items():
        distances, _ = nearest_image(images.flatten(1), train, PixelFeatures())
        error = float((images - x).square().mean()) if name in changed else None
        rows.append([name, sharpness(images), float(distances.median()), confidence(judge, images), error])
    page.picture(picture_png(in_rows({name: images[:10] for name, images in sets.items()})))
    page.table(header, [["" if value is None else value for value in row] for row in rows])
    return records(header, rows)


def likelihoods(page: genlab.Report, mixture: Mixture, test: Images, config: Config) -> list[dict[str, Any]]:
    header = ["model of 8-bit pixels", "bits/dim"]
    rows = [
        ["mixture", likelihood(mixture.log_prob, test)["bits_per_dim"]],
        ["Gaussian VAE", genlab.Run(config.out / "Gaussian VAE").results()["bits_per_dim"]],
    ]
    page.section("Likelihood of test images", "Lower is better; both are bounds from above.").table(header, rows)
    return records(header, rows)


def confidence(judge: ClassifierFeatures, x: Tensor) -> float:
    """The mean over the images x of the largest probability that the classifier gives to a class."""
    return float(judge.logits(judge(x)).softmax(1).amax(1).mean())


if __name__ == "__main__":
    start(main, Config)
