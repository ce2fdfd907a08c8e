"""Dropout: Srivastava et al. 2014; Hinton et al. 2012, arXiv:1207.0580."""

from __future__ import annotations

from typing import Literal

from torch import nn

Where = Literal["last", "blocks"]
WEIGHTED = (nn.Conv2d, nn.Linear)


def with_dropout(net: nn.Module, p: float, where: Where) -> nn.Module:
    """`net` with nn.Dropout(p) before its last layer ("last"), or in every block ("blocks"): before every convolution
    and linear layer of a Sequential but its first, also within residual blocks (as in Wide ResNets, Zagoruyko &
    Komodakis 2016, arXiv:1605.07146). The pixels themselves are never dropped.

    Raises:
        ValueError: the network is no nn.Sequential, or has no such layer.
    """
    if not isinstance(net, nn.Sequential):
        raise ValueError(f"dropout needs a network that is an nn.Sequential, got {type(net).__name__}")
    if where == "last":
        return nn.Sequential(*net[:-1], nn.Dropout(p), net[-1])
    added = 0
    for part in [part for part in net.modules() if isinstance(part, nn.Sequential)]:
        layers = [i for i, layer in enumerate(part) if isinstance(layer, WEIGHTED)]
        for i in reversed(layers[1:]):
            part.insert(i, nn.Dropout(p))
            added += 1
    if not added:
        raise ValueError("dropout in blocks needs two convolutions or linear layers in one nn.Sequential, got none")
    return net
