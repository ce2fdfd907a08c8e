"""Interval bound propagation: bounds propagated layer by layer; Gowal et al. 2018, arXiv:1810.12715.

If the worst-case logits of an image still predict its label, it is certified in the whole L-infinity ball. Supported
networks: chains of linear layers, convolutions, poolings, monotone activations, Flatten and Normalise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, linear, one_hot

from attacks.defences.adversarial_training import RobustTraining, RobustTrainingConfig, warmed_up
from genlab.core.modes import evaluating
from genlab.core.ranges import Eps, Share, checked
from genlab.data import Images, batches
from genlab.nets.classifiers import Normalise
from genlab.training.method import BatchStream, Metrics, TrainOptions
from genlab.training.optim import RATES
from genlab.training.update import Update

MONOTONE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.MaxPool2d, nn.AvgPool2d, nn.Flatten, nn.Identity, Normalise)


def propagate(layer: nn.Module, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Interval bounds of the layer's outputs for inputs in [low, high]. Raises ValueError for unsupported layers."""
    if isinstance(layer, nn.Sequential):
        for part in layer:
            low, high = propagate(part, low, high)
        return low, high
    if isinstance(layer, MONOTONE):
        return layer(low.clone()), layer(high.clone())  # an activation may work in place
    centre, radius = (low + high) / 2, (high - low) / 2
    if isinstance(layer, nn.Linear):
        middle, reach = layer(centre), linear(radius, layer.weight.abs())
    elif isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros":
        middle = layer(centre)
        reach = conv2d(radius, layer.weight.abs(), None, layer.stride, layer.padding, layer.dilation, layer.groups)
    else:
        raise ValueError(f"interval bounds do not support {type(layer).__name__}: use a cnn, mlp or shallow network.")
    return middle - reach, middle + reach


def split_last_layer(net: nn.Module) -> tuple[list[nn.Module], nn.Linear]:
    """All layers but the last, and the last. Raises ValueError if that is not linear."""
    *body, last = list(net) if isinstance(net, nn.Sequential) else [net]
    if not isinstance(last, nn.Linear):
        raise ValueError(f"interval bounds need a network that ends in a linear layer, got {type(last).__name__}.")
    return body, last


@checked
def worst_logits(net: nn.Module, x: Tensor, y: Tensor, eps: Eps) -> Tensor:
    """(N, K): upper bounds of logit k minus logit y over |d|_inf <= eps, x + d in [0, 1]; 0 for k = y.

    The last layer is merged with the difference (section 3, "elision"), which makes the bounds tighter.
    """
    body, last = split_last_layer(net)
    low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    for layer in body:
        low, high = propagate(layer, low, high)
    weight = last.weight - last.weight[y][:, None]  # (N, K, features)
    centre, radius = (low + high) / 2, (high - low) / 2
    bias = 0.0 if last.bias is None else last.bias - last.bias[y][:, None]
    return torch.einsum("nkf,nf->nk", weight, centre) + torch.einsum("nkf,nf->nk", weight.abs(), radius) + bias


def certified(net: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """(N,) bool: whether every perturbation of at most eps per pixel is certified to be classified as y."""
    worst = worst_logits(net, x, y, eps)
    return (worst.masked_fill(one_hot(y, worst.shape[1]).bool(), -torch.inf) < 0).all(1)


@dataclass(frozen=True, kw_only=True)
class IntervalTrainingConfig(RobustTrainingConfig):
    """Classifier trained by interval bound propagation."""

    eps: Eps = 0.1
    """L-infinity radius, in pixels of [0, 1]"""
    eps_warmup: Share = 0.5
    """share of training over which eps and the weight of the worst-case loss rise from 0"""
    kappa: Share = 0.5
    """final weight of the clean loss"""
    net: Literal["cnn", "mlp", "shallow"] = "cnn"
    """architecture"""

    rates = RATES
    training: ClassVar[TrainOptions] = TrainOptions(images=600_000, batch=64, schedule="cosine", clip=1.0)

    def build(self, shape: tuple[int, int, int], classes: int) -> IntervalTraining:
        return IntervalTraining(self.make_net(shape, classes), self)


class IntervalTraining(RobustTraining):
    """kappa * cross-entropy + (1 - kappa) * cross-entropy of the worst-case logits (eq. 12).

    Over the first `eps_warmup` of training, kappa falls from 1 and eps rises from 0 to their final values.
    """

    config: IntervalTrainingConfig

    def __init__(self, net: nn.Module, config: IntervalTrainingConfig = IntervalTrainingConfig()):
        super().__init__(net, config)
        split_last_layer(net)  # raises for unsupported networks

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        grown = warmed_up(update.progress, self.config.eps_warmup)
        eps, kappa = grown * self.config.eps, 1 - grown * (1 - self.config.kappa)
        logits, worst = self.net(x), worst_logits(self.net, x, y, eps)
        loss, bound = cross_entropy(logits, y), cross_entropy(worst, y)
        update("net", kappa * loss + (1 - kappa) * bound)
        return {"loss": loss, "bound": bound, "accuracy": (logits.argmax(1) == y).float().mean()}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy; certified_accuracy: share of `data` certified within eps."""
        with evaluating(self):
            sure = sum(int(certified(self.net, x, y, self.config.eps).sum()) for x, y in batches(data, 500))
        return {**super().evaluate(data), "certified_accuracy": sure / len(data)}
