"""What a network sees: images that its filters respond to, Deep Dream, and style transfer, with a network trained here.

A VGG learns to tell rendered letters in random colours apart. Nothing else has taught it what a photograph or a texture
is: it dreams of strokes and their crossings, and its Gram matrices are still enough to transfer a texture.

python recipes/dream.py                                          # letters, a minute on one core
python recipes/dream.py --data cifar10 --data-root DIR --images 500000
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

import genlab
from genlab.cli.main import start
from genlab.core.picture import Picture
from genlab.core.ranges import Length, NonEmpty, Positive, Range, Seed, Steps
from genlab.data.glyphs import NAMES, render
from genlab.explain.dream import deep_dream
from genlab.explain.filters import degrees, maximise_filters
from genlab.explain.layers import activations
from genlab.explain.style import style_distance, style_transfer
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import labelled_grid_png, picture_png

SIDE = 64  # of the images that get a style, in pixels; those that dream are twice as large
LEVELS = (1, 3, 5)  # whose filters are shown, among the ReLUs of the VGG
STYLES = 4  # the ReLUs, from the first on, of whose outputs the Gram matrices are taken
TEXTURES = ("stripes", "waves", "diamonds", "petals")
GROWTH = ["layer", "activation, squared: dream / photograph", "the same change, its pixels shuffled"]
CONTENTS = ("glyph", "sprite", "palace", "dahlia")


@dataclass(frozen=True)
class Config:
    """Filter maximisation, Deep Dream and style transfer."""

    data: str = "letters"
    """the network's training images, in colour"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 12_000
    """length of the network's training"""
    filters: Annotated[int, Range(1, 16)] = 8
    """filters of each of three layers"""
    steps: Steps = 80
    """of filter maximisation and of style transfer; a dream takes a tenth at each of three sizes"""
    weights: NonEmpty[Positive] = (10.0, 100.0, 1000.0)
    """weights of the style, relative to the content"""
    out: Path = Path("runs/dream")
    """folder of the run and the report"""
    seed: Seed = 0
    """of training and of the images that filters begin from"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, channels=3, data_root=config.data_root)
    experiment = genlab.Experiment(ClassifierConfig(net="vgg"), data, images=config.images, seed=config.seed)
    trained: Any = experiment.run(config.out / "classifier", pictures=0)
    net = nn.Sequential(nn.Identity(), *trained.net.requires_grad_(False))  # the first layer's output is the pixels
    relus = [layer for layer in net if isinstance(layer, nn.ReLU)]
    test = data.load("test")
    page = genlab.Report(f"What a network that learnt {config.data} sees")
    results = {
        "accuracy": trained.evaluate(test)["accuracy"],
        "style": style(config, net, relus, page),
        "dream": dream(config, net, relus, page),
        "filters": filters(config, net, relus, test.x, page),
    }
    finish(config.out, page, results)


def style(config: Config, net: nn.Module, relus: list[nn.Module], page: genlab.Report) -> dict[str, Any]:
    """A grid of contents and styles, and one pair by the weight of the style."""
    device = next(net.parameters()).device
    contents, textures = pictures(SIDE).to(device), styles(SIDE).to(device)
    layers, n = [net[0], *relus[:STYLES]], len(textures)
    pairs = contents.repeat_interleave(n, 0), textures.repeat(len(contents), 1, 1, 1)
    transfer = lambda c, s, weight: style_transfer(net, c, s, relus[-3], layers, weight, steps=config.steps)
    made = transfer(*pairs, 300.0)
    before, after = (style_distance(net, layers, x, pairs[1]) for x in (pairs[0], made))
    page.section(
        "Style transfer",
        f"Left: contents; above: styles. The distance of the Gram matrices (1: activations of 0) fell from "
        f"{before.mean():.2f} to {after.mean():.3f} on average, while the deep activations kept the content.",
    )
    rows = [torch.cat([c[None], row]) for c, row in zip(contents, made.split(n))]
    blank = torch.ones_like(textures[:1])
    grid = torch.cat([blank, textures, *rows])
    page.picture(picture_png(Picture(grid, n + 1, ["", *CONTENTS], ["content", *TEXTURES])))

    one = [transfer(contents[2:3], textures[:1], weight) for weight in config.weights]
    left = [float(style_distance(net, layers, x, textures[:1])) for x in one]
    texts = [f"weight {weight:g}\ndistance {d:.3f}" for weight, d in zip(config.weights, left)]
    page.picture(labelled_grid_png(torch.cat(one), len(one), captions=texts, tile=128), "by the weight of the style")
    return {"distance before": float(before.mean()), "distance after": float(after.mean()), "by weight": left}


def dream(config: Config, net: nn.Module, relus: list[nn.Module], page: genlab.Report) -> list[dict[str, Any]]:
    """Two photographs, and what three layers make of them."""
    x = pictures(2 * SIDE)[2:].to(next(net.parameters()).device)
    made = {
        level: deep_dream(net, relus[level], x, steps=max(1, config.steps // 10), step_size=0.012) for level in LEVELS
    }
    page.section("Deep Dream", "Photographs, and the same after the activations of a layer were amplified.")
    names = ["photograph", *(f"layer {level + 1}" for level in LEVELS)]
    shown = torch.stack([x, *made.values()], 1).flatten(0, 1)
    page.picture(labelled_grid_png(shown, len(names), heads=names, tile=2 * SIDE))

    torch.manual_seed(config.seed)
    rows = []
    for level, dreamt in made.items():
        shuffled = x + (dreamt - x).flatten(2)[:, :, torch.randperm(4 * SIDE**2)].view_as(x)
        a, b, c = (strength(net, relus[level], each) for each in (dreamt, shuffled.clamp(0, 1), x))
        rows.append([level + 1, a / c, b / c])
    page.table(GROWTH, rows)
    return records(GROWTH, rows)


@torch.no_grad()
def strength(net: nn.Module, layer: nn.Module, x: Tensor) -> float:
    """The mean squared output of a layer."""
    return float(activations(net, x, [layer])[0].square().mean())


def filters(config: Config, net: nn.Module, relus: list[nn.Module], test: Tensor, page: genlab.Report) -> Any:
    """The images that filters of three layers respond to most, and how much more than to the best test image."""
    torch.manual_seed(config.seed)
    channels, rows, found = torch.arange(config.filters, device=test.device), {}, []
    for level in LEVELS:
        begin = 0.5 + 0.05 * torch.randn(config.filters, *test.shape[1:], device=test.device)
        images = maximise_filters(net, relus[level], channels, begin.clamp(0, 1), smooth=1.0, steps=config.steps)
        with torch.no_grad():
            best = torch.cat([degrees(net, relus[level], x) for x in test.split(500)]).amax(0)[: config.filters]
            reached = degrees(net, relus[level], images).diagonal()
        rows[f"layer {level + 1}"] = images
        found.append({"layer": level + 1, "over the best test image": float((reached / best.clamp(min=1e-6)).median())})
    page.section("Filters", "Images that maximise the mean of one channel, with a penalty on the total variation.")
    page.picture(picture_png(Picture(torch.cat(list(rows.values())), config.filters, list(rows))))
    page.table(list(found[0]), [list(each.values()) for each in found])
    return found


def pictures(side: int) -> Tensor:
    """(4, 3, side, side): the CONTENTS."""
    import numpy
    from sklearn.datasets import load_sample_image

    fitted = lambda x: interpolate(x, (side, side), mode="bilinear", antialias=True)
    nine = torch.tensor([9]), torch.tensor([-8.0]), torch.tensor([0.7]), torch.tensor([1.1])
    glyph = render(NAMES["glyphs"], *nine, torch.tensor([[0.4, 0.0, 0.7]]), torch.tensor([[0.4, 0.8, 0.8]])) / 255
    sprite = genlab.DataOptions("sprites").load("test", "cpu").x[:1]
    photos = [torch.from_numpy(numpy.array(load_sample_image(f"{name}.jpg"))) for name in ("china", "flower")]
    squares = [photo.permute(2, 0, 1)[None, :, :, 100:527] / 255 for photo in photos]
    return torch.cat([fitted(x) for x in (glyph, sprite, *squares)]).clamp(0, 1)


def styles(side: int) -> Tensor:
    """(4, 3, side, side): the TEXTURES."""
    r, c = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    inks = {
        ((r + c) % 6 < 3).float(): ((0.9, 0.2, 0.1), (1.0, 0.9, 0.3)),
        0.5 + ((r / 2).sin() + (c / 2).sin()) / 4: ((0.1, 0.2, 0.5), (0.7, 0.9, 1.0)),
        ((r % 8 - 3.5).abs() + (c % 8 - 3.5).abs() < 4).float(): ((0.05, 0.3, 0.1), (0.9, 0.95, 0.8)),
    }
    drawn = [torch.lerp(*(torch.tensor(ink).view(3, 1, 1) for ink in pair), ink) for ink, pair in inks.items()]
    corner = side // 2
    return torch.stack([*drawn, pictures(2 * side)[3, :, corner : corner + side, corner : corner + side]])


if __name__ == "__main__":
    start(main, Config)
