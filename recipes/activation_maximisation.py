"""Activation maximisation: images for which a classifier's logit of a class is as large as possible.

The image is optimised pixel by pixel, pixel by pixel with an L1 penalty (one for all images, or for each the mean size
of its gradient), and through the decoder of a VAE. A second classifier, trained from another seed, says whether it sees
the intended class, too. A class that both see in a black image needs hardly any ink under the penalty.

python recipes/activation_maximisation.py                        # scikit-learn's digits, a minute on one core
python recipes/activation_maximisation.py --data mnist --data-root DIR
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, Seed
from genlab.data import Images
from genlab.experiment import check_all
from genlab.explain.gradients import input_gradient
from genlab.explain.maximise import maximise, maximise_through
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import labelled_grid_png

HEADER = ["optimised over", "classified as intended", "by the second classifier", "mean pixel", "of the faintest class"]


@dataclass(frozen=True)
class Config:
    """Images that maximise a classifier's logit, class by class."""

    data: genlab.DataOptions = genlab.DataOptions()
    """which images"""
    images: Length = 60_000
    """length of each training"""
    each: Count = 4
    """images per class"""
    out: Path = Path("runs/activation-maximisation")
    """folder of the runs and the report"""
    seed: Seed = 0
    """seed of the trainings and of the images that are optimised; the second classifier has the next one"""


def main(config: Config) -> None:
    models = train(config)
    classifier, second = models["classifier"], models["second classifier"]
    test = config.data.load("test")
    classes = torch.arange(len(test.classes), device=test.device).repeat(config.each)
    torch.manual_seed(config.seed)

    images = optimised(classifier, models["vae"], classes, test.shape)
    rows = [[name, *measured(classifier, second, x, classes)] for name, x in images.items()]
    page = genlab.Report("Activation maximisation")
    page.section("Images that please the classifier", message(rows))
    page.picture(picture(images, second, test.classes))
    page.text(
        "Columns: the class whose logit is maximised. Under an image: what the second classifier takes it for. "
        + of_black(classifier, test)
    )
    page.section("Share of the images classified as intended").table(HEADER, rows)
    finish(config.out, page, records(HEADER, rows))


def train(config: Config) -> dict[str, Any]:
    train = {"images": config.images, "seed": config.seed}
    plan = {
        "classifier": genlab.Experiment(ClassifierConfig(), config.data, **train),
        "second classifier": genlab.Experiment(ClassifierConfig(), config.data, **train | {"seed": config.seed + 1}),
        "vae": genlab.Experiment(VAEConfig(width=32, latent=16, evaluation_samples=1), config.data, **train),
    }
    check_all(plan.values())
    return {name: each.run(config.out / name.replace(" ", "-"), pictures=0) for name, each in plan.items()}


def optimised(classifier: Any, vae: Any, classes: Tensor, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """The images (N, *shape) for the classes (N,), by what is optimised."""
    dark = 0.1 * torch.rand(len(classes), *shape, device=classes.device)
    z = torch.randn(len(classes), vae.latent, device=classes.device)
    penalty = input_gradient(classifier, dark, classes).abs().mean((1, 2, 3))  # of a pixel, on average
    return {
        "pixels": maximise(classifier, classes, dark),
        "pixels, one L1 penalty for all": maximise(classifier, classes, dark, l1=float(penalty.mean())),
        "pixels, L1 penalty": maximise(classifier, classes, dark, l1=penalty),
        "latents of a VAE": maximise_through(classifier, classes, vae.decode, z),
    }


@torch.no_grad()
def measured(classifier: Any, second: Any, x: Tensor, classes: Tensor) -> list[float]:
    """Shares of the images x (N, C, H, W) in which both classifiers see the intended classes (N,); mean pixel of all
    and of the class whose images are darkest."""
    shares = [float((model(x).argmax(1) == classes).float().mean()) for model in (classifier, second)]
    by_class = [float(x[classes == label].mean()) for label in classes.unique()]
    return [*shares, float(x.mean()), min(by_class)]


def message(rows: list[list[Any]]) -> str:
    agreed = ", ".join(f"{share:.0%} of those over {name}" for name, _, share, *_ in rows)
    return f"A second classifier agrees with {agreed}."


@torch.no_grad()
def of_black(classifier: Any, test: Images) -> str:
    """What the classifier makes of no ink at all, in a sentence."""
    found = classifier(torch.zeros_like(test.x[:1])).softmax(1)[0]
    said = test.classes[int(found.argmax())]
    return f"The classifier takes an entirely black image for {said} with probability {float(found.max()):.2f}."


@torch.no_grad()
def picture(images: dict[str, Tensor], second: Any, names: Sequence[str]) -> bytes:
    x = torch.cat(list(images.values()))
    seen = [names[label] for label in second(x).argmax(1).tolist()]
    rows = [label for name, each in images.items() for label in (name, *[""] * (len(each) // len(names) - 1))]
    return labelled_grid_png(x, len(names), rows=rows, heads=names, captions=seen)


if __name__ == "__main__":
    start(main, Config)
