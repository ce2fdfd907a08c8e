"""One perturbation for all images, learnt from the attacker's images by `prepare`; what attacks is then `Fixed`.

Universal: Moosavi-Dezfooli, Fawzi, Fawzi, Frossard 2017, arXiv:1610.08401, Algorithm 1, with DeepFool inside.
UniversalGradient: Shafahi et al. 2018, arXiv:1811.11304, Algorithm 1: stochastic ascent of a clipped loss.
UniversalTargeted: the same towards one class, as Poursaeed et al. 2018, section 3.1, have it for generators.
UniversalCount: both, one after the other; the loss of the second is the share of fooled images itself, smoothed.
UniversalGenerator: Poursaeed et al. 2018, arXiv:1712.02328: a network turns a fixed pattern, or the image, into it.

Departures. The models always see images clipped to [0, 1]. Algorithm 1 keeps the best perturbation it has passed, not
the last one, and looks ahead by chunks of images for the next one that is not fooled: the same walk, fewer calls.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Self

import torch
from torch import Tensor

from attacks.core.ball import Ball, Linf
from attacks.core.goal import answers, cross_entropy, is_adversarial
from attacks.core.model import Attack, Learnt, Model, Victim, victim
from attacks.deepfool import DeepFool, DeepFoolLinf
from attacks.universal_method import Delta, Generated, Loss, hit, lead, lead_of, learn
from genlab.core.ranges import Count, LearningRate, Positive, Range, Seed, Steps, Width
from genlab.data.seeds import generator
from genlab.training.method import TrainOptions

if TYPE_CHECKING:
    from genlab.data import Images


@dataclass(frozen=True, eq=False)
class Fixed(Attack):
    """x + delta, the same delta (C, H, W) for every image; it never looks at the model. Another eps rescales delta."""

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
class PerImage(Attack):
    """x + a network's answer to x, whose parameters are learnt; it never looks at the model."""

    ball: Ball
    net: Generated = field(repr=False)

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            return x + self.ball.project(self.net(x.to(self.net.device, torch.float32), self.ball).to(x))


@dataclass(frozen=True)
class Universal(Learnt):
    """Algorithm 1: for each image that delta does not fool yet, the smallest change that does is added; project.

    images: how many of the attacker's images are used; epochs: passes over them at most; fooling: the share of them
    at which it stops. The labels are the model's own answers. `steps` are DeepFool's.
    """

    ball: Ball
    images: Count = 1000
    epochs: Steps = 5
    fooling: Annotated[float, Range(0, 1, above=True)] = 0.95
    steps: Steps = 20
    seed: Seed = 0

    def prepare(self, model: Model, data: Images) -> Fixed:
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
        return Fixed(self.ball, best)

    def _pass(self, f: Victim, x: Tensor, y: Tensor, delta: Tensor, inner: DeepFool) -> Tensor:
        """One pass over the images x (N, ...) with the answers y; the perturbation moves only where it fails."""
        position, chunk = 0, 1
        while position < len(x):
            seen = (x[position : position + chunk] + delta).clamp(0, 1)
            standing = (~is_adversarial(f.query(seen), y[position : position + chunk])).nonzero().flatten().tolist()
            if not standing:
                position, chunk = position + chunk, min(2 * chunk, 256)
                continue
            i, chunk = standing[0], max(1, min(2 * standing[0], 256))
            one = seen[i : i + 1]
            moved = inner.run(f, one.clone(), y[position + i, None]).detach().clamp(0, 1) - one
            delta = self.ball.project(delta + moved)[0]
            position += i + 1
        return delta


@dataclass(frozen=True)
class Trained(Learnt):
    """By the lab's own training loop: `images` drawn in all, in batches; `lr` of Adam, falling to zero by a cosine.

    The loss to be raised counts per image at most `limit`: what is fooled well enough pulls no more.
    """

    ball: Ball
    images: Count = 30_000
    batch: Count = 64
    lr: LearningRate = 0.5
    limit: Positive = 3.0
    seed: Seed = 0

    def _learn(self, model: Model, data: Images, net: Delta | Generated, loss: Loss) -> None:
        options = TrainOptions(self.images, self.batch, self.seed, schedule="cosine", log_every=self.images)
        learn(net, model, data, self.ball, options, lr=self.lr, limit=self.limit, loss=loss)


