"""A PixelRNN of coloured creatures, with a softmax over a palette of colours or with regressed colours.

The same network with a softmax over clustered colours, and with squared error on red, green and blue, whose best guess
is the mean of all possible colours: its creatures are all the same. Both complete held-out creatures whose lower half
or three quarters are hidden.

python recipes/pixelrnn_sprites.py                               # rendered sprites, ten minutes on one core
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Layers, Length, Range, Seed, Side
from genlab.experiment import check_all
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig, HeadName, NetName
from genlab.reporting.finish import finish
from genlab.reporting.grid import grid_png
from genlab.reporting.labelled import picture_png

HEADS: tuple[HeadName, ...] = ("palette", "regression")
HIDDEN = (0.5, 0.75)  # shares of the image


@dataclass(frozen=True)
class Config:
    """Compares a palette with regression by colourfulness, variety and error of completions."""

    data: str = "sprites"
    """coloured images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = None
    """height and width in pixels; none: the set's own"""
    net: NetName = "row-lstm"
    """the network"""
    colours: Annotated[int, Range(2, 256)] = 15
    """colours of the palette, clustered by k-means"""
    width: Annotated[int, Range(3, 2**16)] = 48
    """features per pixel"""
    layers: Layers = 3
    """layers after the first"""
    images: Length = 16_000
    """length of both trainings"""
    out: Path = Path("runs/pixelrnn-sprites")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of both trainings and all samples"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, size=config.size, channels=3, data_root=config.data_root)
    experiments = {head: experiment(head, data, config) for head in HEADS}
    check_all(experiments.values())
    test = data.load("test")
    x = test.x[:10]
    page = genlab.Report(f"Palette of colours against regression: {config.data}")
    rows = [{"images": "held out", "saturation": saturation(x), "variety": variety(test.x)}]
    for head, each in experiments.items():
        model: Any = each.run(config.out / head, pictures=1)
        torch.manual_seed(config.seed)
        rows.append({"images": head, **measure(page, head, model, x)})
    page.section(
        "Figures",
        "Saturation: (max - min) / max of red, green, blue, of the last completions; 0 is grey. Variety: standard "
        "deviation of a pixel from sample to sample. Error: mean squared, of the hidden pixels.",
    )
    header = list(rows[-1])
    page.table(header, ([row.get(name, "") for name in header] for row in rows))
    finish(config.out, page, rows)


def experiment(head: HeadName, data: genlab.DataOptions, config: Config) -> genlab.Experiment:
    sizes = {"colours": config.colours, "width": config.width, "layers": config.layers}
    method = AutoregressiveConfig(config.net, head, lr=2e-3, **sizes)
    train = {"images": config.images, "batch": 16, "seed": config.seed, "half_life": 2000, "warmup": 0.0}
    return genlab.Experiment(method, data, **train)


def measure(page: genlab.Report, head: str, model: Any, x: Tensor) -> dict[str, float]:
    """Figures of samples and of completions of the held-out images x (N, 3, H, W)."""
    drawn = model.sample(50)
    page.section(head).picture(grid_png(drawn, 10), "samples")
    errors = {}
    for hidden in HIDDEN:
        known = torch.ones_like(x[0, :1], dtype=torch.bool)
        known[:, round((1 - hidden) * x.shape[2]) :] = False
        completed = model.complete(x, known)
        errors[f"error, {hidden:.0%} hidden"] = float((completed - x).square().mean() / (~known).float().mean())
        page.picture(picture_png(in_rows({"held out": x, f"{hidden:.0%} hidden": x * known, "completed": completed})))
    return {"saturation": saturation(completed), "variety": variety(drawn), **errors}


def saturation(x: Tensor) -> float:
    """Mean of (largest - smallest channel) / largest over the pixels of (N, 3, H, W)."""
    high, low = x.amax(1), x.amin(1)
    return float(((high - low) / high.clamp(min=1e-6)).mean())


def variety(x: Tensor) -> float:
    """Standard deviation of a pixel from image to image; 0: always the same image."""
    return float(x.std(0).mean())


if __name__ == "__main__":
    start(main, Config)
