"""PixelRNN paints creatures: with a colour of a palette per pixel, each is another; regressed, all are one and muddy.

The same network with a softmax over clustered colours, and with squared error on red, green and blue, whose best guess
is the mean of all that might come. Both complete held-out creatures whose lower half or three quarters are hidden.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Layers, Length, Range, Seed, Side
from genlab.experiment import check_all
from genlab.methods.likelihood.autoregressive import Autoregressive, AutoregressiveConfig, HeadName, NetName
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    data: str = "sprites"
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = None
    """height and width in pixels; none: the set's own"""
    net: NetName = "row-lstm"
    colours: Annotated[int, Range(2, 256)] = 15
    """of the palette, clustered by k-means"""
    width: Annotated[int, Range(3, 2**16)] = 48
    layers: Layers = 3
    images: Length = 16_000
    """length of both trainings"""
    out: Path = Path("runs/pixelrnn-sprites")
    seed: Seed = 0


def saturation(x: Tensor) -> float:
    """Mean of (largest - smallest channel) / largest over the pixels of (N, 3, H, W)."""
    high, low = x.amax(1), x.amin(1)
    return float(((high - low) / high.clamp(min=1e-6)).mean())


variety = lambda x: float(x.std(0).mean())  # of a pixel from picture to picture; 0: always the same one


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, size=config.size, channels=3, data_root=config.data_root)
    train = genlab.TrainOptions(config.images, 16, config.seed, schedule="cosine", half_life=2000, clip=100.0)
    test, page = data.load("test"), genlab.Report(f"Colours of a palette against regressed ones: {config.data}")
    x, side = test.x[:10], test.shape[1]
    rows = [["held out", saturation(x), variety(test.x), ""]]
    heads: tuple[HeadName, ...] = ("palette", "regression")
    sizes = 256, config.colours, 1, config.width, config.layers
    plan = {
        head: genlab.Experiment(AutoregressiveConfig(config.net, head, *sizes, lr=2e-3), data, **vars(train))
        for head in heads
    }
    check_all(plan.values())
    for head, each in plan.items():
        model = each.run(config.out / head, pictures=1)
        assert isinstance(model, Autoregressive)
        torch.manual_seed(config.seed)
        drawn = model.sample(50)
        page.section(head).picture(grid_png(drawn, 10), "drawn")
        errors = []
        for hidden in (0.5, 0.75):
            known = torch.ones_like(x[0, :1], dtype=torch.bool)
            known[:, round((1 - hidden) * side) :] = False
            done = model.complete(x, known)
            errors.append(float((done - x).square().mean() / (~known).float().mean()))
            page.picture(grid_png(torch.cat([x, x * known, done]), 10), f"held out; {hidden:.0%} hidden; completed")
        rows.append([head, saturation(done), variety(drawn), f"{errors[0]:.3f}, {errors[1]:.3f}"])
    page.section("Figures", "Saturation: (max - min) / max of red, green, blue, of the last completions; 0 is grey.")
    page.table(header := ["pictures", "saturation", "variety", "error with 50 %, 75 % hidden"], rows)
    for row in rows:
        print(f"{row[0]:12} saturation {row[1]:.3f}  variety {row[2]:.3f}  {row[3]}")
    write_atomically(
        config.out / "results.json", json.dumps([dict(zip(header, row)) for row in rows], indent=1).encode()
    )
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
