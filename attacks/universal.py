"""Universal perturbations: one perturbation for all images, trained on the attacker's images by `prepare`.

Universal: Moosavi-Dezfooli, Fawzi, Fawzi, Frossard 2017, arXiv:1610.08401, Algorithm 1, with DeepFool inside.
UniversalGradient: Shafahi et al. 2018, arXiv:1811.11304, Algorithm 1: stochastic gradient ascent on a clipped loss.
UniversalTargeted: the same towards one class, the targeted loss of Poursaeed et al. 2018, section 3.1.
UniversalCount: UniversalTargeted, then gradient ascent on a smoothed fooling rate.
UniversalGenerator: Poursaeed et al. 2018, arXiv:1712.02328: a network maps a fixed pattern, or the image, to it.

Departures. The models always see images clipped to [0, 1]. Algorithm 1 keeps the best perturbation, not the last one,
and tests chunks of images for the next one that is classified correctly: the same iterates in fewer calls.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Self

import torch
from torch import Tensor

from attacks.core.ball import Ball, Linf
from attacks.core.goal import cross_entropy, is_adversarial, predicted_classes
from attacks.core.model import Attack, Model, TrainedAttack, Victim, victim
from attacks.deepfool import DeepFool, DeepFoolLinf
from attacks.universal_method import (
    Delta,
    Loss,
    PerturbationGenerator,
    negative_margin,
    smoothed_error,
    target_margin,
    train_perturbation,
)
from genlab.core.ranges import Count, LearningRate, Positive, Range, Seed, Steps, Width
from genlab.data.seeds import generator
from genlab.training.method import TrainOptions

if TYPE_CHECKING:
    from genlab.data import Images


@dataclass(frozen=True, eq=False)
class FixedPerturbation(Attack):
    """x + delta, with the same delta (C, H, W) for every image; no queries, no gradients. `at(eps)` rescales delta.

    Raises ValueError if delta is not in the ball, or if the images have another shape.
    """

    ball: Ball
    delta: Tensor = field(repr=False)

    def check_relations(self) -> None:
        size = self.ball.size(self.delta[None]).item()
        if not size <= self.ball.eps + 1e-6 * max(1, self.ball.eps):
            raise ValueError(f"delta must lie in the ball, got one of size {size:.6g} for {self.ball!r}.")

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        if x.shape[1:] != self.delta.shape:
            raise ValueError(f"the perturbation is for images {tuple(self.delta.shape)}, got {tuple(x.shape[1:])}.")
        return x + self.delta.to(x)

    def at(self, eps: float) -> Self:
        delta = self.delta * (eps / self.ball.eps) if self.ball.eps else self.delta
        return replace(self, ball=self.ball.at(eps), delta=delta)


@dataclass(frozen=True, eq=False)
class PerImagePerturbation(Attack):
    """x + net(x), with a trained perturbation generator `net`; no queries to the model, no gradients."""

    ball: Ball
    net: PerturbationGenerator = field(repr=False)

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            return x + self.ball.project(self.net(x.to(self.net.device, torch.float32), self.ball).to(x))


@dataclass(frozen=True)
class Universal(TrainedAttack):
    """Algorithm 1: for each image that delta does not fool, DeepFool's minimal perturbation is added to delta; project.

    images: number of the attacker's images that are used. epochs: passes over them at most. fooling: fooling rate at
    which training stops. The labels are the model's own predictions. steps: of DeepFool.
    """

    ball: Ball
    images: Count = 1000
    epochs: Steps = 5
    fooling: Annotated[float, Range(0, 1, above=True)] = 0.95
    steps: Steps = 20
    seed: Seed = 0

    def prepare(self, model: Model, data: Images) -> FixedPerturbation:
        few = data.subset(torch.randperm(len(data), generator=generator("universal", self.seed))[: self.images])
        kind = DeepFoolLinf if isinstance(self.ball, Linf) else DeepFool
        inner = kind(steps=self.steps, nearest=9, polish=0)
        with victim(model, few.x[:1], torch.zeros_like(few.labels[:1])) as f:
            said = torch.cat([f.query(part).argmax(1) for part in few.x.split(256)])
            delta = torch.zeros_like(few.x[0])
            best, most = delta, 0.0
            for epoch in range(self.epochs):
                order = torch.randperm(len(few), generator=generator("order", self.seed, epoch)).to(few.device)
                delta = self._pass(f, few.x[order], said[order], delta, inner)
                hits = [is_adversarial(f.query((v + delta).clamp(0, 1)), y)
                        for v, y in zip(few.x.split(256), said.split(256), strict=True)]  # fmt: skip
                share = torch.cat(hits).float().mean().item()
                best, most = (delta, share) if share > most else (best, most)
                if share >= self.fooling:
                    break
        return FixedPerturbation(self.ball, best)

    def _pass(self, f: Victim, x: Tensor, y: Tensor, delta: Tensor, inner: DeepFool) -> Tensor:
        """One epoch over images x (N, ...) with predictions y (N,); delta is updated for images it does not fool."""
        position, chunk = 0, 1
        while position < len(x):
            seen = (x[position : position + chunk] + delta).clamp(0, 1)
            correct = (~is_adversarial(f.query(seen), y[position : position + chunk])).nonzero().flatten().tolist()
            if not correct:
                position, chunk = position + chunk, min(2 * chunk, 256)
                continue
            i, chunk = correct[0], max(1, min(2 * correct[0], 256))
            one = seen[i : i + 1]
            moved = inner.run(f, one.clone(), y[position + i, None]).detach().clamp(0, 1) - one
            delta = self.ball.project(delta + moved)[0]
            position += i + 1
        return delta


@dataclass(frozen=True)
class TrainedUniversal(TrainedAttack):
    """Base of the attacks trained by `genlab.fit` with Adam and a cosine schedule.

    images: length of training, in images. batch: batch size. limit: the loss of each image is clipped at this value, so
    images that are clearly misclassified give no gradient.
    """

    ball: Ball
    images: Count = 30_000
    batch: Count = 64
    lr: LearningRate = 0.5
    limit: Positive = 3.0
    seed: Seed = 0

    def _train(self, model: Model, data: Images, net: Delta | PerturbationGenerator, loss: Loss) -> None:
        options = TrainOptions(self.images, self.batch, self.seed, schedule="cosine", log_every=self.images)
        train_perturbation(net, model, data, self.ball, options, lr=self.lr, limit=self.limit, loss=loss)


@dataclass(frozen=True)
class UniversalGradient(TrainedUniversal):
    """Adam on the perturbation, projected onto the ball after every update; lr: in units of eps."""

    def prepare(self, model: Model, data: Images) -> FixedPerturbation:
        return self._train_delta(model, data, cross_entropy)

    def _train_delta(self, model: Model, data: Images, loss: Loss, start: Tensor | None = None) -> FixedPerturbation:
        delta = Delta(self.ball, data.shape, self.seed).to(data.device)
        if start is not None:
            delta.delta.data.copy_(start)
        self._train(model, data, delta, loss)
        return FixedPerturbation(self.ball, delta.delta.detach().clone())


@dataclass(frozen=True)
class UniversalTargeted(UniversalGradient):
    """Targeted universal perturbation: towards class `target`; None: the class with the highest success rate.

    Untargeted universal perturbations send most images to one or two classes anyway (Moosavi-Dezfooli et al., section
    5); with one target the gradients of the images agree. For None, a perturbation is trained for each class for a
    tenth of `images`, and compared on up to 1000 of the attacker's images. `prepare` raises ValueError if the model has
    no class `target`.
    """

    limit: Positive = 5.0
    target: Annotated[int, Range(0, 10**6)] | None = None

    def prepare(self, model: Model, data: Images) -> FixedPerturbation:
        target = self.best_target(model, data) if self.target is None else self.target
        with victim(model, data.x[:1], torch.full_like(data.labels[:1], target)) as f:
            f.query(data.x[:1])  # raises for a target that is no class of the model
        return self._train_delta(model, data, target_margin(target))

    def best_target(self, model: Model, data: Images) -> int:
        """The target class with the highest success rate after a short training."""
        few = data.subset(torch.randperm(len(data), generator=generator("easiest", self.seed))[:1000])
        short, shares = replace(self, images=max(self.batch, self.images // 10)), list[float]()
        with victim(model, few.x[:1], torch.zeros_like(few.labels[:1])) as f:
            for target in range(min(len(data.classes), f.query(few.x[:1]).shape[1])):
                seen = short._train_delta(model, data, target_margin(target)).delta + few.x
                said = torch.cat([predicted_classes(f.query(part.clamp(0, 1))) for part in seen.split(256)])
                shares.append(((said == target) & (few.labels != target)).float().mean().item())
        return max(range(len(shares)), key=shares.__getitem__)


@dataclass(frozen=True)
class UniversalCount(UniversalTargeted):
    """UniversalTargeted, followed by training of the same length on the smoothed number of misclassified images.

    The smoothed 0-1 loss has a gradient only for images near the decision boundary, so it is started from a
    perturbation that fools many images, with ten times the learning rate, since few images contribute to the gradient.
    """

    def prepare(self, model: Model, data: Images) -> FixedPerturbation:
        aimed = super().prepare(model, data)
        return replace(self, lr=10 * self.lr)._train_delta(model, data, smoothed_error, aimed.delta)


@dataclass(frozen=True)
class UniversalGenerator(TrainedUniversal):
    """A convolutional network of `width` channels generates the perturbation, scaled into the ball.

    per_image: the input is the image, and each image gets its own perturbation; otherwise the input is a fixed random
    pattern, and all images get the same.
    """

    lr: LearningRate = 2e-3
    limit: Positive = 5.0
    width: Width = 32
    per_image: bool = False

    def prepare(self, model: Model, data: Images) -> FixedPerturbation | PerImagePerturbation:
        net = PerturbationGenerator(data.shape, self.width, self.per_image, self.seed).to(data.device)
        self._train(model, data, net, negative_margin)  # at initialisation the gradient of the cross-entropy vanishes
        net.eval().requires_grad_(False)
        if self.per_image:
            return PerImagePerturbation(self.ball, net)
        with torch.no_grad():
            return FixedPerturbation(self.ball, self.ball.project(net(net.pattern, self.ball))[0].contiguous())
