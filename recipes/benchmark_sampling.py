"""Sampling from a PixelCNN: with cached activations against one whole forward pass per pixel (naive), the same image.

All pixels cost the naive sampler the same, so only --pixels of them are timed and the time of an image extrapolated.

python recipes/benchmark_sampling.py
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Annotated, Any

import torch
from rich.table import Table
from torch import Tensor

from genlab.cli.main import start
from genlab.core.distributed import device
from genlab.core.ranges import Count, Range, Repeats, Side, Threads
from genlab.core.text import Console
from genlab.core.timing import seconds
from genlab.likelihood.sampling import draw, draw_uncached
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig, NetName


@dataclass(frozen=True)
class Config:
    """Times an untrained network: its weights do not change the work."""

    net: NetName = "gated"
    """architecture"""
    layers: Annotated[int, Range(2, 1000)] = 10
    """layers"""
    width: Annotated[int, Range(3, 2**16)] = 128
    """features per pixel"""
    size: Side = 28
    """height and width of the images"""
    batches: tuple[Count, ...] = (1, 64)
    """numbers of images that are drawn at once"""
    pixels: Count = 4
    """passes of the naive sampler that are timed"""
    repeats: Repeats = 3
    """measurements, of which the median is reported"""
    threads: Threads = 1
    """threads of the processor"""


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    options = AutoregressiveConfig(config.net, "bernoulli", width=config.width, layers=config.layers - 1)
    model = options.build((1, config.size, config.size), 0).to(device()).eval().requires_grad_(False)
    same = both_agree(options, model)
    print(f"{config.net}, {config.layers} layers of {config.width}; both draw the same 8x8 pictures: {same}")

    table = Table("batch", "naive (floor), s per picture", "cached, s per picture", "times faster")
    for n in config.batches:
        slow, fast = times(config, model, n)
        table.add_row(str(n), f"{slow / n:.3g}", f"{fast / n:.3g}", f"{slow / fast:.0f}")
    Console().print(table)


def both_agree(options: AutoregressiveConfig, model: Any) -> bool:
    """Whether both samplers draw the same images, in double precision, from the same random numbers."""
    small: Any = options.build((1, 8, 8), 0).to(device()).eval().requires_grad_(False).double()
    small.load_state_dict(model.state_dict())
    torch.set_default_dtype(torch.float64)
    try:
        u = torch.rand(4, 1, 8, 8, device=device())
        return torch.equal(draw(small.net, small.head, u), draw_uncached(small.net, small.head, u))
    finally:
        torch.set_default_dtype(torch.float32)


def times(config: Config, model: Any, n: int) -> tuple[float, float]:
    """Seconds for n images: naive, extrapolated from a few pixels, and cached."""
    shape = (n, 1, config.size, config.size)
    x, u = torch.zeros(shape, device=device()), torch.rand(shape, device=device())
    naive, cached = partial(passes, model, x, config.pixels), partial(draw, model.net, model.head, u)
    rounds = seconds((naive, cached), config.repeats)
    slow, fast = (median(column) for column in zip(*rounds))
    return slow * config.size**2 / config.pixels, fast


@torch.no_grad()
def passes(model: Any, x: Tensor, n: int) -> None:
    for _ in range(n):
        model.net(x)


if __name__ == "__main__":
    start(main, Config)
