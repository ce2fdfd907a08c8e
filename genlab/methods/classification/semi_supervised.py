"""Semi-supervised classification: a classifier of few labels, whose outputs for unlabelled images are regularised.

Pseudo-labels: Lee 2013 (ICML workshop), eq. 15, the most probable class as the label, with the threshold of FixMatch
(Sohn et al. 2020, arXiv:2001.07685, eq. 4, without augmentation). Entropy: Grandvalet & Bengio 2005 (NIPS 17), eq. 6.
Smoothness: Zhu et al. 2003, of the outputs on the graph of neighbours in a batch (genlab/semi_supervised/graph.py). The
terms add up, and rise with training as Lee's alpha(t). A network may begin with the discriminator of a GAN that was
trained on the unlabelled images (Radford et al. 2016, arXiv:1511.06434, section 5).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.core.batch import at_least
from genlab.core.ranges import Fraction, Share, Steps, Weight
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.methods.classification.few_labels import FewLabels, FewLabelsConfig
from genlab.nets.dcgan import Discriminator
from genlab.nets.resnet_gan import ResidualDiscriminator
from genlab.semi_supervised.graph import NeighbourGraph
from genlab.training.method import BatchStream, Metrics, TrainOptions
from genlab.training.update import Update


@dataclass(frozen=True)
class SemiSupervisedConfig(FewLabelsConfig, ClassifierConfig):
    """Semi-supervised classification: few labels, and terms of the loss for the unlabelled images; with all weights 0
    it learns from the labelled images alone."""

    pseudo: Weight = 1.0
    """weight of the cross-entropy with pseudo-labels, the most probable classes"""
    threshold: Share = 0.95
    """least probability of a pseudo-label that counts"""
    entropy: Weight = 0.0
    """weight of the entropy of the outputs"""
    smoothness: Weight = 0.0
    """weight of the outputs' differences between neighbours in the batch"""
    neighbours: Steps = 1
    """neighbours of an image in the graph of the batch, by pixels"""
    start: Fraction = 0.3
    """fraction of training with the labelled images alone; then pseudo, entropy and smoothness rise from 0, linearly"""
    discriminator: Path | None = None
    """run of a GAN, with whose discriminator, but for the last layer, the network begins; none: a new `net`"""

    training: ClassVar[TrainOptions] = TrainOptions(images=30_000, batch=64, schedule="cosine")

    def check_relations(self) -> None:
        super().check_relations()
        own = {"width": self.width, "dropout": self.dropout, "spatial_transformer": self.spatial_transformer}
        if self.discriminator is not None and (given := [name for name, value in own.items() if value]):
            option = given[0].replace("_", "-")
            raise ValueError(
                f"--{option} belongs to a new network, not to the one of --discriminator {self.discriminator}"
            )

    def build(self, shape: tuple[int, int, int], classes: int) -> SemiSupervised:
        net = super().build(shape, classes).net
        if self.discriminator is not None:
            net = DiscriminatorClassifier(trained_discriminator(self.discriminator, shape), classes)
        return SemiSupervised(net, shape, classes, self)


class SemiSupervised(Classifier, FewLabels):
    """net: x (N, C, H, W) in [0, 1] -> logits (N, classes). The method itself is that map, so it can be attacked."""

    config: SemiSupervisedConfig

    def __init__(
        self,
        net: nn.Module,
        shape: tuple[int, int, int],
        classes: int,
        config: SemiSupervisedConfig = SemiSupervisedConfig(),
    ):
        super().__init__(net, config)
        self.classes = classes
        if config.smoothness:
            self.batch_sizes = at_least(2)
        self.make_room(classes, config.labels_per_class, shape)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, hidden = next(data)
        self.collect(x, hidden)
        x_l, y_l = self.labelled(len(x))
        unlabelled = self.config.pseudo or self.config.entropy or self.config.smoothness
        logits = self.net(torch.cat([x_l, x]) if unlabelled else x_l).float()
        known, other = logits[: len(x)], logits[len(x) :]
        loss = self.loss(known, y_l)
        terms = self.terms(x, other) if unlabelled else {}
        rise = max(0.0, update.progress - self.config.start) / (1 - self.config.start)
        update("net", loss + rise * sum(getattr(self.config, name) * term for name, term in terms.items()))
        return {"loss": loss, "accuracy": (known.argmax(1) == y_l).float().mean(), **terms}

    def terms(self, x: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """The terms of unlabelled images x and their logits that have a weight, by its name."""
        found = {}
        if self.config.pseudo:
            found["pseudo"] = pseudo_label_loss(logits, self.config.threshold)
        if self.config.entropy:
            found["entropy"] = entropy(logits)
        if self.config.smoothness:
            graph = NeighbourGraph.of(x.flatten(1), self.config.neighbours)
            found["smoothness"] = graph.smoothness(logits.softmax(1))
        return found


def pseudo_label_loss(logits: Tensor, threshold: float = 0.0) -> Tensor:
    """The cross-entropy of logits (N, classes) with their own most probable classes, where those have a probability of
    at least `threshold`; the sum over these, divided by N."""
    probability, label = logits.detach().softmax(1).max(1)
    return (cross_entropy(logits, label, reduction="none") * (probability >= threshold)).mean()


def entropy(logits: Tensor) -> Tensor:
    """The mean entropy of softmax(logits), logits (N, classes), in nats."""
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1).mean()


class DiscriminatorClassifier(nn.Module):
    """x (N, C, H, W) in [0, 1] -> logits (N, classes): a new linear layer on the features of a copy of a GAN's
    discriminator, all of which learn on but for its old last layer."""

    def __init__(self, discriminator: Discriminator | ResidualDiscriminator, classes: int):
        super().__init__()
        self.head = nn.Linear(cast(nn.Linear, discriminator.head).in_features, classes)
        self.body = copy.deepcopy(discriminator).requires_grad_(True).to(self.head.weight.device)
        self.body.head.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body.features(x))


def trained_discriminator(source: Path, shape: tuple[int, int, int]) -> Discriminator | ResidualDiscriminator:
    """The discriminator of the GAN of the run directory `source`.

    Raises:
        RunError: it holds none for images of `shape`; names --discriminator.
    """
    from genlab.loading import load, shape_of
    from genlab.run import Run, RunError
    from genlab.training.checkpoint import CheckpointError

    try:
        method, there = load(source), shape_of(Run(source))
        found = getattr(method, "discriminator", None)
        if isinstance(found, Discriminator | ResidualDiscriminator) and there == shape:
            return found
        fault = f"it holds a {type(method).__name__} of images {there}"
    except (RunError, CheckpointError) as error:
        fault = str(error)
    wanted = f"the run directory of a GAN of images {shape}, such as genlab train gan makes"
    raise RunError(f"--discriminator must name {wanted}, got {str(source)!r}: {fault}")
