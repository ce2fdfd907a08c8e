"""One trained network compressed by several methods, each fine-tuned by the caller's training function."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from genlab.compress.deep import Train, pruned, shared
from genlab.compress.layers import plain_copy
from genlab.compress.low_rank import factorise
from genlab.compress.neurons import prune_neurons
from genlab.compress.quantise import quantise_uniformly


def variants(
    dense: nn.Sequential, sparsity: Mapping[str, float] | float, bits: int | dict[str, int], rounds: int, train: Train
) -> dict[str, nn.Module]:
    """By name: `dense` itself; pruned in `rounds`; this with weight sharing; half of the neurons; low rank at 80 % of
    the energy; 4-bit weights. In eval mode, without parametrisations."""
    found: dict[str, nn.Module] = {"dense": dense, "pruned": pruned(dense, sparsity, rounds, train)}
    found["shared"] = shared(found["pruned"], bits, train)
    found["half the neurons"] = prune_neurons(dense, 0.5)
    found["low rank"] = factorise(dense, 0.8)
    quantise_uniformly(four := plain_copy(dense), 4)
    found["four bits"] = four
    for name, factor in (("half the neurons", 0.4), ("low rank", 0.4), ("four bits", 0.1)):
        train(found[name], factor, name)
    return {name: plain_copy(net).eval() for name, net in found.items()}
