"""Distillation: a small network learns from the softened answers of a large one; Hinton et al. 2015, arXiv:1503.02531.

The loss is (1 - weight) cross-entropy with the labels + weight T² KL(teacher at T, student at T); the factor T² keeps
the gradient of the soft term from shrinking with the temperature (section 2). Several teachers speak with the mean of
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
Change = Callable[[Tensor, Tensor], Tensor]  # x, labels -> the inputs on which the student listens


def softened(logits: Tensor, temperature: float) -> Tensor:
    """softmax(logits / T): (100, 10, 1) at T = 100 are (0.56, 0.23, 0.21)."""
    return (logits / temperature).softmax(1)


def soft_loss(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """T² KL(targets || student at T), a mean over the batch, in nats; targets (N, classes) are probabilities.

    For large T its gradient is that of half the squared distance of the centred logits, over the number of classes
    (eq. 4).
    """
    return temperature**2 * kl_div((logits / temperature).log_softmax(1), targets, reduction="batchmean")


class Distillation(Classifier):
    """net: the student. Teachers are asked for every batch as it comes, so answers never part from their images.

    change: what is done to the images before both see them (an attack on the student, say); none: nothing.
    """

    def __init__(
        self,
        net: nn.Module,
        teachers: Sequence[Teacher],
        temperature: float = 4.0,
        weight: float = 0.9,
        lr: float = 0.05,
        weight_decay: float = 0.0,
        change: Change | None = None,
    ):
        super().__init__(net, lr, weight_decay)
        if not temperature > 0 or not 0 <= weight <= 1:
            raise ValueError(f"temperature is positive and weight in [0, 1], got {temperature} and {weight}")
        if not teachers:
            raise ValueError("a student needs at least 1 teacher, got 0")
        self.teachers = tuple(teachers)  # not modules of the student: its checkpoint holds none of them
        self.temperature, self.weight, self.change = temperature, weight, change

    @torch.no_grad()
    def answers(self, x: Tensor) -> Tensor:
        """The mean of the teachers' probabilities at the temperature, (N, classes)."""
        return torch.stack([softened(teacher(x).float(), self.temperature) for teacher in self.teachers]).mean(0)

    def step(self, data: Stream, update: Update) -> Metrics:
        x, y = next(data)
        x = x if self.change is None else self.change(x, y)
        logits, targets = self.net(x).float(), self.answers(x)
        if targets.shape != logits.shape:
            raise ValueError(f"the student has {logits.shape[1]} classes, its teachers {targets.shape[1]}")
        hard, soft = cross_entropy(logits, y), soft_loss(logits, targets, self.temperature)
        update("net", (1 - self.weight) * hard + self.weight * soft)
        self.classes = logits.shape[1]
        return {"loss": hard, "soft": soft, "accuracy": (logits.argmax(1) == y).float().mean()}


@dataclass(frozen=True)
class DistillationConfig(ClassifierConfig):
    """A classifier taught by trained ones."""

    teachers: tuple[Path, ...] = ()
    """run directories of classifiers"""
    temperature: Positive = 4.0
    """T, by which all logits are divided"""
    weight: Share = 0.9
    """of the teachers' answers; the labels have the rest"""

    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=64, schedule="cosine", clip=1.0)

    def build(self, shape: tuple[int, int, int], classes: int) -> Distillation:
        from genlab.experiment import load

        teachers = [load(run) for run in self.teachers]
        student = super().build(shape, classes).net
        return Distillation(student, teachers, self.temperature, self.weight, self.lr, self.weight_decay)
