"""A callable as a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class CallableModule(nn.Module):
    """A callable as a module; if it is a method of a module (`model.reconstruct`), that module becomes a submodule."""

    def __init__(self, call: Callable[..., Tensor]) -> None:
        super().__init__()
        self.call = call
        owner = getattr(getattr(call, "func", call), "__self__", None)  # `func`: of a functools.partial
        self.owner = owner if isinstance(owner, nn.Module) else None

    def forward(self, *args: Any) -> Tensor:
        return self.call(*args)
