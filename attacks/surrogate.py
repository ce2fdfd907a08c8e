"""Attacks through a surrogate: fool a network of one's own, show the result to the target.

Papernot et al. 2017, arXiv:1602.02697, Algorithm 1: the surrogate learns the target's answers. Liu et al. 2017,
arXiv:1611.02770: it learns the same task from data of its own, and what fools it transfers.

Departure. There is no Jacobian-based augmentation: the target is asked once for each of the attacker's images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import torch
from torch import Tensor, nn

from attacks.core.ball import Ball
from attacks.core.goal import UNANSWERED, answers
from attacks.core.model import Attack, Learnt, Model, Victim, victim
from genlab.core.ranges import Count, Seed
from genlab.data import Images, Stream
from genlab.data.seeds import generator
from genlab.training.loop import fit
from genlab.training.method import Method, TrainOptions


@dataclass(frozen=True)
class Inside(Attack):
    """An attack on another model than the target; it promises what `inner` promises."""

    inner: Attack

    @property
    def ball(self) -> Ball | None:
        return getattr(self.inner, "ball", None)

    def at(self, eps: float) -> Self:
        return replace(self, inner=self.inner.at(eps))


@dataclass(frozen=True, eq=False)
class Transfer(Inside):
    """What `inner` makes for `surrogate`; the target itself is never asked."""

    surrogate: nn.Module = field(repr=False)

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        return self.inner(self.surrogate, x, y)


@dataclass(frozen=True)
class Surrogate(Learnt, Inside):
    """Trains a classifier, then attacks it: `prepare` returns a `Transfer`.

    build: shape (C, H, W) and number of classes -> the untrained classifier, as `ClassifierConfig(...).build` makes it.
    learns: "data", the labels of the attacker's images, or "queries", the target's answers to them, one query each.
    pairs: how many of the images are used, and asked about; None: all. images: length of training.
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
            few = answered(model, few)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            student = self.build(few.shape, len(few.classes)).to(few.device)
        options = TrainOptions(self.images, self.batch, seed=self.seed, schedule="cosine", log_every=self.images)
        fit(student, Stream(few, self.batch, seed=self.seed), options, title="surrogate")
        return Transfer(self.inner, student.eval().requires_grad_(False))


def answered(model: Model, data: Images, batch: int = 256) -> Images:
    """The images with the model's answers as labels, in one query each; those that it answers with NaN are left out."""
    with victim(model, data.x[:1], torch.zeros_like(data.labels[:1])) as f:
        logits = torch.cat([f.query(data.subset(slice(i, i + batch)).x) for i in range(0, len(data), batch)])
    said, classes = answers(logits), logits.shape[1]
    known = (said != UNANSWERED).nonzero().squeeze(1)
    if len(known) == 0:
        raise ValueError(f"the model's logits are NaN for all of the {len(data)} images to learn from.")
    names = data.classes if classes == len(data.classes) else tuple(map(str, range(classes)))
    return replace(data.subset(known) if len(known) < len(data) else data, labels=said[known], classes=names)
