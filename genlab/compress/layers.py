"""Compressed weights as parametrisations (torch.nn.utils.parametrize) of linear layers and convolutions.

The learned parameter is mapped to the weight at every use. So every Method can train compressed networks: pruned
weights stay zero, and shared weights stay equal.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Layer = nn.Linear | nn.Conv2d


def weighted(net: nn.Module) -> Iterator[tuple[str, Layer]]:
    """The linear layers and convolutions of `net` with their names, in order."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            yield name, module


def replace_weight(layer: Layer, how: nn.Module) -> None:
    """Parametrises `layer.weight` as how(parameter); the parameter starts at how.right_inverse(current weight)."""
    remove_parametrisations(layer)
    parametrize.register_parametrization(layer, "weight", how, unsafe=True)


def parametrisation(layer: Layer) -> nn.Module | None:
    """The parametrisation of the weight of `layer`; None if it is a plain parameter."""
    return layer.parametrizations.weight[0] if parametrize.is_parametrized(layer, "weight") else None  # type: ignore


@torch.no_grad()
def remove_parametrisations(net: nn.Module) -> nn.Module:
    """Replaces all parametrised weights of `net` by plain parameters of the same values, in place; returns `net`."""
    for module in net.modules():
        if parametrize.is_parametrized(module, "weight"):
            weight: Tensor = module.weight.detach().clone()  # type: ignore[operator]
            _own_class(module)
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
            module.weight = nn.Parameter(weight)
    return net


def _own_class(module: nn.Module) -> None:
    """Gives a parametrised module a class of its own.

    torch creates a class for every parametrised module, which copies of the module share, and `remove_parametrizations`
    modifies this class.
    """
    shared = type(module)
    module.__class__ = type(shared.__name__, shared.__bases__, dict(shared.__dict__))


def plain_copy(net: nn.Module) -> nn.Module:
    """A copy of `net` without parametrisations."""
    return remove_parametrisations(copy.deepcopy(net))
