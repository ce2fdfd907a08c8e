"""Optimizers by name, their options, and the builders of methods that need special ones.

All are fused: one kernel for all parameters, and the check for non-finite gradients runs on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer

from genlab.core.ranges import LearningRate, Weight

OptimizerName = Literal["sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw"]
RATES: dict[OptimizerName, float] = {  # usual learning rates
    "sgd": 0.1,
    "momentum": 0.05,
    "adagrad": 0.02,
    "rmsprop": 1e-3,
    "adam": 1e-3,
    "adamw": 1e-3,
}


def parameters(*modules: nn.Module) -> list[nn.Parameter]:
    """Those that require gradients."""
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def adam(*modules: nn.Module, lr: float, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0) -> Adam:
    """Fused Adam (Kingma & Ba 2015, arXiv:1412.6980)."""
    return Adam(parameters(*modules), lr, betas, weight_decay=weight_decay, fused=True)


def adamw(*modules: nn.Module, lr: float, weight_decay: float = 0.0) -> AdamW:
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019, arXiv:1711.05101)."""
    return AdamW(parameters(*modules), lr, weight_decay=weight_decay, fused=True)


def rmsprop(*modules: nn.Module, lr: float, alpha: float = 0.99, weight_decay: float = 0.0) -> Adam:
    """RMSProp without momentum, implemented as Adam with beta1 = 0 (hence with its bias correction)."""
    return adam(*modules, lr=lr, betas=(0.0, alpha), weight_decay=weight_decay)


def adagrad(*modules: nn.Module, lr: float, weight_decay: float = 0.0) -> Adagrad:
    """Adagrad (Duchi, Hazan & Singer 2011): a weight's rate is over the root of the sum of its squared gradients."""
    return Adagrad(parameters(*modules), lr, weight_decay=weight_decay, fused=True)


def sgd(*modules: nn.Module, lr: float, momentum: float = 0.9, weight_decay: float = 0.0) -> SGD:
    """SGD with Nesterov momentum."""
    return SGD(parameters(*modules), lr, momentum, weight_decay=weight_decay, nesterov=momentum > 0, fused=True)


def by_name(
    name: OptimizerName, *modules: nn.Module, lr: float, weight_decay: float = 0.0, l1: float = 0.0
) -> Optimizer:
    """The optimizer `name`; `weight_decay` and `l1` are as in OptimizerOptions."""
    builders: dict[OptimizerName, Callable[..., Optimizer]] = {
        "sgd": partial(sgd, momentum=0.0),
        "momentum": sgd,
        "adagrad": adagrad,
        "rmsprop": rmsprop,
        "adam": adam,
        "adamw": adamw,
    }
    found = builders[name](*modules, lr=lr, weight_decay=weight_decay)
    if l1:  # read by Update
        for group in found.param_groups:
            group["l1"] = l1
    return found


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """What configs of methods with one optimizer share; a method's own defaults override these.

    rates: the learning rate of each optimizer if `lr` is none.
    """

    optimizer: OptimizerName = "adam"
    """sgd, momentum (SGD with Nesterov momentum 0.9), adagrad, rmsprop, adam or adamw"""
    lr: LearningRate | None = None
    """learning rate; none: the usual one of this optimizer for this method"""
    weight_decay: Weight = 0.0
    """weight decay: this times every weight is added to its gradient (L2 penalty), with adamw to its step"""
    l1: Weight = 0.0
    """weight of the L1 norm of the weights in the loss: this times every weight's sign is added to its gradient"""

    rates: ClassVar[Mapping[OptimizerName, float]] = RATES

    @property
    def learning_rate(self) -> float:
        """`lr`, or the usual one."""
        return self.rates[self.optimizer] if self.lr is None else self.lr

    def make_optimizer(self, *modules: nn.Module) -> Optimizer:
        """The optimizer of the parameters of `modules` that require gradients."""
        rate, penalties = self.learning_rate, {"weight_decay": self.weight_decay, "l1": self.l1}
        return by_name(self.optimizer, *modules, lr=rate, **penalties)


@dataclass(frozen=True, kw_only=True)
class ClassifierOptimizerOptions(OptimizerOptions):
    """The defaults of classifiers: SGD with momentum and some weight decay."""

    optimizer: OptimizerName = "momentum"
    """sgd, momentum (SGD with Nesterov momentum 0.9), adagrad, rmsprop, adam or adamw"""
    weight_decay: Weight = 5e-4
    """weight decay: this times every weight is added to its gradient (L2 penalty), with adamw to its step"""
