"""The size of a network: parameters, non-zero parameters, multiplications (MACs) per image."""

from __future__ import annotations

import io
import lzma

import torch
from torch import Tensor, nn

from genlab.compress.layers import plain_copy, weighted
from genlab.core.modes import evaluating


def parameters(net: nn.Module) -> int:
    """The number of parameters, with parametrised weights counted as the dense weights that the layers use."""
    return sum(p.numel() for p in plain_copy(net).parameters())


def nonzeros(net: nn.Module) -> int:
    """The number of non-zero parameters."""
    return sum(int(p.count_nonzero()) for p in plain_copy(net).parameters())


@torch.no_grad()
def macs(net: nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiply-accumulate operations of all convolutions and linear layers for one image of `shape` (C, H, W)."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += output[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            total += output[0].numel() * layer.in_features

    hooks = [layer.register_forward_hook(count) for _, layer in weighted(net)]
    try:
        with evaluating(net):
            net(torch.zeros(1, *shape, device=next(net.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return total


def xz_bytes(state: dict[str, Tensor]) -> int:
    """Bytes of the raw tensors compressed by xz, as a generic baseline."""
    buffer = io.BytesIO()
    for tensor in state.values():
        buffer.write(tensor.detach().cpu().contiguous().numpy().tobytes())
    return len(lzma.compress(buffer.getvalue(), preset=9))
