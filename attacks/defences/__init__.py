"""Defences. A defended model is a model: images in [0, 1] -> logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

UNDEFENDED, ADAPTIVE = "none", "{}, adaptive"


def models_and_sources(
    model: nn.Module, defended: Mapping[str, nn.Module]
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """(models, sources) for `evaluate`, which attack each defended model obliviously and adaptively.

    models: "none": the undefended model; NAME: the defended model, attacked obliviously (its source model is "none");
    "NAME, adaptive": the defended model, attacked directly, as `defended.adaptive()` if it has that method (which gives
    the same predictions with useful gradients).
    """
    models: dict[str, nn.Module] = {UNDEFENDED: model}
    for name, one in defended.items():
        if one is not model:
            adaptive = one.adaptive() if hasattr(one, "adaptive") else one  # type: ignore[operator]
            models |= {name: one, ADAPTIVE.format(name): adaptive}
    return models, {name: UNDEFENDED for name in defended if name in models and name != UNDEFENDED}
