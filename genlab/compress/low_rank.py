"""Low-rank factorisation: a layer of N inputs and M outputs becomes two of rank K, K (M + N) weights instead of M N.

The factors are the truncated singular value decomposition (Denton et al. 2014, arXiv:1404.0736, section 3), optimal in
the squared error of the weights (Eckart & Young 1936).
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlab.compress.layers import Layer


def rank_for(values: Tensor, energy: float) -> int:
    """The smallest rank that keeps a share `energy` in (0, 1] of the squared singular `values`, in descending order."""
    if not 0 < energy <= 1:
        raise ValueError(f"energy is the share of the squared singular values that stays, in (0, 1], got {energy}")
    kept = values.square().cumsum(0) / values.square().sum()
    return min(int((kept < energy - 1e-9).sum()) + 1, len(values))


@torch.no_grad()
def factors(layer: Layer, rank: int) -> nn.Sequential:
    """Two layers whose product is the best approximation of `layer` of this rank.

    A convolution becomes one with `rank` filters followed by a 1x1 convolution.
    """
    matrix = layer.weight.flatten(1)
    if not 1 <= rank <= min(matrix.shape):
        raise ValueError(f"a {matrix.shape[0]}x{matrix.shape[1]} layer has ranks 1 to {min(matrix.shape)}, got {rank}")
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    root = s[:rank].sqrt()
    first, second = root[:, None] * v[:rank], u[:, :rank] * root
    inner: Layer
    outer: Layer
    if isinstance(layer, nn.Linear):
        inner = nn.Linear(layer.in_features, rank, bias=False)
        outer = nn.Linear(rank, layer.out_features, bias=layer.bias is not None)
    else:
        inner = nn.Conv2d(
            layer.in_channels,
            rank,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            bias=False,
        )
        outer = nn.Conv2d(rank, layer.out_channels, 1, bias=layer.bias is not None)
    inner.weight.copy_(first.view_as(inner.weight))
    outer.weight.copy_(second.view_as(outer.weight))
    if layer.bias is not None and outer.bias is not None:
        outer.bias.copy_(layer.bias)
    return nn.Sequential(inner, outer).to(layer.weight)


def factorise(net: nn.Module, energy: float = 0.9, budget: float = 1.0) -> nn.Module:
    """A copy of `net` with every layer factorised that becomes smaller by it. The rank is the smallest that keeps the
    share `energy` in (0, 1], limited so that the factors have at most the share `budget` in (0, 1] of the weights.

    energy = 1: only the budget counts; budget = 1: only the energy.
    """
    if not 0 < budget <= 1:
        raise ValueError(f"budget is the share of a layer's weights that may stay, in (0, 1], got {budget}")

    def change(layer: Layer) -> nn.Module:
        matrix = layer.weight.detach().flatten(1)
        rank = rank_for(torch.linalg.svdvals(matrix), energy)
        if budget < 1:
            rank = min(rank, max(1, int(budget * matrix.numel() / sum(matrix.shape) + 1e-9)))
        plain = isinstance(layer, nn.Linear) or layer.groups == 1
        return factors(layer, rank) if plain and rank * sum(matrix.shape) < matrix.numel() else layer

    return replace_layers(net, change)


def replace_layers(net: nn.Module, change: Callable[[Layer], nn.Module]) -> nn.Module:
    """A copy of `net` with every linear layer and convolution replaced by change(layer)."""
    net = copy.deepcopy(net)
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear | nn.Conv2d):
                setattr(module, name, change(child))
    return net
