"""Data-parallel training with plain collectives of torch.distributed, without network wrappers.

Under `torchrun` every process (rank) holds the whole method, processes its share of each batch, and averages gradients
with one flat all-reduce. Without `torchrun` every function here is the identity.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """Number of this process among all, from 0; 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes; 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


_chosen: torch.device | None = None


@contextmanager
def on(name: str | None) -> Iterator[None]:
    """Makes `device()` return the device `name` within the block: cpu, cuda, cuda:1, mps; none: no change.

    Raises:
        ValueError: this machine has no such device.
    """
    global _chosen
    before, _chosen = _chosen, _chosen if name is None else known_device(name)
    try:
        yield
    finally:
        _chosen = before


def known_device(name: str) -> torch.device:
    """The device of that name, the value of --device.

    Raises:
        ValueError: this machine has no such device.
    """
    kind, _, number = name.partition(":")
    known = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if known.get(kind, 0) and (not number or (number.isdecimal() and int(number) < known[kind])):
        return torch.device(name)
    here = [f"{kind}:{i}" if kind == "cuda" else kind for kind, count in known.items() for i in range(count)]
    raise ValueError(f"--device must be one of those of this machine, {', '.join(here)}, got {name!r}")


def device() -> torch.device:
    """The device of this process: that of `on`, else a GPU (shared if there are fewer GPUs than processes), else the
    CPU."""
    if _chosen is not None and (_chosen.type != "cuda" or _chosen.index is not None):
        return _chosen
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())


@contextmanager
def group() -> Iterator[torch.device]:
    """Initialises the process group under `torchrun`; yields the device of this process."""
    here = device()
    if here.type == "cuda":
        torch.cuda.set_device(here)
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield here
        return
    here_all = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))  # processes on this machine
    own = here.type == "cuda" and here_all <= torch.cuda.device_count()
    dist.init_process_group("nccl" if own else "gloo")  # NCCL refuses two processes on one GPU
    try:
        yield here
    finally:
        dist.destroy_process_group()


def average(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The mean over ranks of every tensor, by one flat all-reduce."""
    if world_size() == 1:
        return list(tensors)
    flat = torch.cat([t.detach().flatten() for t in tensors])
    dist.all_reduce(flat)
    flat /= world_size()
    return [part.view_as(t) for t, part in zip(tensors, flat.split([t.numel() for t in tensors]))]


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Copies the values of rank 0 to all ranks, in place."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0)


def broadcast_object(value: Any) -> Any:
    """Returns the object of rank 0 on all ranks."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def highest(value: int, device: torch.device) -> int:
    """The maximum over ranks, on all ranks."""
    if world_size() == 1:
        return int(value)
    box = torch.tensor(int(value), device=device)
    dist.all_reduce(box, dist.ReduceOp.MAX)
    return int(box)


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Rank 0 runs the block first, then the other ranks: they find the files it has written."""
    if world_size() > 1 and rank() > 0:
        dist.barrier()
    yield
    if world_size() > 1 and rank() == 0:
        dist.barrier()
