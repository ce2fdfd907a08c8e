"""Structured pruning: removes neurons and filters, so that the network becomes smaller and faster. By norm (Li et al.
2017, arXiv:1608.08710) or average percentage of zeros (APoZ; Hu et al. 2016, arXiv:1607.03250).

For nn.Sequential networks of linear layers and convolutions with elementwise layers, pooling and flattening between.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.compress.layers import Layer
from genlab.core.modes import evaluating
from genlab.data import Images, batches

By = Literal["l1", "l2", "zeros"]
PASS_THROUGH = (nn.ReLU, nn.Tanh, nn.LeakyReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Flatten, nn.Dropout, nn.BatchNorm2d)


def chain(net: nn.Module) -> list[int]:
    """The positions of the linear layers and convolutions in a sequential network.

    Raises:
        ValueError: the network is not sequential or has unsupported layers between.
    """
    if not isinstance(net, nn.Sequential):
        raise ValueError(f"neurons can be removed from an nn.Sequential only, not from {type(net).__name__}")
    places = [i for i, module in enumerate(net) if isinstance(module, nn.Linear | nn.Conv2d)]
    for module in net[places[0] : places[-1]]:
        if not isinstance(module, (*PASS_THROUGH, nn.Linear, nn.Conv2d)):
            raise ValueError(f"neurons cannot be removed across a {type(module).__name__}")
    return places


@torch.no_grad()
def scores(net: nn.Sequential, by: By, data: Images | None = None) -> list[Tensor]:
    """The importance of every output of every layer but the last, (outputs,) each: the norm of its weights, or the
    share of `data` (and positions) for which it is above zero."""
    places = chain(net)
    if by != "zeros":
        order = {"l1": 1, "l2": 2}[by]
        return [net[i].weight.flatten(1).norm(order, dim=1) for i in places[:-1]]  # type: ignore[operator]
    if data is None:
        raise ValueError("the criterion 'zeros' needs data, got none")
    active: list[Tensor] = [torch.zeros(1)] * (len(places) - 1)
    with evaluating(net):
        for x, _ in batches(data, 500):
            for k, i in enumerate(places[:-1]):
                x = net[: i + 1](x) if k == 0 else net[places[k - 1] + 1 : i + 1](x)
                alive = (x > 0).float()
                active[k] = active[k] + alive.mean([d for d in range(x.ndim) if d != 1]) * len(x) / len(data)
    return active


@torch.no_grad()
def remove(net: nn.Sequential, keep: list[Tensor]) -> nn.Sequential:
    """A smaller copy of `net` with only the outputs `keep`, bool (outputs,), of each layer but the last."""
    net = copy.deepcopy(net)
    places = chain(net)
    for k, kept in enumerate(keep):
        if not kept.any():
            raise ValueError(f"layer {places[k]} would lose all its {len(kept)} outputs")
        first, second = net[places[k]], net[places[k + 1]]
        assert isinstance(first, nn.Linear | nn.Conv2d) and isinstance(second, nn.Linear | nn.Conv2d)
        net[places[k]] = slice_layer(first, outputs=kept)
        for i in range(places[k] + 1, places[k + 1]):
            if isinstance(norm := net[i], nn.BatchNorm2d):
                net[i] = slice_norm(norm, kept)
        each = second.weight.shape[1] // len(kept)  # a flattened channel feeds several inputs
        net[places[k + 1]] = slice_layer(second, inputs=kept.repeat_interleave(each))
    return net


def prune_neurons(net: nn.Sequential, share: float, by: By = "l1", data: Images | None = None) -> nn.Sequential:
    """A copy of `net` without the `share` in [0, 1) of least important outputs of every layer but the last."""
    if not 0 <= share < 1:
        raise ValueError(f"the share of pruned neurons is in [0, 1), got {share}")
    keep = []
    for score in scores(net, by, data):
        order = score.argsort()
        keep.append(torch.ones_like(score, dtype=torch.bool).index_fill(0, order[: round(share * len(score))], False))
    return remove(net, keep)


def slice_layer(layer: Layer, outputs: Tensor | None = None, inputs: Tensor | None = None) -> Layer:
    """A copy of `layer` with only some of its outputs or inputs (bool masks)."""
    weight, bias = layer.weight, layer.bias
    if outputs is not None:
        weight, bias = weight[outputs], None if bias is None else bias[outputs]
    if inputs is not None:
        weight = weight[:, inputs]
    small = copy.copy(layer)
    small._parameters = dict(layer._parameters)
    small.weight = nn.Parameter(weight.clone())
    small.bias = None if bias is None else nn.Parameter(bias.clone())
    if isinstance(small, nn.Linear):
        small.out_features, small.in_features = weight.shape
    else:
        small.out_channels, small.in_channels = weight.shape[:2]
    return small


def slice_norm(norm: nn.BatchNorm2d, kept: Tensor) -> nn.BatchNorm2d:
    """BatchNorm of the channels `kept`, (C,) bool, with their weights and statistics."""
    small = nn.BatchNorm2d(int(kept.sum()), norm.eps, norm.momentum).to(kept.device).train(norm.training)
    state = {name: value[kept] if value.ndim else value for name, value in norm.state_dict().items()}
    small.load_state_dict(state)
    return small
