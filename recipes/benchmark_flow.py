"""What does a Glow step of the lab cost beside a bare loop over the same network, and beside layers that stay apart?

floor: plain torch, the same network. apart: as published code writes it. Both and the lab descend the same bound. With
--peers normflows' own blocks, too, if they are installed (pip install --no-deps normflows).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn

from genlab.cli.main import start
from genlab.core.ranges import Count, Layers, Repeats, Steps, Threads, Width
from genlab.core.text import Console
from genlab.core.timing import seconds
from genlab.data import Stream
from genlab.data.random_images import random_images
from genlab.likelihood.units import dequantise
from genlab.methods.likelihood.flow import Flow, FlowConfig
from genlab.nets.glow_references import normflows, unfused_glow
from genlab.training.loop import fit
from genlab.training.method import TrainOptions
from genlab.training.optim import adam

SHAPE = (1, 28, 28)


@dataclass(frozen=True)
class Config:
    steps: Steps = 20  # updates per measurement
    repeats: Repeats = 5
    batch: Count = 64
    couplings: Layers = 8  # per level
    width: Width = 32  # channels in a coupling
    peers: bool = False
    threads: Threads = 1


def bare(net: nn.Module, log_prob: Callable[[Tensor], Tensor], x: Tensor, steps: int) -> None:
    optimizer = adam(net.train(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        (-log_prob(x).mean()).backward()
        optimizer.step()


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    images = random_images(2048, SHAPE)
    stream = Stream(images, config.batch)
    method = FlowConfig(steps=config.couplings, width=config.width, logit=0.0)  # the others have none
    method = method.build(SHAPE, 0).to(images.device, memory_format=torch.channels_last)
    other = Flow(unfused_glow(SHAPE, config.couplings, config.width), SHAPE, method.config).to(images.device)
    x, options = next(stream)[0], TrainOptions(config.steps * config.batch, config.batch, log_every=10**9)
    lab = partial(fit, method, stream, options)
    rivals: dict[str, Any] = {
        "floor": partial(bare, method, method.log_prob, x, config.steps),
        "apart": partial(bare, other, other.log_prob, x.contiguous(), config.steps),
    }
    if config.peers and find_spec("normflows"):
        peer = normflows(SHAPE, config.couplings, config.width).to(images.device)
        rivals["normflows"] = partial(bare, peer, lambda x: -peer(dequantise(x)), x.contiguous(), config.steps)
    elif config.peers:
        print("normflows is not installed and was left out")
    table = Table("images/s", "rival", "lab", "lab / rival")
    for name, rival in rivals.items():  # in pairs: what ran before leaves its mark on the caches
        rounds = seconds([rival, lab], config.repeats)
        speeds = (f"{config.steps * config.batch / median(column):,.0f}" for column in zip(*rounds))
        table.add_row(name, *speeds, f"{median(a / b for a, b in rounds):.3f}")
    Console().print(table)


if __name__ == "__main__":
    start(main, Config)
