"""Deep Compression: iterative pruning and weight sharing; Han et al. 2016, arXiv:1510.00149.

The third stage, Huffman coding, is `file.save`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

from torch import nn

from genlab.compress.prune import checked, prune
from genlab.compress.quantise import share

Train = Callable[[nn.Module, float, str], object]  # network, factor of the learning rate, name

# layer -> sparsity, and bits of the remaining weights: tables 4 and 5 of the paper
LENET300 = {"1": 0.92, "3": 0.91, "5": 0.74}, 5
LENET5 = {"0": 0.34, "2": 0.88, "5": 0.92, "7": 0.81}, {"0": 8, "2": 8, "5": 5, "7": 5}
SETTINGS: dict[str, tuple[dict[str, float], int | dict[str, int]]] = {"lenet-300-100": LENET300, "lenet-5": LENET5}


def pruned(net: nn.Module, sparsity: Mapping[str, float] | float, rounds: int, train: Train) -> nn.Module:
    """A copy of `net` with its smallest weights pruned iteratively in `rounds`, the same share of the remaining weights
    in each, followed by training."""
    if rounds < 1:
        raise ValueError(f"pruning takes at least 1 round, got {rounds}")
    net = copy.deepcopy(net)
    for i in range(1, rounds + 1):
        part = lambda goal, i=i: 1 - (1 - checked(goal)) ** (i / rounds)
        prune(net, part(sparsity) if isinstance(sparsity, float) else {k: part(goal) for k, goal in sparsity.items()})
        train(net, 0.4, f"pruned, round {i}")
    return net


def shared(net: nn.Module, bits: int | dict[str, int], train: Train) -> nn.Module:
    """A copy of `net` with weight sharing, whose shared values were trained."""
    share(net := copy.deepcopy(net), bits)
    train(net, 0.002, "shared")
    return net
