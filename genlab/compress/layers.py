"""The layers that carry a network's weights, and how a weight is replaced by a function of something smaller.

A compressed weight is a parametrisation (torch.nn.utils.parametrize): what is learnt stays a parameter, the layer sees
the function of it. So every Method trains compressed networks as it trains others, a pruned weight stays zero and
shared weights stay equal.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Layer = nn.Linear | nn.Conv2d


def weighted(net: nn.Module) -> Iterator[tuple[str, Layer]]:
    """Linear layers and convolutions by name, in the order of the network."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            yield name, module


def replace_weight(layer: Layer, how: nn.Module) -> None:
    """`layer.weight` becomes how(what is learnt), starting at how.right_inverse(the weight it has now)."""
    harden(layer)
    parametrize.register_parametrization(layer, "weight", how, unsafe=True)


def parametrisation(layer: Layer) -> nn.Module | None:
    """What makes the weight of `layer`, if it is not a plain parameter."""
    return layer.parametrizations.weight[0] if parametrize.is_parametrized(layer, "weight") else None  # type: ignore


@torch.no_grad()
def harden(net: nn.Module) -> nn.Module:
    """Turns all parametrised weights of `net` into plain ones of the same values, in place; returns it."""
    for module in net.modules():
        if parametrize.is_parametrized(module, "weight"):
            weight: Tensor = module.weight.detach().clone()  # type: ignore[operator]
            _own_class(module)
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
            module.weight = nn.Parameter(weight)
    return net


def _own_class(module: nn.Module) -> None:
    """Gives a parametrised module a class that no copy of it shares.

    torch makes a class for every parametrised module, its copies share that class, and `remove_parametrizations` takes
    the parametrised attribute out of it.
    """
    shared = type(module)
    module.__class__ = type(shared.__name__, shared.__bases__, dict(shared.__dict__))


def hardened(net: nn.Module) -> nn.Module:
    """A copy of `net` with plain weights."""
    return harden(copy.deepcopy(net))
