"""The next frame of a digit that may turn: L2 blurs what is uncertain, a GAN chooses one future.

After two frames of steady movement a digit goes straight on, turns left or turns right, with equal probability; all
three possible next frames are known. The same network (pix2pix) learns from the frame that came, by squared and by
absolute distance, and adversarially, alone or with one of two other losses (Mathieu, Couprie, LeCun 2016,
arXiv:1511.05440). What is best for L2 and L1 is known, too: the mean and the median of the possible frames. Weights
were chosen on validation images (`--split validation`).

python recipes/next_frame.py                                     # scikit-learn's digits, minutes on one core
python recipes/next_frame.py --losses L2 GAN 'GAN and L1' 'GAN and gradients' --images 60000
python recipes/next_frame.py --data mnist --data-root DIR --size 16 --copies 1 --images 60000
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

import genlab
from genlab.cli.main import start
from genlab.core.picture import Picture, in_rows
from genlab.core.ranges import Count, LearningRate, Length, NonEmpty, Seeds, Side, Weight, Width
from genlab.core.registry import choose
from genlab.data import Stream
from genlab.data.images import to_float
from genlab.data.moving import SHOWN, TURNS, Moving, moving
from genlab.methods.translation.pix2pix import Pix2Pix, Pix2PixConfig
from genlab.metrics.sharpness import sharpness
from genlab.nets.patch import PatchDiscriminator, deepest
from genlab.nets.unet import UNet, halvings
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import picture_png
from genlab.reporting.plots import png
from genlab.reporting.spread import spread

MEASURES = ["sharpness", "distance to the nearest future", "distance to what came", "different futures drawn"]
LEARNT = ("L2", "L1", "GAN", "GAN and L1", "GAN and gradients")
LEVELS = 3  # downsamplings of the U-Net, at most
EXAMPLES = 10  # columns of the picture


@dataclass(frozen=True)
class Config:
    """Predictions of the next frame: sharpness, and distance to the nearest of the possible frames."""

    data: str = "digits"
    """images that move, on black"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = None
    """height and width of the images that move, in pixels; none: the set's own; frames are twice as large"""
    copies: Count = 4
    """sequences of every image"""
    images: Length = 12_000
    """length of every training, in sequences"""
    width: Width = 16
    """channels of the networks at the finest level"""
    losses: NonEmpty[str] = ("L2", "L1", "GAN and L1")
    """what the network learns by: L2, L1, GAN, 'GAN and L1' or 'GAN and gradients'"""
    l1: Weight = 10.0
    """weight of the L1 distance beside the adversarial loss"""
    gradient: Weight = 10.0
    """weight of the difference of image gradients beside the adversarial loss"""
    lr: LearningRate = 5e-3
    """learning rate"""
    draws: Count = 8
    """predictions of the same frame, from other noise of the generator, in which different futures are counted"""
    split: Literal["test", "validation"] = "test"
    """images that are measured"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/next-frame")
    """folder of the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, 1, config.data_root, hold_out=True)
    methods = losses(config)
    methods = {choose(name, methods, "loss"): methods[name] for name in config.losses}
    train, test = moving(data.load("train"), config.copies), moving(data.load(config.split), 1)
    measures: dict[str, list[list[float]]] = {}
    shown: dict[str, Tensor] = {}
    for seed in config.seeds:
        predictors = oracles(test)
        for name, method in methods.items():
            predictors[name] = fitted(name, method, train, seed, config).generator
        torch.manual_seed(seed)
        for name, predict in predictors.items():
            with torch.no_grad():
                drawn = torch.stack([predict(to_float(test.past)) for _ in range(config.draws)])
            measures.setdefault(name, []).append(measured(drawn, test))
            shown[name] = drawn[0, :EXAMPLES]

    rows = {name: [spread(values) for values in zip(*found)] for name, found in measures.items()}
    page = genlab.Report(f"The next frame of moving {config.data}").text(verdict(rows, config.losses))
    page.picture(picture_png(examples(test, shown, config.losses)), f"seed {config.seeds[-1]}")
    page.section("Measures", f"{len(test):,} {config.split} sequences; distances are root mean squares of pixels.")
    page.picture(figure(rows))
    header = ["prediction", *(head for measure in MEASURES for head in (measure, f"{measure} (sd)"))]
    table = [[name, *sum(row, ())] for name, row in rows.items()]
    page.table(header, table)
    finish(config.out, page, records(header, table))


