"""A Glow step of the lab against a bare loop over the same network, and against implementations of separate layers.

floor: plain torch, the lab's network. separate layers: the network as published code writes it. normflows: with
--peers, that library's blocks, if it is installed (pip install --no-deps normflows). All minimise the same bound.

python recipes/benchmark_flow.py                 # lab / rival: above 1.00 the lab is faster
python recipes/benchmark_flow.py --repeats 7 --peers
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Layers, Repeats, Steps, Threads, Width
from genlab.core.timing import seconds
from genlab.data import Stream
from genlab.data.random_images import random_images
from genlab.likelihood.units import dequantise
from genlab.methods.likelihood.flow import Flow, FlowConfig
from genlab.nets.glow_references import normflows, unfused_glow
from genlab.reporting.finish import finish, records
from genlab.training.loop import fit
from genlab.training.method import TrainOptions
from genlab.training.optim import adam

SHAPE = (1, 28, 28)
COSTS = ["rival", "rival, images/s", "lab, images/s", "lab / rival"]


@dataclass(frozen=True)
class Config:
    """What is timed, and how often."""

    steps: Steps = 20
    """updates per measurement"""
    repeats: Repeats = 5
    """measurements, of which the median is reported"""
    batch: Count = 64
    """images per batch"""
    couplings: Layers = 8
    """couplings per level"""
    width: Width = 32
    """channels in a coupling"""
    peers: bool = False
    """compare with normflows"""
    threads: Threads = 1
    """threads of the processor"""
    out: Path = Path("runs/benchmark-flow")
    """folder of the report"""


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    images = random_images(2048, SHAPE)
    stream = Stream(images, config.batch)
    flow = FlowConfig(steps=config.couplings, width=config.width, logit=0.0)  # the others have no logit
    method = flow.build(SHAPE, 0).to(images.device, memory_format=torch.channels_last)
    options = TrainOptions(config.steps * config.batch, config.batch, log_every=10**9)
    lab = partial(fit, method, stream, options)

    rows = []
    for name, rival in rivals(config, method, next(stream)[0]).items():
        rounds = seconds([rival, lab], config.repeats)  # in pairs: what ran before leaves its mark on the caches
        speeds = (options.images / median(times) for times in zip(*rounds))
        rows.append([name, *speeds, median(theirs / ours for theirs, ours in rounds)])
    page = genlab.Report("Speed of Glow")
    page.section("Beside a bare loop (floor) and other implementations").table(COSTS, rows)
    finish(config.out, page, records(COSTS, rows))


def rivals(config: Config, method: Any, x: Tensor) -> dict[str, Callable[[], None]]:
    """What is timed beside the lab's loop, by name."""
    separate = Flow(unfused_glow(SHAPE, config.couplings, config.width), SHAPE, method.config).to(x.device)
    found = {
        "floor": partial(bare, method, method.log_prob, x, config.steps),
        "separate layers": partial(bare, separate, separate.log_prob, x.contiguous(), config.steps),
    }
    if config.peers and find_spec("normflows"):
        peer = normflows(SHAPE, config.couplings, config.width).to(x.device)
        found["normflows"] = partial(bare, peer, lambda x: -peer(dequantise(x)), x.contiguous(), config.steps)
    elif config.peers:
        print("normflows is not installed and was left out")
    return found


def bare(net: nn.Module, log_prob: Callable[[Tensor], Tensor], x: Tensor, steps: int) -> None:
    """So many updates, with nothing but the passes that they need."""
    optimizer = adam(net.train(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        (-log_prob(x).mean()).backward()
        optimizer.step()


if __name__ == "__main__":
    start(main, Config)
