"""Distillation: a small network learns the softened probabilities of a large one; Hinton et al. 2015, arXiv:1503.02531.

The loss is (1 - weight) cross-entropy with the labels + weight T² KL(teacher at T, student at T); the factor T² keeps
the gradient of the soft term from shrinking with the temperature (section 2). Several teachers count by the mean of
their softened probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from genlab.core.ranges import Positive, Share
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.training.method import Metrics, Stream, TrainOptions
from genlab.training.update import Update

Teacher = Callable[[Tensor], Tensor]  # x (N, C, H, W) in [0, 1] -> logits (N, classes)
Change = Callable[[Tensor, Tensor], Tensor]  # x, labels -> the inputs that student and teachers see


def softened(logits: Tensor, temperature: float) -> Tensor:
    """softmax(logits / T): (100, 10, 1) at T = 100 are (0.56, 0.23, 0.21)."""
    return (logits / temperature).softmax(1)


def soft_loss(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """T² KL(targets || student at T), a mean over the batch, in nats; targets (N, classes) are probabilities.

    For large T its gradient is that of half the squared distance of the centred logits, over the number of classes
    (eq. 4).
    """
    return temperature**2 * kl_div((logits / temperature).log_softmax(1), targets, reduction="batchmean")


@dataclass(frozen=True)
class DistillationConfig(ClassifierConfig):
    """Distillation: a classifier learns from trained ones."""

    teachers: tuple[Path, ...] = ()
    """run directories of classifiers"""
    temperature: Positive = 4.0
    """T, by which the logits of student and teachers are divided"""
    weight: Share = 0.9
    """weight of the teachers' softened probabilities; that of the labels is 1 - weight"""

    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=64, schedule="cosine", clip=1.0)

    def build(self, shape: tuple[int, int, int], classes: int) -> Distillation:
        from genlab.experiment import load

        return Distillation(super().build(shape, classes).net, [load(run) for run in self.teachers], self)


class Distillation(Classifier):
    """net: the student, x (N, C, H, W) in [0, 1] -> logits (N, classes). The teachers are asked for every batch as it
    comes, so augmentation changes what both see.

    change: what is done to the images before both see them (an attack on the student, say); none: nothing.
    """

    config: DistillationConfig

    def __init__(
        self,
        net: nn.Module,
        teachers: Sequence[Teacher],
        config: DistillationConfig = DistillationConfig(),
        change: Change | None = None,
    ):
        super().__init__(net, config)
        if not teachers:
            raise ValueError("a student needs at least 1 teacher, got 0")
        self.teachers = tuple(teachers)  # not modules of the student: its checkpoint holds none of them
        self.change = change

    @torch.no_grad()
    def targets(self, x: Tensor) -> Tensor:
        """The mean of the teachers' probabilities at the temperature, (N, classes)."""
        return torch.stack([softened(teacher(x).float(), self.config.temperature) for teacher in self.teachers]).mean(0)

    def step(self, data: Stream, update: Update) -> Metrics:
        x, y = next(data)
        x = x if self.change is None else self.change(x, y)
        weight, logits, targets = self.config.weight, self.net(x).float(), self.targets(x)
        if targets.shape != logits.shape:
            raise ValueError(f"the student has {logits.shape[1]} classes, its teachers {targets.shape[1]}")
        hard = cross_entropy(logits, y, label_smoothing=self.config.smoothing)
        soft = soft_loss(logits, targets, self.config.temperature)
        update("net", (1 - weight) * hard + weight * soft)
        self.classes = logits.shape[1]
        return {"loss": hard, "soft": soft, "accuracy": (logits.argmax(1) == y).float().mean()}
