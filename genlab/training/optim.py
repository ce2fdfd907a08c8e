"""Fused optimizers: one kernel for all parameters, and the check for non-finite gradients runs on the device."""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, Adam


def parameters(*modules: nn.Module) -> list[nn.Parameter]:
    """Those that require gradients."""
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def adam(*modules: nn.Module, lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> Adam:
    """Fused Adam (Kingma & Ba 2015, arXiv:1412.6980)."""
    return Adam(parameters(*modules), lr, betas, fused=True)


def rmsprop(*modules: nn.Module, lr: float, alpha: float = 0.99) -> Adam:
    """RMSProp without momentum, implemented as Adam with beta1 = 0 (hence with its bias correction)."""
    return adam(*modules, lr=lr, betas=(0.0, alpha))


def sgd(*modules: nn.Module, lr: float, momentum: float = 0.9, weight_decay: float = 0.0) -> SGD:
    """SGD with Nesterov momentum."""
    return SGD(parameters(*modules), lr, momentum, weight_decay=weight_decay, nesterov=momentum > 0, fused=True)
