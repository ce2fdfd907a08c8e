"""Domain-adversarial training of a classifier; Ganin et al. 2016, arXiv:1505.07818, eq. 12-18 and Figure 1: from the
labels of a source domain and unlabelled images of a target domain.

A classifier of the domain learns from the features of both domains; the gradient that reaches the features is reversed,
so they learn to hide the domain while they serve the classifier of the labels. lambda rises from 0 to its final value
as in section 5.2.2. Departures: the learning rate follows the training's schedule, not mu_p; the features are all
layers of the network but the last, and the label predictor is that last layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from genlab.core.ranges import Weight, Width
from genlab.data import Pair
from genlab.data.pairs import labelled_sides
from genlab.methods.classification.classifier import check_first_loss
from genlab.metrics.accuracy import accuracy
from genlab.nets.build import NetName, NetOptions, with_linear_end
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import RATES, ClassifierOptimizerOptions
from genlab.training.update import Update

STEEPNESS = 10.0  # gamma of section 5.2.2


class ReverseGradient(torch.autograd.Function):
    """R_lambda of eq. 16 and 17: x -> x; the gradient is multiplied by -lambda."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * grad, None


def reverse_gradient(x: Tensor, weight: float) -> Tensor:
    """x itself; its gradient is multiplied by -weight."""
    return ReverseGradient.apply(x, weight)


def ramp(progress: float) -> float:
    """lambda_p = 2 / (1 + exp(-gamma p)) - 1: from 0 at the start of training to almost 1."""
    return 2 / (1 + math.exp(-STEEPNESS * progress)) - 1


@dataclass(frozen=True)
class DomainAdversarialConfig(NetOptions, ClassifierOptimizerOptions, Config):
    """Domain-adversarial training: a classifier of a target domain, whose images have no labels, from the labels of a
    source domain; data are unpaired:SOURCE,TARGET."""

    net: NetName = "cnn"
    """architecture: cnn, resnet, mlp, shallow, vgg, lenet-300-100, lenet-5, or your own as file.py:function"""
    width: Width | None = None
    """channels of the first level, or hidden units; none: the architecture's own"""
    adversarial: Weight = 1.0
    """final weight lambda of the reversed gradient; 0: trained on the source alone"""
    hidden: Width = 100
    """hidden units of the domain classifier"""

    training: ClassVar[TrainOptions] = TrainOptions(images=100_000, batch=64, schedule="cosine", clip=5.0)
    takes: ClassVar[tuple[str, ...]] = ("two sets",)
    rates = RATES | {"momentum": 0.02}

    def build(self, shape: tuple[int, int, int], classes: int) -> DomainAdversarial:
        if classes < 2:
            raise ValueError(
                "domain-adversarial training needs a source and a target with the same classes, at least 2, as in "
                f"--data unpaired:digits,night:digits, got {classes}"
            )
        net, units = with_linear_end(self.make_net(shape, classes))
        domain = nn.Sequential(nn.Linear(units, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1), nn.Flatten(0))
        return DomainAdversarial(net, domain, self)


class DomainAdversarial(Method):
    """net: x (N, C, H, W) in [0, 1] -> logits (N, classes), and the method itself is that map; its layers but the last
    are the features f (N, units). domain: f -> (N,), the logit that x is of the target."""

    config: DomainAdversarialConfig

    def __init__(
        self, net: nn.Sequential, domain: nn.Module, config: DomainAdversarialConfig = DomainAdversarialConfig()
    ):
        super().__init__(config)
        self.net, self.domain = net, domain

    def features(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) in [0, 1] -> f (N, units)."""
        return self.net[:-1](x)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def optimizers(self):
        return {"nets": self.config.make_optimizer(self.net, self.domain)}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        (x, y), (x_target, _) = labelled_sides(data)  # the target's labels are not used
        f = self.features(torch.cat([x, x_target]))
        logits = self.net[-1](f[: len(x)])
        label_loss = cross_entropy(logits, y)

        of_target = torch.arange(len(f), device=f.device) >= len(x)
        domain = self.domain(reverse_gradient(f, self.config.adversarial * ramp(update.progress)))
        domain_loss = binary_cross_entropy_with_logits(domain, of_target.to(domain))
        update("nets", label_loss + domain_loss)
        self.classes = logits.shape[1]
        return {
            "label_loss": label_loss,
            "domain_loss": domain_loss,
            "source_accuracy": (logits.argmax(1) == y).float().mean(),
            "domain_accuracy": ((domain > 0) == of_target).float().mean(),
        }

    def sanity_check(self, first: Metrics) -> str | None:
        return check_first_loss(first["label_loss"], self.classes)

    def evaluate(self, data: Pair) -> dict[str, float]:
        """The fractions of source and of target images classified correctly."""
        self.eval()
        return {"source accuracy": accuracy(self, data.a), "target accuracy": accuracy(self, data.b)}
