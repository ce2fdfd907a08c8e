"""Unstructured magnitude pruning, one-shot or iterative; Han et al. 2015, arXiv:1506.02626. Lottery tickets: the
remaining weights rewound to their initial values; Frankle & Carbin 2019, arXiv:1803.03635.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.compress.layers import parametrisation, replace_weight, weighted


class Mask(nn.Module):
    """weight -> weight where `mask` is 1, else 0 (never -0, which compresses worse)."""

    mask: Tensor

    def __init__(self, mask: Tensor):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight.masked_fill(self.mask == 0, 0.0)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


def checked(sparsity: float) -> float:
    """Returns the sparsity if it is in [0, 1), else raises ValueError."""
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity is the share of zero weights, in [0, 1), got {sparsity}")
    return sparsity


@torch.no_grad()
def prune(net: nn.Module, sparsity: float | Mapping[str, float], scope: Literal["layer", "network"] = "layer") -> None:
    """Prunes the weights of `net` with the smallest magnitude, in place; already pruned ones count.

    sparsity: the share of zero weights in [0, 1), for all layers or by layer name (others stay dense).
    scope: whether magnitudes are compared within each layer or across the network.
    """
    layers = dict(weighted(net))
    if isinstance(sparsity, Mapping):
        unknown = [name for name in sparsity if name not in layers]
        if unknown:
            raise ValueError(f"no layer {unknown[0]!r} with weights; there are {', '.join(layers)}")
        shares = {name: checked(share) for name, share in sparsity.items()}
    else:
        shares = dict.fromkeys(layers, checked(sparsity))
    sizes = {name: layers[name].weight.abs() for name in shares}
    if scope == "network":
        limit = smallest(torch.cat([size.flatten() for size in sizes.values()]), max(shares.values()))
        keep = {name: size > limit for name, size in sizes.items()}
    else:
        keep = {name: size > smallest(size.flatten(), shares[name]) for name, size in sizes.items()}
    apply_masks(net, keep)


def smallest(sizes: Tensor, share: float) -> Tensor:
    """The quantile of sizes (N,) at `share`: the largest pruned value; -1 if nothing is pruned."""
    count = round(share * len(sizes))
    return sizes.kthvalue(count).values if count else sizes.new_tensor(-1.0)


@torch.no_grad()
def apply_masks(net: nn.Module, keep: Mapping[str, Tensor]) -> None:
    """Applies masks to layers by name; an existing mask is replaced, and the values under it are kept."""
    for name, layer in weighted(net):
        if name in keep:
            old = parametrisation(layer)
            if isinstance(old, Mask):
                old.mask.copy_(keep[name])
            else:
                replace_weight(layer, Mask(keep[name].to(layer.weight.dtype)))


def masks(net: nn.Module) -> dict[str, Tensor]:
    """Layer name -> mask, 1 for weights that are kept."""
    found = {name: parametrisation(layer) for name, layer in weighted(net)}
    return {name: how.mask for name, how in found.items() if isinstance(how, Mask)}


def weights(net: nn.Module) -> dict[str, Tensor]:
    """A copy of the parameters of `net`, by their names without parametrisations, for `rewind`."""
    plain = lambda name: name.replace("parametrizations.", "").replace(".original", "")
    return {plain(name): p.detach().clone() for name, p in net.named_parameters()}


@torch.no_grad()
def rewind(net: nn.Module, start: Mapping[str, Tensor]) -> None:
    """Resets every parameter to `start` (of `weights`), in place, and keeps the masks: a lottery ticket."""
    for name, p in net.named_parameters():
        p.copy_(start[name.replace("parametrizations.", "").replace(".original", "")])