def losses(config: Config) -> dict[str, Pix2PixConfig]:
    base: dict[str, Any] = {"width": config.width, "lr": config.lr}
    return {
        "L2": Pix2PixConfig(gan=0.0, l1=0.0, l2=100.0, **base),
        "L1": Pix2PixConfig(gan=0.0, l1=100.0, **base),
        "GAN": Pix2PixConfig(l1=0.0, **base),
        "GAN and L1": Pix2PixConfig(l1=config.l1, **base),
        "GAN and gradients": Pix2PixConfig(l1=0.0, gradient=config.gradient, **base),
    }


def fitted(name: str, method: Pix2PixConfig, train: Moving, seed: int, config: Config) -> Any:
    """pix2pix with a generator: frames before (N, SHOWN C, H, W) -> the next frame (N, C, H, W)."""
    torch.manual_seed(seed)
    c, h, w = train.shape
    generator = UNet((SHOWN * c, h, w), c, config.width, min(LEVELS, halvings((c, h, w))), nn.BatchNorm2d)
    judge = PatchDiscriminator(((SHOWN + 1) * c, h, w), config.width, deepest(train.shape)) if method.gan else None
    options = replace(method.training, images=config.images, batch=32, seed=seed, schedule="linear", half_life=1_000)
    built = Pix2Pix(generator, judge, method).to(train.device)
    return genlab.fit(built, Stream(train, options.batch, seed=seed), options, title=f"{name}, seed {seed}").eval()  # type: ignore[arg-type]


def oracles(test: Moving) -> dict[str, Callable[[Tensor], Tensor]]:
    """What needs no training, as functions of the frames before: the last of them, and what is known of the next."""
    futures = to_float(test.futures)
    rows = torch.arange(len(test))
    return {
        "the last frame": lambda past: past[:, -test.shape[0] :],
        "mean of the possible": lambda past: futures.mean(1),
        "median of the possible": lambda past: futures.median(1).values,
        "a possible one": lambda past: futures[rows, torch.randint(len(TURNS), (len(past),))],
    }


def measured(drawn: Tensor, test: Moving) -> list[float]:
    """The MEASURES of predictions (draws, N, C, H, W); sharpness is relative to that of the frames that came."""
    came = test.pairs()[1]
    to_each = (drawn[:, :, None] - to_float(test.futures)).square().flatten(3).mean(3)  # (draws, N, turns)
    nearest, which = to_each.sqrt().min(2)
    different = torch.stack([(which == turn).any(0) for turn in range(len(TURNS))]).sum(0)
    away = (drawn - came).square().flatten(2).mean(2).sqrt()
    return [
        sharpness(drawn.flatten(0, 1)) / sharpness(came),
        float(nearest.mean()),
        float(away.mean()),
        float(different.double().mean()),
    ]


def examples(test: Moving, shown: dict[str, Tensor], learnt: Sequence[str]) -> Picture:
    """A column per sequence: the frames before, the possible next frames, and predictions."""
    past = to_float(test.past[:EXAMPLES]).chunk(SHOWN, 1)
    futures = to_float(test.futures[:EXAMPLES]).unbind(1)
    return in_rows(
        {
            **{f"frame {i + 1}": frame for i, frame in enumerate(past)},
            **{f"possible: {turn}": frame for turn, frame in zip(TURNS, futures)},
            **{name: shown[name] for name in learnt},
        }
    )


def verdict(rows: dict[str, list[tuple[float, float]]], learnt: Sequence[str]) -> str:
    """Sharpness and distance to the nearest possible frame, in a sentence."""
    found = [f"{name} {rows[name][0][0]:.2f} and {rows[name][1][0]:.3f}" for name in learnt]
    return (
        "Sharpness relative to true frames, and distance to the nearest possible frame, by what the network learns "
        f"from: {'; '.join(found)}."
    )


def figure(rows: dict[str, list[tuple[float, float]]]) -> bytes:
    """A PNG: sharpness and distance to the nearest possible frame, with deviations; hollow: no network."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = drawing.subplots()
    for i, (name, ((sharp, sharp_sd), (near, near_sd), *_)) in enumerate(rows.items()):
        fill = f"C{i}" if name in LEARNT else "white"
        axes.errorbar(sharp, near, near_sd, sharp_sd, fmt="o", mfc=fill, color=f"C{i}", capsize=3, label=name)
    axes.axvline(1, color="0.6", ls=":", lw=1)
    axes.set(xlabel="sharpness, relative to true frames", ylabel=MEASURES[1])
    axes.grid(alpha=0.3)
    drawing.legend(loc="outside right upper", fontsize=8, title="hollow: no network")
    return png(drawing)


if __name__ == "__main__":
    start(main, Config)
