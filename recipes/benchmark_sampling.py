"""How much faster is drawing when nothing is computed twice? Cached against one whole pass per pixel, same picture.

The naive sampler's pixels all cost the same, so only `pixels` of them are timed and the picture's time is extrapolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Annotated

import torch
from rich.table import Table

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
    layers: Annotated[int, Range(2, 1000)] = 10
    width: Annotated[int, Range(3, 2**16)] = 128
    size: Side = 28
    """height and width of the images"""
    batches: tuple[Count, ...] = (1, 64)
    pixels: Count = 4
    """passes of the naive sampler that are timed"""
    repeats: Repeats = 3
    threads: Threads = 1


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    shape, total = (1, config.size, config.size), config.size**2
    options = AutoregressiveConfig(config.net, "bernoulli", width=config.width, layers=config.layers - 1)
    model = options.build(shape, 0).to(device()).eval().requires_grad_(False)
    small = options.build((1, 8, 8), 0).to(device()).eval().requires_grad_(False).double()
    small.load_state_dict(model.state_dict())
    torch.set_default_dtype(torch.float64)
    u = torch.rand(4, 1, 8, 8, device=device())
    same = torch.equal(draw(small.net, small.head, u), draw_uncached(small.net, small.head, u))
    torch.set_default_dtype(torch.float32)
    print(f"{config.net}, {config.layers} layers of {config.width}; both draw the same 8x8 pictures: {same}")
    table = Table("batch", "naive (floor), s per picture", "cached, s per picture", "times faster")
    for n in config.batches:
        x, u = torch.zeros(n, *shape, device=device()), torch.rand(n, *shape, device=device())

        def naive(x: torch.Tensor = x) -> None:
            with torch.no_grad():
                for _ in range(config.pixels):
                    model.net(x)

        rounds = seconds((naive, lambda u=u: draw(model.net, model.head, u)), config.repeats)
        slow, fast = (median(column) for column in zip(*rounds))
        slow *= total / config.pixels
        table.add_row(str(n), f"{slow / n:.3g}", f"{fast / n:.3g}", f"{slow / fast:.0f}")
    Console().print(table)


if __name__ == "__main__":
    start(main, Config)
