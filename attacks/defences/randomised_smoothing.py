"""Randomised smoothing: a classifier that is certainly right within a radius; Cohen et al. 2019, arXiv:1902.02918.

`certify` is CERTIFY and `predict` PREDICT of the paper's section 3.2; a proportion is bounded after Clopper and Pearson
1934. `forward` is the attacker's way in: the mean of probabilities under noise, differentiable (Salman et al. 2019,
arXiv:1906.04584, eq. 5). NoiseTraining is the paper's training under the same noise (its section 3.3).

Departure: an image's noise in `predict` and `certify` is a function of its own pixels and a seed, so what is certified
of one image does not depend on the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from scipy.stats import beta, binomtest, norm
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from attacks.core import random as noise
from attacks.defences.adversarial_training import RobustTraining
from genlab.core.ranges import Count, LearningRate, Range, Seed, Width, checked
from genlab.data import Images
from genlab.latent.edit import evaluating
from genlab.metrics.accuracy import accuracy
from genlab.nets.classifiers import NETWORKS
from genlab.training.method import Config, Metrics, Stream, TrainOptions
from genlab.training.update import Update

ABSTAIN = -1
Sigma = Annotated[float, Range(0, 100, above=True)]  # of noise, in pixels of [0, 1]
Chance = Annotated[float, Range(0, 1, above=True, below=True)]  # of an error


def proportion_at_least(successes: Tensor, n: int, alpha: float) -> Tensor:
    """(N,) float64: what the chance of a success is at least, with confidence 1 - alpha (Clopper, Pearson 1934)."""
    k = successes.double().cpu().numpy()
    return torch.from_numpy(beta.ppf(alpha, k, n - k + 1)).nan_to_num(0.0)  # no success at all: nan, for 0


class Smoothed(nn.Module):
    """The answer that `model` gives most often to x + N(0, sigma^2 I); sigma in pixels, the noise is not clipped.

    draws: passes whose mean probability `forward` takes, (N, K) as its logarithm, from torch's generator.
    """

    @checked
    def __init__(
        self, model: nn.Module, sigma: Sigma, draws: Annotated[int, Range(1, 10_000)] = 16, batch: Count = 1000
    ) -> None:
        super().__init__()
        self.model, self.sigma, self.draws, self.batch = model, sigma, draws, batch

    @classmethod
    def defend(cls, model: nn.Module, sigma: Sigma = 0.25, **options: Any) -> Smoothed:
        return cls(model, sigma, **options)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}, draws={self.draws}"

    def adaptive(self) -> Self:
        """Itself: its gradient is already that of the average."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        many = x.repeat(self.draws, *[1] * (x.ndim - 1))
        logits = self.model(many + self.sigma * torch.randn_like(many)).log_softmax(1)
        return logits.view(self.draws, len(x), -1).logsumexp(0) - math.log(self.draws)

    @torch.no_grad()
    @checked
    def counts(self, x: Tensor, n: Count, seed: Seed = 0) -> Tensor:
        """(N, K) int64: how often each class is the answer of the model, in eval mode, in n draws."""
        keys = noise.key(x, seed)
        together = max(1, self.batch // len(x)) if len(x) else 1
        total: Tensor | int = 0
        with evaluating(self.model):
            for first in range(0, n, together):
                draws = range(first, min(n, first + together))
                moved = torch.cat([x + self.sigma * noise.normal(keys, x.shape[1:], i).to(x.dtype) for i in draws])
                logits = self.model(moved)
                total = total + one_hot(logits.argmax(1), logits.shape[1]).view(len(draws), len(x), -1).sum(0)
        assert isinstance(total, Tensor)
        return total

    @checked
    def predict(self, x: Tensor, n: Count = 1000, alpha: Chance = 0.001, seed: Seed = 0) -> Tensor:
        """(N,) the class, or ABSTAIN where two classes could not be told apart at level alpha; wrong with chance <=
        alpha.

        ValueError: n draws would not be enough even if all of them gave the same class.
        """
        enough(n, alpha, lambda n: binomtest(n, n, 0.5).pvalue <= alpha)
        first, second = (top := self.counts(x, n, seed).topk(2, dim=1)).values.unbind(1)
        sure = [binomtest(int(a), int(a + b), 0.5).pvalue <= alpha for a, b in zip(first, second, strict=True)]
        return torch.where(torch.tensor(sure, device=x.device), top.indices[:, 0], ABSTAIN)

    @checked
    def certify(
        self, x: Tensor, n: Count = 10_000, alpha: Chance = 0.001, select: Count = 100, seed: Seed = 0
    ) -> tuple[Tensor, Tensor]:
        """(class or ABSTAIN, radius), each (N,): no change of L2 norm below the radius, in pixels, changes the class.

        `select` draws choose the class, n others bound its chance; wrong with chance <= alpha.

        ValueError: as `predict`.
        """
        enough(n, alpha, lambda n: beta.ppf(alpha, n, 1) > 0.5)
        choice = self.counts(x, select, seed).argmax(1)
        hits = self.counts(x, n, seed + 1).gather(1, choice[:, None]).squeeze(1)
        least = proportion_at_least(hits, n, alpha)
        radius = torch.from_numpy(self.sigma * norm.ppf(least.numpy())).to(x.device)
        sure = radius > 0
        return torch.where(sure, choice, ABSTAIN), torch.where(sure, radius, 0.0)


def enough(n: int, alpha: float, sure: Callable[[int], bool]) -> None:
    """Refuse so few draws n that not even n equal answers are `sure`: nothing but ABSTAIN could be said."""
    if not sure(n):
        least = next(n for n in count(n + 1) if sure(n))
        raise ValueError(f"n must be at least {least} for alpha={alpha:g}, got {n}: fewer draws can only abstain.")


def certified_accuracy(right: Tensor, radius: Tensor, radii: Tensor) -> Tensor:
    """(R,): the share of images whose class is right (N,) and certain within each of `radii` (R,)."""
    return (right & (radius >= radii[:, None])).double().mean(1)


class NoiseTraining(RobustTraining):
    """Cross-entropy on x + N(0, sigma^2 I)."""

    @checked
    def __init__(self, net: nn.Module, sigma: Sigma, lr: LearningRate = 2e-3):
        super().__init__(net, lr)
        self.sigma = sigma

    def step(self, data: Stream, update: Update) -> Metrics:
        x, y = next(data)
        logits = self.net(x + self.sigma * torch.randn_like(x))
        loss = cross_entropy(logits, y)
        update("net", loss)
        return {"loss": loss, "accuracy": (logits.argmax(1) == y).float().mean()}

    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy, and noisy_accuracy under one draw of the noise."""
        with evaluating(self):
            noisy = accuracy(lambda x: self(x + self.sigma * torch.randn_like(x)), data)
        return {**super().evaluate(data), "noisy_accuracy": noisy}


@dataclass(frozen=True)
class NoiseTrainingConfig(Config):
    """Classifier trained under Gaussian noise, to be smoothed."""

    sigma: Sigma = 0.25
    """standard deviation of the noise, in pixels of [0, 1]"""
    net: Literal["cnn", "resnet", "mlp", "shallow", "vgg"] = "cnn"
    """architecture"""
    width: Width | None = None
    """channels of the first level, or hidden units; none: the architecture's own"""
    lr: LearningRate = 2e-3
    """learning rate of Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=64, schedule="cosine")

    def build(self, shape: tuple[int, int, int], classes: int) -> NoiseTraining:
        net = NETWORKS[self.net](shape, classes, **({} if self.width is None else {"width": self.width}))
        return NoiseTraining(net, self.sigma, self.lr)
