"""Defences. A defended model is a model: image in [0, 1] -> logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

UNDEFENDED, ADAPTIVE = "none", "{}, adaptive"


def line_up(model: nn.Module, defended: Mapping[str, nn.Module]) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """The models and sources with which `evaluate` tests defences honestly.

    `none` is the model itself; `NAME` the defended model under images whose source model is `none` (the attacker does
    not know of the defence); `NAME, adaptive` the same defended model, attacked through its defence:
    `defended.adaptive()` where there is such a method (it never changes an answer), else the model as it is.
    """
    models: dict[str, nn.Module] = {UNDEFENDED: model}
    for name, shield in defended.items():
        if shield is not model:
            knowing = shield.adaptive() if hasattr(shield, "adaptive") else shield  # type: ignore[operator]
            models |= {name: shield, ADAPTIVE.format(name): knowing}
    return models, {name: UNDEFENDED for name in defended if name in models and name != UNDEFENDED}
