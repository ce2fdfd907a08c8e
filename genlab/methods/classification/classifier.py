"""Supervised classification by cross-entropy; label smoothing of Szegedy et al. 2016, arXiv:1512.00567, section 7."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.core.labels import check_classes
from genlab.core.ranges import Fraction, LearningRate, Weight, Width
from genlab.data import Images
from genlab.metrics.accuracy import accuracy
from genlab.nets.build import NetName, NetOptions
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import sgd
from genlab.training.update import Update


@dataclass(frozen=True)
class ClassifierConfig(NetOptions, Config):
    """Supervised classification."""

    net: NetName = "cnn"
    """architecture: cnn, resnet, mlp, shallow, vgg, lenet-300-100, lenet-5, or your own as file.py:function"""
    width: Width | None = None
    """channels of the first level, or hidden units; none: the architecture's own"""
    lr: LearningRate = 0.05
    """learning rate of SGD with Nesterov momentum 0.9"""
    weight_decay: Weight = 5e-4
    """weight decay"""
    smoothing: Fraction = 0.0
    """label smoothing in [0, 1)"""
    dropout: Fraction = 0.0
    """dropout probability at the input of the last layer, in [0, 1)"""

    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=64, schedule="cosine")

    def build(self, shape: tuple[int, int, int], classes: int) -> Classifier:
        check_classes(classes, "a classifier")
        net = self.make_net(shape, classes)
        if self.dropout:
            if not isinstance(net, nn.Sequential):
                raise ValueError(f"dropout needs a network that is an nn.Sequential, got {type(net).__name__}")
            net = nn.Sequential(*net[:-1], nn.Dropout(self.dropout), net[-1])
        return Classifier(net, self)


class Classifier(Method):
    """net: x (N, C, H, W) in [0, 1] -> logits (N, classes). The method itself is that map, so it can be attacked."""

    config: ClassifierConfig

    def __init__(self, net: nn.Module, config: ClassifierConfig = ClassifierConfig()):
        super().__init__(config)
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def optimizers(self):
        return {"net": sgd(self.net, lr=self.config.lr, weight_decay=self.config.weight_decay)}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        logits = self.net(x)
        loss = cross_entropy(logits, y, label_smoothing=self.config.smoothing)
        update("net", loss)
        self.classes = logits.shape[1]
        return {"loss": loss, "accuracy": (logits.argmax(1) == y).float().mean()}

    def sanity_check(self, first: Metrics) -> str | None:
        return check_first_loss(first["loss"], self.classes)

    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy: the fraction of `data` classified correctly."""
        return {"accuracy": accuracy(self.eval(), data)}


def check_first_loss(loss: Tensor, classes: int) -> str | None:
    """A warning if the cross-entropy of the first step is far from log C, that of an untrained network."""
    found, expected = loss.item(), math.log(classes)
    if abs(found - expected) <= 0.5 * expected:
        return None
    return f"the first loss is {found:.2f}, far from log {classes} = {expected:.2f}: check labels and weights"


class FineTuning(Classifier):
    """A classifier that was trained before, so that its first loss is low."""

    def sanity_check(self, first: Metrics) -> str | None:
        return None
