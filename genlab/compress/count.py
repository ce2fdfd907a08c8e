"""What a network costs: parameters, those that are not zero, and multiplications for one image."""

from __future__ import annotations

import io
import lzma

import torch
from torch import Tensor, nn

from genlab.compress.layers import hardened, weighted
from genlab.core.modes import evaluating


def parameters(net: nn.Module) -> int:
    """Weights, biases and all other parameters, as the layers see them."""
    return sum(p.numel() for p in hardened(net).parameters())


def nonzeros(net: nn.Module) -> int:
    """Those that are not zero."""
    return sum(int(p.count_nonzero()) for p in hardened(net).parameters())


@torch.no_grad()
def macs(net: nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiplications of all convolutions and linear layers for one image of `shape` (C, H, W)."""
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
    """Bytes of the tensors as they are under xz: what a general compressor makes of the dense file."""
    buffer = io.BytesIO()
    for tensor in state.values():
        buffer.write(tensor.detach().cpu().contiguous().numpy().tobytes())
    return len(lzma.compress(buffer.getvalue(), preset=9))
