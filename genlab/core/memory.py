"""Checks memory requirements before anything is allocated; errors name the options to reduce.

The estimates are lower bounds. Whatever passes here and still runs out of memory ends in one sentence, too
(`genlab.cli.main.guarded`).
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
from genlab.core.activations import step_bytes
from genlab.core.batch import check_batch

if TYPE_CHECKING:
    from genlab.training.method import Config, Method, TrainOptions

FLOAT = 4  # bytes


def require(need: int, what: str, make_smaller: str, device: torch.device | str = "cpu") -> None:
    """Checks that `need` bytes for `what` are free on `device`.

    Raises:
        ValueError: they are not; names both amounts and the options `make_smaller`.
    """
    free = available(torch.device(device))
    if free is not None and need > free:
        raise ValueError(
            f"{what} would take at least {gigabytes(need)} of memory, but only {gigabytes(free)} are free: make "
            f"{make_smaller} smaller"
        )


def available(device: torch.device) -> int | None:
    """Bytes that this process can still allocate on `device`; None: unknown.

    On the CPU it respects `ulimit -v`; on a GPU it includes memory that torch has reserved and not allocated.
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
    """Checks that `config` can be built for these images and batches, and trained in the memory of `device`.

    Counts weights, gradients, two Adam moments, EMA, a batch, and the activations of a step; allocates nothing.

    pair: the data are two sets of images.

    Raises:
        ValueError: names the options to change.
    """
    batch = 2 * options.batch * prod(shape) * FLOAT
    require(batch, f"a batch of {options.batch:,} images {shape}", "--batch", device)
    method = build_on_meta(config, shape, classes)
    if method is not None:
        check_batch(method, options.batch, distributed.world_size())
        need = training_bytes(method, options)
        weights = f"training {sum(map(Tensor.numel, method.parameters())):,} weights"
        require(need, weights, enlarged_options(config), device)
        if distributed.world_size() == 1 and may_not_fit(method, shape, options.batch, device):
            need += step_bytes(method, shape, options.batch, pair=pair) // (2 if options.precision == "bfloat16" else 1)
            require(
                need, f"{weights} on batches of {options.batch:,}", f"--batch or {enlarged_options(config)}", device
            )


def may_not_fit(method: Method, shape: tuple[int, int, int], batch: int, device: torch.device) -> bool:
    """Whether a rough upper bound of the activations exceeds the free memory, so that they must be measured: ten
    full-resolution maps per output channel of every layer."""
    rows = sum(len(p) for p in method.parameters() if p.ndim)
    free = available(device)
    return free is not None and 10 * batch * prod(shape[1:]) * rows * FLOAT > free


def build_on_meta(config: Config, shape: tuple[int, int, int], classes: int) -> Method | None:
    """The method with its weights on the meta device; None if it cannot be built there.

    Raises:
        ValueError: raised by `config.build`.
    """
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return config.build(shape, classes)
    except (ValueError, OSError):
        raise
    except Exception:
        return None


def training_bytes(method: Method, options: TrainOptions) -> int:
    """Bytes of weights and buffers, of gradients and two moments of the trainable ones, and of the EMA."""
    size = lambda tensors: sum(t.numel() * t.element_size() for t in tensors)
    weights = size(method.parameters()) + size(method.buffers())
    learnt = size(p for p in method.parameters() if p.requires_grad)
    return weights + 3 * learnt + (weights if options.half_life is not None else 0)


def enlarged_options(config: Config) -> str:
    """Names the integer options that are above their defaults; if there are none, `--width`."""
    names = []
    for field in fields(config):
        value, usual = getattr(config, field.name), field.default
        sizes = value if isinstance(value, tuple) else (value,)
        plain = all(isinstance(size, int) and not isinstance(size, bool) for size in sizes)
        if plain and value != usual and not (isinstance(usual, int) and value < usual):
            names.append(f"--{field.name.replace('_', '-')}")
    return " or ".join(names) or "--width"
