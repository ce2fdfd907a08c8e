"""Knowledge distillation: a student learns the softened probabilities of a teacher; Hinton et al. 2015,
arXiv:1503.02531.

The loss is (1 - weight) cross-entropy with the labels + weight T² KL(teacher at T, student at T); the factor T² makes
the gradient of the soft term independent of the temperature (section 2). The softened probabilities of several teachers
are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div

from genlab.core.ranges import Positive, Share
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.training.method import BatchStream, Metrics, TrainOptions
from genlab.training.update import Update

Teacher = Callable[[Tensor], Tensor]  # x (N, C, H, W) in [0, 1] -> logits (N, classes)
Change = Callable[[Tensor, Tensor], Tensor]  # x, labels -> inputs of student and teachers


def softened(logits: Tensor, temperature: float) -> Tensor:
    """softmax(logits / T)."""
    return (logits / temperature).softmax(1)


def soft_loss(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """T² KL(targets || student at T), the mean over the batch, in nats; targets: probabilities (N, classes).

    For large T its gradient is that of half the squared distance of the centred logits divided by the number of classes
    (eq. 4).
    """
    return temperature**2 * kl_div((logits / temperature).log_softmax(1), targets, reduction="batchmean")


@dataclass(frozen=True)
class DistillationConfig(ClassifierConfig):
    """Knowledge distillation: a classifier learns from trained classifiers."""

    teachers: tuple[Path, ...] = ()
    """the teachers: run directories, or trained networks as file.py:function"""
    temperature: Positive = 4.0
    """temperature T, by which the logits of student and teachers are divided"""
    weight: Share = 0.9
    """weight of the distillation loss; that of the labels' loss is 1 - weight"""

    code_fields: ClassVar[tuple[str, ...]] = ("net", "teachers")
    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=64, schedule="cosine", clip=1.0)

    def build(self, shape: tuple[int, int, int], classes: int) -> Distillation:
        from genlab.loading import load_classifier

        if not self.teachers:
            raise ValueError("--teachers must name at least one run directory of a classifier, got none")
        teachers = [load_classifier("teachers", run, shape, classes) for run in self.teachers]
        return Distillation(super().build(shape, classes).net, teachers, self)


class Distillation(Classifier):
    """net: the student, x (N, C, H, W) in [0, 1] -> logits (N, classes). Student and teachers get the same augmented
    batches.

    change: applied to the images before, such as an attack on the student; none: nothing.
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
        self.teachers = tuple(teachers)  # not submodules: they are not part of checkpoints
        self.change = change

    @torch.no_grad()
    def targets(self, x: Tensor) -> Tensor:
        """The mean of the teachers' probabilities at the temperature, (N, classes)."""
        return torch.stack([softened(teacher(x).float(), self.config.temperature) for teacher in self.teachers]).mean(0)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        x = x if self.change is None else self.change(x, y)
        weight, logits, targets = self.config.weight, self.net(x).float(), self.targets(x)
        if targets.shape != logits.shape:
            raise ValueError(f"the student has {logits.shape[1]} classes, its teachers {targets.shape[1]}")
        hard = self.loss(logits, y)
        soft = soft_loss(logits, targets, self.config.temperature)
        update("net", (1 - weight) * hard + weight * soft)
        self.classes = logits.shape[1]
        return {"loss": hard, "soft": soft, "accuracy": (logits.argmax(1) == y).float().mean()}
