"""Gradient saturation: where a classifier is sure, the gradient says of everything that it does not matter.

The ink of held-out images is faded in. At every contrast each method says how much of the class's probability the
ink is worth: gradient times ink, SmoothGrad times ink, the sum of integrated gradients; and occlusion, of all the
ink at once, which is the truth. The logit, which saturates less, is measured too. Everything is repeated over seeds.

python recipes/gradient_saturation.py                            # scikit-learn's digits, minutes on one core
python recipes/gradient_saturation.py --data mnist --data-root DIR
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, NonEmpty, Range, Seeds, Share
from genlab.core.text import counted
from genlab.explain.gradients import Model, class_output, input_gradient, integrated_gradients, smooth_grad
from genlab.explain.occlusion import occlusion
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.finish import finish
from genlab.reporting.labelled import labelled_grid_png
from genlab.reporting.plots import curves
from genlab.reporting.spread import plus_minus, spread

GRADIENT, TRUTH = "gradient", "taken away"
SHOWN = 8  # images in the picture
METHODS: dict[str, Callable[[Model, Tensor, Tensor], Tensor]] = {  # model, x, y -> maps (N, H, W)
    GRADIENT: lambda model, x, y: (input_gradient(model, x, y) * x).sum(1),
    "SmoothGrad": lambda model, x, y: smooth_grad(model, x, y) * x.amax(1),
    "integrated gradients": integrated_gradients,
}


@dataclass(frozen=True)
class Config:
    """What the ink of an image is worth to a classifier, by contrast."""

    data: str = "digits"
    """bright images on black"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 60_000
    """length of every training of a classifier"""
    n: Count = 100
    """held-out images"""
    contrasts: NonEmpty[Share] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    """to which the ink is faded in; the table tells of the last"""
    window: Annotated[int, Range(1, 100)] = 3
    """side of the black square of the occlusion maps in the picture, in pixels"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/gradient-saturation")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    x = data.load("test").x[: config.n]
    found = []
    for seed in config.seeds:
        experiment = genlab.Experiment(ClassifierConfig(), data, images=config.images, seed=seed)
        net: Any = experiment.run(config.out / f"classifier-{seed}", pictures=0)
        found.append(worth(net, x, config.contrasts))
    with torch.no_grad():
        predicted = net(x).argmax(1)

    page = genlab.Report("Gradient saturation")
    page.section("Where the classifier is sure, the gradient vanishes", message(found))
    page.picture(figure(found, config.contrasts))
    page.text(
        f"The ink of {len(x)} held-out images, faded in, and how much of the probability of their class it is worth by "
        "each method: the map times the ink, summed. Taken away: what is lost without it; integrated gradients add up "
        "to that by construction. SmoothGrad has no sign, and overestimates. Means; bands: standard deviation over "
        f"{counted(config.seeds)}."
    )
    scales = "Of one image the first three maps are on one scale, occlusion on a scale of its own."
    page.section("Maps of the probability", scales)
    page.picture(pictures(net, x[:SHOWN], predicted[:SHOWN], config.window))
    tells = "The logit does not saturate: its gradient tells what the probability's does not."
    page.section(f"At contrast {config.contrasts[-1]:g}", tells)
    page.table(["the ink is worth, by", "probability", "logit"], table(found))
    finish(config.out, page, [row(name, found) for name in found[0]])


def worth(net: Any, x: Tensor, contrasts: Sequence[float]) -> dict[str, list[float]]:
    """By method, and after its name ", logit" for the logit: the worth of the ink of x (N, C, H, W) at every
    contrast, in mean probability of the predicted class, or in its logit."""
    with torch.no_grad():
        y = net(x).argmax(1)
    found: dict[str, list[float]] = {}
    for ending, model in {"": lambda x: net(x).softmax(1), ", logit": net}.items():
        for contrast in contrasts:
            faded = contrast * x
            with torch.no_grad():
                taken = class_output(model(faded), y) - class_output(model(torch.zeros_like(x)), y)
            values = {name: maps(model, faded, y).flatten(1).sum(1) for name, maps in METHODS.items()}
            for name, each in {TRUTH: taken, **values}.items():
                found.setdefault(name + ending, []).append(float(each.mean()))
    return found


def message(found: Sequence[dict[str, list[float]]]) -> str:
    truth, gradient = (mean(each[name][-1] for each in found) for name in (TRUTH, GRADIENT))
    return (
        f"Without its ink an image loses {100 * truth:.0f} points of the probability of its class; by the gradient at "
        f"the image it would lose {100 * gradient:.1f}."
    )


def figure(found: Sequence[dict[str, list[float]]], contrasts: Sequence[float]) -> bytes:
    lines = {}
    for name in (TRUTH, GRADIENT, "SmoothGrad"):
        bands = [spread(values) for values in zip(*(each[name] for each in found))]
        lines[name] = (contrasts, *([m + sign * s for m, s in bands] for sign in (0, -1, 1)))
    return curves(lines, x="contrast of the ink", y="worth of the ink, in probability")  # type: ignore[arg-type]


def pictures(net: Any, x: Tensor, y: Tensor, window: int) -> bytes:
    """A row of images, and a row of maps per method."""
    probability: Model = lambda x: net(x).softmax(1)
    maps = {name: method(probability, x, y).abs() for name, method in METHODS.items()}
    scale = torch.stack(list(maps.values())).amax((0, 2, 3), keepdim=True)[0]
    occluded = occlusion(net, x, y, window, 0.0).clamp(min=0)
    rows = {"images": x.mean(1), **{name: each / scale.clamp(min=1e-12) for name, each in maps.items()}}
    rows[f"occlusion, {window}x{window}"] = occluded / occluded.amax((1, 2), keepdim=True).clamp(min=1e-12)
    return labelled_grid_png(torch.cat(list(rows.values()))[:, None], len(x), rows=tuple(rows))


def table(found: Sequence[dict[str, list[float]]]) -> list[list[str]]:
    last = lambda name, form: plus_minus((each[name][-1] for each in found), form)
    return [[name, last(name, ".3f"), last(f"{name}, logit", ".2f")] for name in (TRUTH, *METHODS)]


def row(name: str, found: Sequence[dict[str, list[float]]]) -> dict[str, Any]:
    """One method over all seeds: its figure at the last contrast, and at each."""
    last = spread(each[name][-1] for each in found)
    by_contrast = [mean(values) for values in zip(*(each[name] for each in found))]
    return {"method": name, "worth": last[0], "worth (sd)": last[1], "by contrast": by_contrast}


if __name__ == "__main__":
    start(main, Config)
