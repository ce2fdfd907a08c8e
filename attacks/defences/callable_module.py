"""A callable as a module; one that returns images."""

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


class ImageMap(CallableModule):
    """A callable that returns images (N, C, H, W) in [0, 1], or a tuple that begins with them, as a module.

    Its first output is checked: ValueError unless it is a tensor, within [-0.5, 2] (a last layer without sigmoid may
    overshoot a little).
    """

    checked = False

    def forward(self, *args: Any) -> Tensor:
        found = super().forward(*args)
        found = found[0] if isinstance(found, tuple | list) and found else found
        if not self.checked:
            if not isinstance(found, Tensor):
                raise ValueError(f"a generator or auto-encoder must return images, got {type(found).__name__}.")
            low, high = (value.item() for value in found.detach().aminmax())
            if low < -0.5 or high > 2:
                hint = "bring it to [0, 1], as lambda x: (model(x) + 1) / 2 does from [-1, 1]"
                raise ValueError(f"images must be in [0, 1], but a model returned {low:.3g} to {high:.3g}: {hint}.")
            self.checked = True
        return found
