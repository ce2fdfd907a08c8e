"""One trained network, made small in every way of the lab; each way is fine-tuned with the caller's own training."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from genlab.compress.deep import Train, pruned, shared
from genlab.compress.layers import hardened
from genlab.compress.low_rank import factorise
from genlab.compress.neurons import prune_neurons
from genlab.compress.quantise import round_evenly


def variants(
    dense: nn.Sequential, sparsity: Mapping[str, float] | float, bits: int | dict[str, int], rounds: int, train: Train
) -> dict[str, nn.Module]:
    """`dense` itself; pruned in `rounds`; that with shared weights; half of its neurons; 80 % of the energy of its
    spectra; weights of four bits. By name, in eval mode, ready to be saved."""
    found: dict[str, nn.Module] = {"dense": dense, "pruned": pruned(dense, sparsity, rounds, train)}
    found["shared"] = shared(found["pruned"], bits, train)
    found["half the neurons"] = prune_neurons(dense, 0.5)
    found["low rank"] = factorise(dense, 0.8)
    round_evenly(four := hardened(dense), 4)
    found["four bits"] = four
    for name, factor in (("half the neurons", 0.4), ("low rank", 0.4), ("four bits", 0.1)):
        train(found[name], factor, name)
    return {name: hardened(net).eval() for name, net in found.items()}
