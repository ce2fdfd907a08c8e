"""Finished parts of a long attack, kept where the caller provides a `Keeper`: an interrupted attack then goes on.

An attack of several parts asks `keeper.get()`, which is None if nothing is kept, for what it saved after each part.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from torch import Tensor


class Keeper(Protocol):
    def load(self, part: str) -> tuple[Tensor, ...] | None:
        """What was saved when the part was finished; None if it was not."""

    def save(self, part: str, *tensors: Tensor) -> None: ...


keeper: ContextVar[Keeper | None] = ContextVar("keeper", default=None)
