"""Classifier networks by name, or made by the user's own code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from genlab.core.modes import evaluating
from genlab.core.ranges import NameOrCode
from genlab.core.resolve import absolute, is_reference, resolve
from genlab.core.text import one_line
from genlab.nets.classifiers import LENETS, NETWORKS

NetName = Annotated[str, NameOrCode(tuple(NETWORKS | LENETS))]


class NetOptions:
    """What configs with the options `net` (a NetName) and `width` share; `code_fields` may name the user's own code."""

    net: str
    width: int | None
    code_fields: ClassVar[tuple[str, ...]] = ("net",)

    def __post_init__(self) -> None:
        for name in self.code_fields:
            value = getattr(self, name)
            full = tuple(map(_absolute, value)) if isinstance(value, tuple) else _absolute(value)
            object.__setattr__(self, name, full)
        super().__post_init__()  # type: ignore[misc]

    def own_code(self) -> list[str]:
        values = [getattr(self, name) for name in self.code_fields]
        flat = [str(each) for value in values for each in (value if isinstance(value, tuple) else (value,))]
        return list(filter(is_reference, flat))

    def make_net(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The untrained network.

        Raises:
            ValueError: as `network`.
        """
        return network(self.net, shape, classes, self.width)


def _absolute(value: Any) -> Any:
    return type(value)(absolute(str(value))) if isinstance(value, str | Path) and is_reference(str(value)) else value


def network(name: str, shape: tuple[int, int, int], classes: int, width: int | None = None) -> nn.Module:
    """The network `name`: x (N, *shape) in [0, 1] -> logits (N, classes).

    name: one of NETWORKS or LENETS, or the user's own function (shape, classes) -> nn.Module as file.py:function.
    width: channels of the first level, or hidden units; none: the network's own.

    Raises:
        ValueError: the network does not fit the images, or the user's function fails or returns no such network.
    """
    if not is_reference(name):
        return (NETWORKS | LENETS)[name](shape, classes, **({} if width is None else {"width": width}))
    if width is not None:
        raise ValueError(f"width is an option of the lab's own networks, not of {name}")
    build = resolve(name)
    try:
        net = build(shape, classes)
    except Exception as error:
        raise ValueError(f"{name}({shape}, {classes}) fails: {type(error).__name__}: {one_line(error, 300)}") from error
    if not isinstance(net, nn.Module):
        raise ValueError(f"{name} must return an nn.Module, got {type(net).__name__}")
    net.register_forward_pre_hook(contiguous_inputs)
    _check(net, name, shape, classes)
    return net


def with_linear_end(net: nn.Module) -> tuple[nn.Sequential, int]:
    """The network itself and the number of its features, which the layers before its last one, a linear layer, compute.

    Raises:
        ValueError: the network is no nn.Sequential that ends in a linear layer.
    """
    if not (isinstance(net, nn.Sequential) and isinstance(net[-1], nn.Linear)):
        raise ValueError(f"--net must be an nn.Sequential that ends in a linear layer, got {type(net).__name__}")
    return net, net[-1].in_features


def contiguous_inputs(net: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """A forward pre-hook: images of the lab are channels last in memory, of which a network with `x.view(n, -1)` knows
    nothing. (`x.contiguous()` would leave images of one channel with the strides of channels last.)"""
    return tuple(x.flatten().view(x.shape) if isinstance(x, Tensor) else x for x in inputs)


@torch.no_grad()
def _check(net: nn.Module, name: str, shape: tuple[int, int, int], classes: int) -> None:
    x = torch.zeros(2, *shape)
    if x.is_meta and not any(isinstance(p, UninitializedParameter) for p in net.parameters()):
        return  # only memory is measured; lazy layers need the images to have a size
    try:
        with evaluating(net):
            y = net(x)
    except Exception as error:
        raise ValueError(
            f"{name}: the network does not take images of shape {shape}: {type(error).__name__}: {one_line(error, 300)}"
        ) from error
    if not isinstance(y, Tensor) or y.shape != (2, classes):
        got = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"{name} must return logits of shape (N, {classes}) for N images, got {got} for 2 images")
