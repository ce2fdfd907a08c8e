"""The memory format of networks during training.

Convolutions and batch normalisation are faster channels last. Instance normalisation is not: it copies its input to the
contiguous format. Networks with modules from outside of the lab are left as they are, since they may rely on contiguous
tensors, as in `x.view(n, -1)`.
"""

from __future__ import annotations

import torch
from torch import nn

from genlab.nets.build import contiguous_inputs

KNOWN = ("genlab", "attacks", "torch", "torchvision")  # packages of modules that accept both formats
INSTANCE_NORMS = (nn.InstanceNorm2d,)


def lay_out(method: nn.Module, channels_last: bool | None = None) -> None:
    """Brings every network of `method` to a memory format; channels_last: none: whichever suits each of them."""
    for net in method.children():
        if suits_channels_last(net) if channels_last is None else channels_last:
            net.to(memory_format=torch.channels_last)
        elif contiguous_inputs not in net._forward_pre_hooks.values():
            net.register_forward_pre_hook(contiguous_inputs)


def suits_channels_last(net: nn.Module) -> bool:
    return not any(isinstance(part, INSTANCE_NORMS) or not _known(part) for part in net.modules())


def _known(part: nn.Module) -> bool:
    return type(part).__module__.partition(".")[0] in KNOWN
