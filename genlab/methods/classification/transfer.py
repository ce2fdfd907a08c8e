"""Transfer of a trained network to a task with few labels.

copy_layers   layer transfer; Yosinski et al. 2014, arXiv:1411.1792
Transfer      fine-tuning, also conservative: L2-SP (Li et al. 2018, arXiv:1802.01483, section 3.1) holds the weights
              near the source's, learning without forgetting (Li & Hoiem 2016, arXiv:1606.09282) the outputs
Multitask     one trunk learns both tasks at once, each with a last layer of its own; Caruana 1997

Progressive networks are in genlab.nets.progressive.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from genlab.core.ranges import Weight
from genlab.data import Images
from genlab.data.pairs import labelled_sides
from genlab.methods.classification.classifier import ClassifierConfig, FineTuning
from genlab.metrics.accuracy import accuracy
from genlab.training.method import BatchStream, Method, Metrics
from genlab.training.update import Update


def layers(net: nn.Sequential) -> list[nn.Sequential]:
    """The layers of a network: each begins with a module with a convolution or linear layer, such as a residual block,
    and goes on with the norms, activations and pooling after it; the first one includes what comes before it."""
    found: list[list[nn.Module]] = [[]]
    begun = False
    for part in net:
        weighted = any(isinstance(each, nn.Conv2d | nn.Linear) for each in part.modules())
        if weighted and begun:
            found.append([])
        begun |= weighted
        found[-1].append(part)
    return [nn.Sequential(*parts) for parts in found]


def copy_layers(source: nn.Sequential, net: nn.Sequential, n: int) -> None:
    """Copies the weights of the first n of the `layers` of `source` to `net`.

    Raises:
        ValueError: n is not from 0 to their number, or the layers of the two differ in shape.
    """
    most = min(len(layers(source)), len(layers(net)))
    if not 0 <= n <= most:
        raise ValueError(f"these networks have 0 to {most} layers to copy, got {n}")
    for k, (old, new) in enumerate(zip(layers(source)[:n], layers(net)[:n])):
        try:
            new.load_state_dict(old.state_dict())
        except RuntimeError as error:
            raise ValueError(f"layer {k + 1} of the networks differs: {error}") from None


@dataclass(frozen=True)
class TransferConfig(ClassifierConfig):
    """A classifier that begins with layers of a trained one."""

    frozen: bool = False
    """the copied layers are not trained"""
    near_weights: Weight = 0.0
    """L2-SP: alpha, this times half the squared distance of the copied layers' weights to the source's"""
    near_outputs: Weight = 0.0
    """weight of the Kullback-Leibler divergence from the source network's answers to those of its last layer on the
    trained network's features"""


class Transfer(FineTuning):
    """A classifier, the first layers of which are copied from `source` when it is made.

    net, source: nn.Sequential, x (N, C, H, W) in [0, 1] -> logits, with the same layers but the last; `source` itself
    is not changed. copied: number of layers.
    """

    config: TransferConfig

    def __init__(
        self, net: nn.Sequential, source: nn.Sequential, copied: int, config: TransferConfig = TransferConfig()
    ):
        super().__init__(net, config)
        copy_layers(source, net, copied)
        self.net: nn.Sequential = net
        self.source: nn.Sequential = copy.deepcopy(source).requires_grad_(False)
        self.copied = copied
        if config.frozen:
            for layer in layers(net)[:copied]:
                layer.requires_grad_(False)

    def train(self, mode: bool = True) -> Transfer:
        super().train(mode)
        for fixed in [self.source, *(layers(self.net)[: self.copied] if self.config.frozen else ())]:
            fixed.eval()
        return self

    def distance(self) -> Tensor:
        """|w - w_source|^2 over the weights of the copied layers, a scalar."""
        pairs = zip(layers(self.net)[: self.copied], layers(self.source)[: self.copied])
        parts = [(w - w0).square().sum() for a, b in pairs for w, w0 in zip(a.parameters(), b.parameters())]
        return torch.stack(parts).sum() if parts else torch.zeros((), device=self.device)

    def forgetting(self, x: Tensor, features: Tensor) -> Tensor:
        """KL(source(x) | the source's last layer on `features` (N, units) of x), the mean over the batch."""
        with torch.no_grad():
            before = self.source(x).log_softmax(1)
        return kl_div(self.source[-1](features).log_softmax(1), before, log_target=True, reduction="batchmean")

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        features = self.net[:-1](x)
        logits = self.net[-1](features)
        loss = total = self.loss(logits, y)
        if self.config.near_weights:
            total = total + self.config.near_weights / 2 * self.distance()
        if self.config.near_outputs:
            total = total + self.config.near_outputs * self.forgetting(x, features)
        update("net", total)
        return {"loss": loss, "accuracy": (logits.argmax(1) == y).float().mean()}


class Multitask(Method):
    """Learns a task from the first set of a Pair and another from the second, with all layers but the last in common.

    net: nn.Sequential that ends in a linear layer, x (N, C, H, W) in [0, 1] -> logits of the first task, and the method
    itself is that map; other: the last layer of the second task, whose loss has the weight `share`.
    """

    config: ClassifierConfig

    def __init__(
        self, net: nn.Sequential, other: nn.Linear, share: float = 1.0, config: ClassifierConfig = ClassifierConfig()
    ):
        super().__init__(config)
        self.net, self.other, self.share = net, other, share

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def optimizers(self) -> dict[str, Any]:
        return {"net": self.config.make_optimizer(self.net, self.other)}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        (x, y), (x_other, y_other) = labelled_sides(data)
        features = self.net[:-1](torch.cat([x, x_other]))
        logits = self.net[-1](features[: len(x)])
        loss, other = cross_entropy(logits, y), cross_entropy(self.other(features[len(x) :]), y_other)
        update("net", loss + self.share * other)
        return {"loss": loss, "other_loss": other}

    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy: the fraction of `data`, of the first task, classified correctly."""
        return {"accuracy": accuracy(self.eval(), data)}
