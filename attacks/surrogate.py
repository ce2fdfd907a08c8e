"""Transfer attacks: adversarial examples crafted on a surrogate model are applied to the target.

Papernot et al. 2017, arXiv:1602.02697, Algorithm 1: the surrogate is trained on the target's predictions. Liu et al.
2017, arXiv:1611.02770: the surrogate is trained on labelled data for the same task, without queries to the target.

Departure. No Jacobian-based augmentation: the target is queried once for each of the attacker's images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import torch
from torch import Tensor, nn

from attacks.core.ball import Ball
from attacks.core.goal import NO_PREDICTION, predicted_classes
from attacks.core.model import Attack, Model, TrainedAttack, Victim, victim
from genlab.core.ranges import Count, Seed
from genlab.data import Images, Stream
from genlab.data.seeds import generator
from genlab.training.loop import fit
from genlab.training.method import Method, TrainOptions


@dataclass(frozen=True)
class WrappedAttack(Attack):
    """An attack that runs another attack, `inner`, and has the same ball."""

    inner: Attack

    @property
    def ball(self) -> Ball | None:
        return getattr(self.inner, "ball", None)

    def at(self, eps: float) -> Self:
        return replace(self, inner=self.inner.at(eps))


@dataclass(frozen=True, eq=False)
class Transfer(WrappedAttack):
    """`inner` run on `surrogate` instead of the target; no queries to the target."""

    surrogate: nn.Module = field(repr=False)

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        return self.inner(self.surrogate, x, y)


@dataclass(frozen=True)
class Surrogate(TrainedAttack, WrappedAttack):
    """`prepare` trains a surrogate classifier and returns a `Transfer` attack on it.

    build: (shape (C, H, W), number of classes) -> untrained classifier, such as `ClassifierConfig(...).build`.
    learns: the training labels: "data", those of the attacker's images, or "queries", the target's predictions, at one
    query per image. pairs: number of the attacker's images that are used; None: all. images: length of training, in
    images. batch: size of a training batch.
    """

    build: Callable[[tuple[int, int, int], int], Method]
    learns: Literal["data", "queries"] = "queries"
    pairs: Count | None = None
    images: Count = 60_000
    batch: Count = 64
    seed: Seed = 0

    def prepare(self, model: Model, data: Images) -> Transfer:
        few = data
        if self.pairs is not None:
            few = data.subset(torch.randperm(len(data), generator=generator("pairs", self.seed))[: self.pairs])
        if self.learns == "queries":
            few = query_labels(model, few)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            student = self.build(few.shape, len(few.classes)).to(few.device)
        options = TrainOptions(self.images, self.batch, seed=self.seed, schedule="cosine", log_every=self.images)
        fit(student, Stream(few, self.batch, seed=self.seed), options, title="surrogate")
        return Transfer(self.inner, student.eval().requires_grad_(False))


def query_labels(model: Model, data: Images, batch: int = 256) -> Images:
    """The images labelled with the model's predictions, at one query each, without those whose logits are NaN.

    Raises ValueError if all logits are NaN.
    """
    with victim(model, data.x[:1], torch.zeros_like(data.labels[:1])) as f:
        logits = torch.cat([f.query(data.subset(slice(i, i + batch)).x) for i in range(0, len(data), batch)])
    said, classes = predicted_classes(logits), logits.shape[1]
    known = (said != NO_PREDICTION).nonzero().squeeze(1)
    if len(known) == 0:
        raise ValueError(f"the model's logits are NaN for all of the {len(data)} training images.")
    names = data.classes if classes == len(data.classes) else tuple(map(str, range(classes)))
    return replace(data.subset(known) if len(known) < len(data) else data, labels=said[known], classes=names)
