"""A classifier that learns its confidence; DeVries & Taylor 2018, arXiv:1802.04865, eq. 2-6 and sections 2.1-2.3.

The network may ask for hints: it is judged by p' = c p + (1 - c) y, and pays lambda (-log c) for its confidence c. The
budget controls lambda, and half of the images, drawn at random, get no hints. Departures: the confidence is read from
the features before the last layer by one linear layer; misclassified images are not kept by augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

from genlab.core.ranges import Positive
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.nets.build import with_linear_end
from genlab.training.method import BatchStream, Metrics
from genlab.training.update import Update

LAMBDA, STEP = 0.1, 0.01  # lambda at the start, and its relative change per step


@dataclass(frozen=True)
class ConfidenceBranchConfig(ClassifierConfig):
    """Supervised classification with a learnt confidence."""

    loss: Literal["cross-entropy"] = "cross-entropy"
    """loss of the labels"""
    budget: Positive = 0.3
    """mean of -log c that the price of hints is adjusted to, in nats; less: more confident"""

    def build(self, shape: tuple[int, int, int], classes: int) -> ConfidenceBranch:
        net, units = with_linear_end(super().build(shape, classes).net)
        return ConfidenceBranch(net, nn.Linear(units, 1), self)


class ConfidenceBranch(Classifier):
    """net: x (N, C, H, W) in [0, 1] -> logits (N, classes), which is the method's own map; its last layer is linear.
    branch: features before that layer (N, units) -> (N, 1), the logit of the confidence c.

    price: lambda, the weight of -log c.
    """

    config: ConfidenceBranchConfig
    net: nn.Sequential
    price: Tensor

    def __init__(
        self, net: nn.Sequential, branch: nn.Module, config: ConfidenceBranchConfig = ConfidenceBranchConfig()
    ):
        super().__init__(net, config)
        self.branch = branch
        self.register_buffer("price", torch.tensor(LAMBDA))

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, C, H, W) -> logits (N, classes) and the logit of the confidence (N,)."""
        features = self.net[:-1](x)
        return self.net[-1](features), self.branch(features)[:, 0]

    def doubt(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) -> (N,): the logit of 1 - c, a score of images that are unlike those of training."""
        return -self.both(x)[1]

    def optimizers(self):
        return {"net": self.config.make_optimizer(self.net, self.branch)}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        logits, confidence = self.both(x)
        hinted = torch.rand(len(x), device=x.device) < 0.5
        plain = cross_entropy(logits, y, reduction="none", label_smoothing=self.config.smoothing)
        task = torch.where(hinted, hinted_loss(logits, confidence, y), plain).mean()
        paid = -logsigmoid(confidence).mean()
        update("net", task + self.price * paid)
        self.price *= torch.where(paid.detach() > self.config.budget, 1 / (1 - STEP), 1 / (1 + STEP))
        self.classes = logits.shape[1]
        return {
            "loss": plain.mean(),
            "accuracy": (logits.argmax(1) == y).float().mean(),
            "confidence": confidence.sigmoid().mean(),
            "price": self.price.clone(),
        }


def hinted_loss(logits: Tensor, confidence: Tensor, y: Tensor) -> Tensor:
    """-log(c p_y + 1 - c) (N,), from logits (N, classes), the logit of c (N,) and labels y (N,).

    With -lambda log c added it is least at c = min(1, lambda / ((1 + lambda) (1 - p_y)))."""
    p = logits.log_softmax(1).gather(1, y[:, None])[:, 0]
    return -torch.logaddexp(logsigmoid(confidence) + p, logsigmoid(-confidence))
