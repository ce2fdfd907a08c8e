"""Attribution maps of a classifier: what they show, whether they are true, and an attack on them.

Faithfulness is measured by deletion: the probability of the class falls fastest when the truly important pixels are
removed. The attack moves a saliency map while the prediction stays.

python recipes/explanations.py                                   # scikit-learn's digits, a minute on one core
python recipes/explanations.py --data mnist --data-root DIR
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import genlab
from attacks.core.ball import Linf
from attacks.explanation import ExplanationAttack
from attacks.noise import RandomNoise
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Count, Eps, Length, Seed
from genlab.explain.grad_cam import grad_cam
from genlab.explain.gradients import integrated_gradients, saliency, smooth_grad
from genlab.explain.guided import guided_backpropagation
from genlab.explain.lime import lime, superpixels
from genlab.explain.lrp import lrp
from genlab.explain.measure import deletion, overlap, rank_correlation
from genlab.explain.occlusion import occlusion
from genlab.explain.pictures import to_images
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import picture_png
from genlab.reporting.plots import curves

SHARES = (0.02, 0.05, 0.1, 0.2, 0.3)  # of the pixels, deleted
MIDDLE = 2  # the share of the message
ATTACKED = ["images", "prediction kept", "important pixels in common", "rank correlation"]
PICTURED = 10  # images in a picture


@dataclass(frozen=True)
class Config:
    """Attribution maps, deletion, and an attack on the saliency map."""

    data: genlab.DataOptions = genlab.DataOptions()
    """which images"""
    images: Length = 60_000
    """length of the classifier's training"""
    n: Count = 100
    """held-out images to explain"""
    eps: Eps = 0.1
    """L-infinity radius of the attack on the map, in pixels of [0, 1]"""
    out: Path = Path("runs/explanations")
    """folder of the run and the report"""
    seed: Seed = 0
    """seed of training and of the random map"""


def main(config: Config) -> None:
    test = config.data.load("test")
    if min(test.shape[1:]) < 5:
        raise ValueError("maps of occlusion need images of at least 5x5 pixels: choose a larger --size")
    experiment = genlab.Experiment(ClassifierConfig(), config.data, images=config.images, seed=config.seed)
    net: Any = experiment.run(config.out / "classifier", pictures=0)
    x = test.subset(slice(0, config.n)).x
    with torch.no_grad():
        predicted = net(x).argmax(1)  # the prediction is explained, right or wrong
    torch.manual_seed(config.seed)

    page = genlab.Report("Explanations")
    results = {
        "deletion": explain(net, x, predicted, page),
        "attack": attack_saliency(config, net, x, predicted, page),
    }
    finish(config.out, page, results)


def attributions(net: Any, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """method -> maps (N, H, W), the higher the more important for the class y."""
    window = x.shape[2] // 5
    segments = torch.stack([superpixels(image, min(40, x[0, 0].numel() // 4)) for image in x])
    return {
        "random": torch.rand_like(x[:, 0]),
        "saliency": saliency(net, x, y),
        "Grad-CAM": grad_cam(net, x, y),
        "SmoothGrad": smooth_grad(net, x, y),
        "guided backpropagation": guided_backpropagation(net, x, y),
        "LRP, epsilon": lrp(net, x, y),
        "LRP, z+": lrp(net, x, y, "z+"),
        "integrated gradients": integrated_gradients(net, x, y),
        f"occlusion, black {window}x{window}": occlusion(net, x, y, window, 0.0),
        f"occlusion, grey {window}x{window}": occlusion(net, x, y, window, 0.5),
        f"occlusion, black {2 * window}x{2 * window}": occlusion(net, x, y, 2 * window, 0.0),
        "LIME": lime(net, x, y, segments),
    }


def explain(net: Any, x: Tensor, y: Tensor, page: genlab.Report) -> list[dict[str, Any]]:
    """Mean probability left after deletion, a row per method and share of the pixels."""
    maps = attributions(net, x, y)
    left = {name: deletion(net, x, y, each, SHARES) for name, each in maps.items()}
    truest = min(left, key=lambda name: left[name][MIDDLE])
    page.section(
        "Attribution maps",
        f"How much each pixel of held-out images matters to their class, by each method. Without the pixels that "
        f"{truest} ranks highest, {SHARES[MIDDLE]:.0%} of all, the class keeps a probability of "
        f"{left[truest][MIDDLE]:.2f}, without as many random ones {left['random'][MIDDLE]:.2f}.",
    )
    shown = {name: to_images(each[:PICTURED]) for name, each in maps.items()}
    page.picture(picture_png(in_rows({"images": x[:PICTURED], **shown})))

    page.section(
        "Deletion", "Mean probability of the class when the pixels that a map calls important are set to black."
    )
    lines = {name: (SHARES, values) for name, values in left.items()}
    page.picture(curves(lines, x="share of the pixels deleted", y="mean probability"))
    page.table(["map", *map(str, SHARES)], ([name, *values] for name, values in left.items()))
    return [
        {"map": name, "share deleted": share, "probability": value}
        for name, values in left.items()
        for share, value in zip(SHARES, values)
    ]


def attack_saliency(config: Config, net: Any, x: Tensor, y: Tensor, page: genlab.Report) -> list[dict[str, Any]]:
    """How far the saliency map moves under an attack on it, and under random noise of the same size."""
    page.section("Attack on the saliency map", f"L-infinity {config.eps}.")
    ball, before, rows = Linf(config.eps), saliency(net, x, y), []
    for name, attack in {"attacked": ExplanationAttack(ball), "random noise": RandomNoise(ball)}.items():
        changed = attack(net, x, y)
        after = saliency(net, changed, y)
        with torch.no_grad():
            kept = (net(changed).argmax(1) == y).float()
        figures = (kept, overlap(before, after), rank_correlation(before, after))
        rows.append([name, *(float(values.mean()) for values in figures)])
        shown = {"images": changed[:PICTURED], "saliency": to_images(after[:PICTURED])}
        page.picture(picture_png(in_rows(shown)), name)
    page.table(ATTACKED, rows)
    return records(ATTACKED, rows)


if __name__ == "__main__":
    start(main, Config)
