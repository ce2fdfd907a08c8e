"""Refuses what cannot fit into memory before any of it is allocated, naming the options to make smaller.

The estimates are lower bounds: what a training holds beside these numbers depends on the algorithm. What passes here
and still does not fit ends in one sentence, too (`genlab.cli.main.guarded`).
"""

from __future__ import annotations

import resource
import warnings
from dataclasses import fields
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genlab.core import distributed
from genlab.core.activations import of_step
from genlab.core.batch import check_batch

if TYPE_CHECKING:
    from genlab.training.method import Config, Method, TrainOptions

FLOAT = 4  # bytes


def require(need: int, what: str, make_smaller: str, device: torch.device | str = "cpu") -> None:
    """Refuses `need` bytes for `what` on `device` if less is free there.

    Raises:
        ValueError: naming the need, what there is, and the options `make_smaller`.
    """
    free = available(torch.device(device))
    if free is not None and need > free:
        raise ValueError(
            f"{what} would take at least {gigabytes(need)} of memory, but only {gigabytes(free)} are free: make "
            f"{make_smaller} smaller"
        )


def available(device: torch.device) -> int | None:
    """Bytes that this process can still allocate on `device`; None: unknown.

    On the CPU also under the limit of `ulimit -v`; on a GPU with what torch keeps in reserve.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    if device.type != "cpu":
        return None
    found = []
    try:
        with open("/proc/meminfo") as file:
            free = dict(line.split(":", 1) for line in file)
        found.append(1024 * sum(int(free[name].split()[0]) for name in ("MemAvailable", "SwapFree")))
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            with open("/proc/self/statm") as file:
                found.append(limit - int(file.read().split()[0]) * resource.getpagesize())
    except (OSError, KeyError, ValueError):  # no Linux
        pass
    return min(found, default=None)


def gigabytes(count: float) -> str:
    return f"{count / 2**30:,.3g} GiB" if count < 1000 * 2**30 else f"{count / 2**30:,.0f} GiB"


def check_training(
    config: Config,
    shape: tuple[int, int, int],
    classes: int,
    options: TrainOptions,
    device: torch.device,
    pair: bool = False,
) -> None:
    """Refuses what `config` refuses for these images and batches, and what does not fit into the memory of `device`.

    Counted are the weights with their gradients, two moments and average, a batch, and what a step keeps for its
    backward passes; nothing is allocated. pair: the data are two sets of images.

    Raises:
        ValueError: naming the options to change.
    """
    batch = 2 * options.batch * prod(shape) * FLOAT
    require(batch, f"a batch of {options.batch:,} images {shape}", "--batch", device)
    method = on_meta(config, shape, classes)
    if method is not None:
        check_batch(method, options.batch, distributed.world_size())
        need = of_training(method, options)
        weights = f"training {sum(map(Tensor.numel, method.parameters())):,} weights"
        require(need, weights, larger(config), device)
        if distributed.world_size() == 1 and doubtful(method, shape, options.batch, device):
            need += of_step(method, shape, options.batch, pair=pair) // (2 if options.precision == "bfloat16" else 1)
            require(need, f"{weights} on batches of {options.batch:,}", f"--batch or {larger(config)}", device)


def doubtful(method: Method, shape: tuple[int, int, int], batch: int, device: torch.device) -> bool:
    """Whether a step of `method` might not fit, by a rough bound from above, and is worth measuring: every
    layer keeps as many channels as it has weights' rows, at every place of the image, ten times over."""
    rows = sum(len(p) for p in method.parameters() if p.ndim)
    free = available(device)
    return free is not None and 10 * batch * prod(shape[1:]) * rows * FLOAT > free


def on_meta(config: Config, shape: tuple[int, int, int], classes: int) -> Method | None:
    """The method with the shapes of its weights, but without their values; None if it cannot be made without them.

    Raises:
        ValueError: whatever `config.build` refuses.
    """
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return config.build(shape, classes)
    except (ValueError, OSError):
        raise
    except Exception:
        return None


def of_training(method: Method, options: TrainOptions) -> int:
    """Bytes of the weights and buffers, of gradients and two moments of those that learn, and of an average."""
    size = lambda tensors: sum(t.numel() * t.element_size() for t in tensors)
    weights = size(method.parameters()) + size(method.buffers())
    learnt = size(p for p in method.parameters() if p.requires_grad)
    return weights + 3 * learnt + (weights if options.half_life is not None else 0)


def larger(config: Config) -> str:
    """Names the options that are whole numbers above their defaults; without any, `--width` if there is one."""
    names = []
    for field in fields(config):
        value, usual = getattr(config, field.name), field.default
        sizes = value if isinstance(value, tuple) else (value,)
        plain = all(isinstance(size, int) and not isinstance(size, bool) for size in sizes)
        if plain and value != usual and not (isinstance(usual, int) and value < usual):
            names.append(f"--{field.name.replace('_', '-')}")
    return " or ".join(names) or "--width"
