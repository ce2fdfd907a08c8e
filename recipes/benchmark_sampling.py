"""Sampling from a PixelCNN: with cached activations against one whole forward pass per pixel (naive), the same image;
and from diffusion: Heun's sampler against as many passes of its network.

All pixels cost the naive sampler the same, so only --pixels of them are timed and the time of an image extrapolated.

python recipes/benchmark_sampling.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.distributed import device
from genlab.core.ranges import Count, NonEmpty, Range, Repeats, Side, Steps, Threads, Width
from genlab.core.timing import seconds
from genlab.likelihood.sampling import draw, draw_uncached
from genlab.methods.diffusion.diffusion import DiffusionConfig
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig, NetName
from genlab.reporting.finish import finish, records

CACHED = ["images at once", "naive (floor), s per image", "cached, s per image", "times faster"]
DENOISER = ["passes", "passes (floor), images/s", "sampler, images/s", "sampler / floor"]


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
    batches: NonEmpty[Count] = (1, 64)
    """numbers of images that are drawn at once"""
    pixels: Count = 4
    """passes of the naive sampler that are timed"""
    denoiser_width: Width = 32
    """channels of diffusion's U-Net at the finest level"""
    denoiser_batch: Count = 16
    """images that diffusion draws at once"""
    steps: Steps = 5
    """steps of diffusion's sampler, of two passes each but for the last"""
    repeats: Repeats = 3
    """measurements, of which the median is reported"""
    threads: Threads = 1
    """threads of the processor"""
    out: Path = Path("runs/benchmark-sampling")
    """folder of the report"""


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    options = AutoregressiveConfig(config.net, "bernoulli", width=config.width, layers=config.layers - 1)
    model = options.build((1, config.size, config.size), 0).to(device()).eval().requires_grad_(False)
    same = both_agree(options, model)
    rows = []
    for n in config.batches:
        slow, fast = times(config, model, n)
        rows.append([n, slow / n, fast / n, slow / fast])
    of_diffusion = [[2 * config.steps - 1, *of_denoiser(config)]]
    page = genlab.Report("Speed of sampling")
    network = f"{config.net}, {config.layers} layers of {config.width}"
    page.section("PixelCNN", f"{network}; both draw the same 8x8 images: {same}").table(CACHED, rows)
    page.section("Diffusion").table(DENOISER, of_diffusion)
    results = {"same": same, "pixelcnn": records(CACHED, rows), "diffusion": records(DENOISER, of_diffusion)}
    finish(config.out, page, results)


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
    naive, cached = partial(passes, partial(model.net, x), config.pixels), partial(draw, model.net, model.head, u)
    rounds = seconds((naive, cached), config.repeats)
    slow, fast = (median(column) for column in zip(*rounds))
    return slow * config.size**2 / config.pixels, fast


def of_denoiser(config: Config) -> tuple[float, float, float]:
    """Images per second of the network's bare passes and of the sampler, and the median ratio of the two in a round."""
    shape, n = (1, config.size, config.size), config.denoiser_batch
    model = DiffusionConfig(width=config.denoiser_width).build(shape, 0).to(device()).eval()
    denoise = partial(model.net, torch.rand(n, *shape, device=device()), torch.zeros(n, device=device()), None)
    bare, sampler = partial(passes, denoise, 2 * config.steps - 1), partial(model.sample, n, steps=config.steps)
    rounds = seconds((bare, sampler), config.repeats)
    floor, own = (n / median(times) for times in zip(*rounds))
    return floor, own, median(bare_time / own_time for bare_time, own_time in rounds)


@torch.no_grad()
def passes(network: Callable[[], Tensor], n: int) -> None:
    for _ in range(n):
        network()


if __name__ == "__main__":
    start(main, Config)
