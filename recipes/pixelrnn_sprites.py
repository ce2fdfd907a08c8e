"""Creatures pixel by pixel in colours of a palette, or in regressed colours, which make one smudge.

Every sprite has hues of its own, so that there are thousands of colours. The same autoregressive network draws them
with a softmax over clustered colours, and with squared error on red, green and blue, whose best guess is the mean of
all possible colours: always the same, and in the colour into which its own guesses drift. Both complete held-out
creatures whose lower half or three quarters are hidden. The colours are clustered by k-means, whose centres are to
start from data: from random places of the cube of colours many clusters get nothing. Everything is repeated over seeds.

python recipes/pixelrnn_sprites.py                               # rendered sprites, minutes on one core
python recipes/pixelrnn_sprites.py --net row-lstm --width 48 --images 16000
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Layers, Length, NonEmpty, Range, Seeds, Side
from genlab.core.text import counted
from genlab.data import Images
from genlab.data.seeds import generator
from genlab.experiment import check_all
from genlab.latent.k_means import k_means
from genlab.likelihood.pixels import colours
from genlab.methods.likelihood.autoregressive import PALETTE_IMAGES, AutoregressiveConfig, HeadName, NetName
from genlab.reporting.finish import finish
from genlab.reporting.labelled import picture_png
from genlab.reporting.plots import curves
from genlab.reporting.spread import over_seeds, plus_minus, spread

HEADS: tuple[HeadName, ...] = ("palette", "regression")
HIDDEN = (0.5, 0.75)  # shares of the image
SHOWN = 10  # images in a row
DRAWN = 50  # samples that are measured
STARTS = "centres from the data", "random centres"
Figures = dict[str, float]


@dataclass(frozen=True)
class Config:
    """Compares a palette with regression by colourfulness, variety and error of completions."""

    data: str = "sprites"
    """coloured images, whose hues are turned"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = None
    """height and width in pixels; none: the set's own"""
    net: NetName = "pixelcnn"
    """the network"""
    colours: Annotated[int, Range(2, 256)] = 32
    """colours of the palette, clustered by k-means"""
    width: Annotated[int, Range(3, 2**16)] = 24
    """features per pixel"""
    layers: Layers = 3
    """layers after the first"""
    images: Length = 8_000
    """length of every training"""
    counts: NonEmpty[Annotated[int, Range(2, 256)]] = (8, 16, 32, 64, 128)
    """numbers of clusters of the comparison of k-means' starts"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/pixelrnn-sprites")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, size=config.size, channels=3, data_root=config.data_root)
    train, test = (turned(data.load(split)) for split in ("train", "test"))
    plan = {
        (head, seed): genlab.Experiment(method(head, config), train, test, images=config.images, batch=16, seed=seed)
        for head in HEADS
        for seed in config.seeds
    }
    check_all(plan.values())
    x = test.x[:SHOWN]
    found: dict[str, list[Figures]] = {head: [] for head in HEADS}
    shown = {"held out": x}
    for (head, seed), each in plan.items():
        model: Any = each.run(config.out / f"{head}-{seed}", pictures=0)
        torch.manual_seed(seed)
        drawn = model.sample(DRAWN)
        completed = {hidden: complete(model, x, hidden) for hidden in HIDDEN}
        found[head].append(measured(drawn, completed, x))
        shown |= {f"{head}: samples": drawn[:SHOWN]}
        shown |= {f"{head}: {hidden:.0%} completed": completed[hidden] for hidden in HIDDEN}
    real = {"saturation": saturation(test.x), "variety": variety(test.x)}
    starts = [clusters(train, config.counts, seed) for seed in config.seeds]

    page = genlab.Report(f"Palette of colours against regression: {config.data}")
    page.section("A palette draws many creatures, regression one smudge", message(found, real))
    page.picture(picture_png(in_rows(shown)), "pictures of the last seed")
    page.text(
        "Saturation: largest minus smallest of red, green, blue, 0 is grey. Variety: standard deviation of a pixel "
        "from image to image. Error: mean squared, of the hidden pixels. Mean ± standard deviation over "
        f"{counted(config.seeds)}. The palette of {config.colours} stands for "
        f"{len(colours(train.x[:PALETTE_IMAGES])[0])} colours in the images that it is made of."
    )
    header = list(found[HEADS[0]][0])
    held_out = ["held out", *(f"{real[key]:.3f}" if key in real else "" for key in header)]
    cells = [
        [head, *(plus_minus((each[key] for each in figures), ".3f") for key in header)]
        for head, figures in found.items()
    ]
    page.table(["images", *header], [held_out, *cells])
    page.section("k-means starts from data", empty_message(starts, config.counts))
    page.picture(empty_clusters(starts, config.counts))
    results = {
        "images": [
            {"name": "held out", **real},
            *({"name": head} | over_seeds(figures) for head, figures in found.items()),
        ],
        "clusters": [{"name": name} | over_seeds([each[name] for each in starts]) for name in STARTS],
    }
    finish(config.out, page, results)


def method(head: HeadName, config: Config) -> AutoregressiveConfig:
    sizes = {"colours": config.colours, "width": config.width, "layers": config.layers}
    return AutoregressiveConfig(config.net, head, lr=2e-3, **sizes)


def turned(images: Images) -> Images:
    """The hues of each image turned by an angle of its own, around the axis of greys."""
    angle = 2 * math.pi * torch.rand(len(images), generator=generator("hues", images.name, len(images)))
    axis = torch.full((3,), 3**-0.5)
    cross = torch.linalg.cross(axis.expand(3, 3), torch.eye(3)).T  # of the axis with a colour
    turn = angle.cos()[:, None, None] * torch.eye(3) + angle.sin()[:, None, None] * cross
    turn = turn + (1 - angle.cos())[:, None, None] * torch.outer(axis, axis)
    x = torch.einsum("nij,njhw->nihw", turn.to(images.x), images.x - 0.5) + 0.5
    return replace(images, pixels=x.clamp(0, 1).mul(255).round().byte())


def complete(model: Any, x: Tensor, hidden: float) -> Tensor:
    known = torch.ones_like(x[0, :1], dtype=torch.bool)
    known[:, round((1 - hidden) * x.shape[2]) :] = False
    completed: Tensor = model.complete(x, known)
    return completed


def measured(drawn: Tensor, completed: dict[float, Tensor], x: Tensor) -> Figures:
    """Figures of samples (DRAWN, 3, H, W) and of completions of the held-out images x (N, 3, H, W)."""
    errors = {f"error, {hidden:.0%} hidden": float((y - x).square().mean() / hidden) for hidden, y in completed.items()}
    return {"saturation": saturation(drawn), "variety": variety(drawn), **errors}


def saturation(x: Tensor) -> float:
    """Mean of the largest minus the smallest channel over the pixels of (N, 3, H, W)."""
    return float((x.amax(1) - x.amin(1)).mean())


def variety(x: Tensor) -> float:
    """Standard deviation of a pixel from image to image; 0: always the same image."""
    return float(x.std(0).mean())


def clusters(images: Images, counts: Sequence[int], seed: int) -> dict[str, Figures]:
    """By the start of k-means: the share of empty clusters, and the error, by number of clusters."""
    torch.manual_seed(seed)
    points = colours(images.x[:PALETTE_IMAGES])[0] / 255
    found: dict[str, Figures] = {begin: {} for begin in STARTS}
    for k in counts:
        for begin in STARTS:
            centres = points[torch.randperm(len(points))[:k]] if begin == STARTS[0] else torch.rand(k, 3)
            _, sizes, error = k_means(points, centres.to(points))
            found[begin] |= {f"empty of {k}": float((sizes == 0).float().mean()), f"error of {k}": float(error)}
    return found


def message(found: dict[str, list[Figures]], real: Figures) -> str:
    of = lambda head, key: mean(each[key] for each in found[head])
    return (
        f"From sample to sample a pixel in a palette's colours varies by {of('palette', 'variety'):.3f} (held out: "
        f"{real['variety']:.3f}), in regressed colours by {of('regression', 'variety'):.3f}; their saturation is "
        f"{of('palette', 'saturation'):.3f} and {of('regression', 'saturation'):.3f} (real {real['saturation']:.3f})."
    )


def empty_message(starts: Sequence[dict[str, Figures]], counts: Sequence[int]) -> str:
    k = counts[-1]
    data, random = (mean(each[begin][f"empty of {k}"] for each in starts) for begin in STARTS)
    return f"Of {k} clusters of the sprites' colours {random:.0%} stay empty from random centres, {data:.0%} from data."


def empty_clusters(starts: Sequence[dict[str, Figures]], counts: Sequence[int]) -> bytes:
    lines = {}
    for begin in STARTS:
        bands = [spread(each[begin][f"empty of {k}"] for each in starts) for k in counts]
        lines[begin] = (counts, *([m + sign * s for m, s in bands] for sign in (0, -1, 1)))
    return curves(lines, x="clusters", y="share of empty clusters", log_x=True)  # type: ignore[arg-type]


if __name__ == "__main__":
    start(main, Config)
