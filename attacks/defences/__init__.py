"""Defences. A defended model is a model: image in [0, 1] -> logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def line_up(model: nn.Module, defended: Mapping[str, nn.Module]) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """The models and sources with which `evaluate` tests defences honestly.

    `none` is the model itself; `NAME` the defended model under images made for `none` (the attacker does not know of
    the defence); `NAME, adaptive` the same defended model, attacked through its defence (`defended.adaptive()`).
    """
    models: dict[str, nn.Module] = {"none": model}
    for name, shield in defended.items():
        if shield is not model:
            models |= {name: shield, f"{name}, adaptive": shield.adaptive()}  # type: ignore[operator]
    return models, {name: "none" for name in defended if name in models and name != "none"}
