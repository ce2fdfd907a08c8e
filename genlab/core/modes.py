"""A context manager for eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*maps: object) -> Iterator[None]:
    """Puts the modules among `maps` into eval mode and restores the modes of all submodules afterwards."""
    modules = [part for m in maps if isinstance(m, nn.Module) for part in m.modules()]
    modes = [
        (part, part.training) for part in modules if hasattr(part, "training")
    ]  # a frozen ScriptModule has no mode
    try:
        for part, _ in modes:
            part.training = False  # not .eval(): a network may override it in a way that cannot be undone
        yield
    finally:
        for part, mode in modes:
            part.training = mode
