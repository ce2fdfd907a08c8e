"""The batch sizes that a method supports, checked before training.

A module with restrictions has an attribute `batch_sizes`, a range of images per process: batch normalisation of vectors
needs two images, an image pool of 50 at most 50, a batch that is split in halves an even number.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

ANY = range(1, 10**12)
M = TypeVar("M", bound=nn.Module)


def at_least(n: int, multiple: int = 1) -> range:
    """The multiples of `multiple` from n on; n must be one."""
    return range(n, ANY.stop, multiple)


def with_min_batch(module: M, n: int) -> M:
    """Returns `module`, marked as needing at least n images per batch."""
    module.batch_sizes = at_least(n)  # type: ignore[assignment]
    return module


def batch_sizes(module: nn.Module) -> range:
    """The batch sizes that `module` and all its submodules support; at most one of them may require a multiple."""
    found: list[range] = [getattr(part, "batch_sizes", ANY) for part in module.modules()]
    multiple = max(sizes.step for sizes in found)
    least = -(-max(sizes.start for sizes in found) // multiple) * multiple
    return range(least, min(sizes.stop for sizes in found), multiple)


def check_batch(method: nn.Module, batch: int, world: int = 1) -> None:
    """Checks that `batch`, divided among `world` processes, is supported by `method`.

    Raises:
        ValueError: it is not; names `--batch` and the supported sizes.
    """
    sizes = batch_sizes(method)
    if batch // world in sizes:
        return
    allowed = f"at least {sizes.start * world:,}"
    if sizes.step > 1:
        allowed += f" and a multiple of {sizes.step * world}"
    if sizes.stop < ANY.stop:
        allowed += f" and at most {(sizes.stop - 1) * world:,}"
    among = f" on {world} processes" if world > 1 else ""
    raise ValueError(f"--batch must be {allowed} for {type(method).__name__} with these options{among}, got {batch}")