@dataclass(frozen=True)
class UniversalGradient(Trained):
    """Adam on the perturbation itself, projected after every update; `lr` is in eps per step."""

    def prepare(self, model: Model, data: Images) -> Fixed:
        return self._found(model, data, cross_entropy)

    def _found(self, model: Model, data: Images, loss: Loss, start: Tensor | None = None) -> Fixed:
        delta = Delta(self.ball, data.shape, self.seed).to(data.device)
        if start is not None:
            delta.delta.data.copy_(start)
        self._learn(model, data, delta, loss)
        return Fixed(self.ball, delta.delta.detach().clone())


@dataclass(frozen=True)
class UniversalTargeted(UniversalGradient):
    """The same, so that all images are taken for one class: `target`, or the one for which that goes best.

    Most of what a universal perturbation fools goes to one or two classes anyway (Moosavi-Dezfooli et al., section 5).
    Aimed at one from the start, the images do not pull against each other. The best class is found by a tenth of the
    training for each, judged on up to 1000 of the attacker's images.
    """

    limit: Positive = 5.0
    target: Annotated[int, Range(0, 10**6)] | None = None

    def prepare(self, model: Model, data: Images) -> Fixed:
        target = self.easiest(model, data) if self.target is None else self.target
        with victim(model, data.x[:1], torch.full_like(data.labels[:1], target)) as f:
            f.query(data.x[:1])  # which refuses a target that is no class of the model
        return self._found(model, data, lead_of(target))

    def easiest(self, model: Model, data: Images) -> int:
        """The class that a short training brings the most images of other classes to."""
        few = data.subset(torch.randperm(len(data), generator=generator("easiest", self.seed))[:1000])
        short, shares = replace(self, images=max(self.batch, self.images // 10)), list[float]()
        with victim(model, few.x[:1], torch.zeros_like(few.labels[:1])) as f:
            for target in range(min(len(data.classes), f.query(few.x[:1]).shape[1])):
                seen = short._found(model, data, lead_of(target)).delta + few.x
                said = torch.cat([answers(f.query(part.clamp(0, 1))) for part in seen.split(256)])
                shares.append(((said == target) & (few.labels != target)).float().mean().item())
        return max(range(len(shares)), key=shares.__getitem__)


@dataclass(frozen=True)
class UniversalCount(UniversalTargeted):
    """Towards one class first, then, for as many images again, wherever the most images are fooled.

    The smoothed count has a slope at undecided images only: none pulls that is lost or won. It gets farther from where
    many have fallen than from a random start. Its steps are ten times as long, since the slope is that of a few images.
    """

    def prepare(self, model: Model, data: Images) -> Fixed:
        aimed = super().prepare(model, data)
        return replace(self, lr=10 * self.lr)._found(model, data, hit, aimed.delta)


@dataclass(frozen=True)
class UniversalGenerator(Trained):
    """A convolutional network of `width` channels draws the perturbation, scaled into the ball.

    per_image: it sees the image and gives each its own; otherwise it sees one fixed pattern and gives all the same.
    """

    lr: LearningRate = 2e-3
    limit: Positive = 5.0
    width: Width = 32
    per_image: bool = False

    def prepare(self, model: Model, data: Images) -> Fixed | PerImage:
        net = Generated(data.shape, self.width, self.per_image, self.seed).to(data.device)
        self._learn(model, data, net, lead)  # where a generator starts, cross-entropy has no slope
        net.eval().requires_grad_(False)
        if self.per_image:
            return PerImage(self.ball, net)
        with torch.no_grad():
            return Fixed(self.ball, self.ball.project(net(net.pattern, self.ball))[0].contiguous())
