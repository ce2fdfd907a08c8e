"""Supervised classification by cross-entropy, with label smoothing (Szegedy et al. 2016, arXiv:1512.00567, section 7),
or by the hinge loss of several classes (Weston & Watkins 1999)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss

from genlab.core.labels import check_classes
from genlab.core.ranges import Fraction, Width
from genlab.data import Images
from genlab.metrics.accuracy import accuracy
from genlab.nets.build import NetName, NetOptions
from genlab.nets.dropout import Where, with_dropout
from genlab.nets.spatial_transformer import SpatialTransformer
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import ClassifierOptimizerOptions
from genlab.training.update import Update

LossName = Literal["cross-entropy", "hinge"]


@dataclass(frozen=True)
class ClassifierConfig(NetOptions, ClassifierOptimizerOptions, Config):
    """Supervised classification."""

    net: NetName = "cnn"
    """architecture: cnn, resnet, mlp, shallow, vgg, lenet-300-100, lenet-5, or your own as file.py:function"""
    width: Width | None = None
    """channels of the first level, or hidden units; none: the architecture's own"""
    loss: LossName = "cross-entropy"
    """loss; hinge: how far the other logits come within 1 of that of the label, summed over them"""
    smoothing: Fraction = 0.0
    """label smoothing of the cross-entropy, in [0, 1)"""
    dropout: Fraction = 0.0
    """dropout probability, in [0, 1)"""
    dropout_in: Where = "last"
    """where inputs are dropped: at the last layer, or at every layer but the first, also in residual blocks"""
    spatial_transformer: bool = False
    """a spatial transformer before the network: learns to turn, move and scale every image by an affine map"""

    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=64, schedule="cosine")

    def check_relations(self) -> None:
        if self.loss == "hinge" and self.smoothing:
            raise ValueError(f"--smoothing belongs to the cross-entropy, not to --loss hinge, got {self.smoothing}")
        if self.dropout_in == "blocks" and not self.dropout:
            raise ValueError("--dropout-in blocks needs the probability --dropout, got 0")

    def build(self, shape: tuple[int, int, int], classes: int) -> Classifier:
        check_classes(classes, "a classifier")
        net = self.make_net(shape, classes)
        if self.dropout:
            net = with_dropout(net, self.dropout, self.dropout_in)
        if self.spatial_transformer:
            net = nn.Sequential(SpatialTransformer(shape), *(net if isinstance(net, nn.Sequential) else [net]))
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
        return {"net": self.config.make_optimizer(self.net)}

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """The loss of logits (N, classes) and labels (N,), the mean over the batch."""
        if self.config.loss == "hinge":
            return hinge(logits, y)
        return cross_entropy(logits, y, label_smoothing=self.config.smoothing)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        logits = self.net(x)
        loss = self.loss(logits, y)
        update("net", loss)
        self.classes = logits.shape[1]
        return {"loss": loss, "accuracy": (logits.argmax(1) == y).float().mean()}

    def sanity_check(self, first: Metrics) -> str | None:
        return check_first_loss(first["loss"], self.classes, self.config.loss)

    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy: the fraction of `data` classified correctly."""
        return {"accuracy": accuracy(self.eval(), data)}


def hinge(logits: Tensor, y: Tensor) -> Tensor:
    """Sum over the classes j other than y of max(0, 1 + logit j - logit y), the mean over the batch; logits (N, C),
    y (N,). It is C - 1 if all logits are equal."""
    of_label = -nll_loss(logits.float(), y, reduction="none")
    terms = (1 + logits.float() - of_label[:, None]).relu()
    return terms.scatter(1, y[:, None], 0.0).sum(1).mean()


def check_first_loss(loss: Tensor, classes: int, name: LossName = "cross-entropy") -> str | None:
    """A warning if the loss of the first step is far from that of an untrained network, whose logits are all alike:
    log C of the cross-entropy, C - 1 of the hinge loss."""
    found = loss.item()
    expected, text = (classes - 1, f"{classes} - 1") if name == "hinge" else (math.log(classes), f"log {classes}")
    if abs(found - expected) <= 0.5 * expected:
        return None
    return f"the first loss is {found:.2f}, far from {text} = {expected:.2f}: check labels and weights"


class FineTuning(Classifier):
    """A classifier that was trained before, so that its first loss is low."""

    def sanity_check(self, first: Metrics) -> str | None:
        return None
