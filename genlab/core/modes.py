"""Networks in eval mode for a while, and then as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*maps: object) -> Iterator[None]:
    """Those of `maps` that are networks are in eval mode meanwhile, with all their parts."""
    modules = [part for m in maps if isinstance(m, nn.Module) for part in m.modules()]
    modes = [(part, part.training) for part in modules if hasattr(part, "training")]  # a frozen script has no mode
    try:
        for part, _ in modes:
            part.training = False  # not .eval(): a network may override it, and then nobody knows how to undo it
        yield
    finally:
        for part, mode in modes:
            part.training = mode
