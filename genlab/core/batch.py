"""Which batch sizes a method can learn from: said by the module that cannot do with every one, asked before training.

A module says so by an attribute `batch_sizes`, a range of images per process: batch normalisation of vectors needs two
images, a pool of 50 takes at most 50, halves of a batch need an even number.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

ANY = range(1, 10**12)
M = TypeVar("M", bound=nn.Module)


def at_least(n: int, multiple: int = 1) -> range:
    """The sizes from n on, which is a multiple of `multiple`, that are multiples of it."""
    return range(n, ANY.stop, multiple)


def needing(module: M, n: int) -> M:
    """`module` itself, which needs n images at least."""
    module.batch_sizes = at_least(n)  # type: ignore[assignment]
    return module


def batch_sizes(module: nn.Module) -> range:
    """The sizes that suit `module` and everything within it; at most one of them has a multiple."""
    found: list[range] = [getattr(part, "batch_sizes", ANY) for part in module.modules()]
    multiple = max(sizes.step for sizes in found)
    least = -(-max(sizes.start for sizes in found) // multiple) * multiple
    return range(least, min(sizes.stop for sizes in found), multiple)


def check_batch(method: nn.Module, batch: int, world: int = 1) -> None:
    """Refuses a batch that, divided among `world` processes, does not suit `method`.

    Raises:
        ValueError: it does not; the sentence names `--batch` and the sizes that do.
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
