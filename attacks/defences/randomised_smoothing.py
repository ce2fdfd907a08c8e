"""Randomised smoothing: a classifier certified within an L2 radius; Cohen et al. 2019, arXiv:1902.02918.

`certify` is CERTIFY and `predict` PREDICT of the paper's section 3.2, in its notation: n0 samples choose the class, n
bound its probability from below by p_lower (Clopper, Pearson 1934). `forward`, for attacks, is differentiable: the mean
of the probabilities under noise (Salman et al. 2019, arXiv:1906.04584, eq. 5). NoiseTraining is the paper's training
with the same noise (section 3.3).

Departure: the noise in `predict` and `certify` comes from a generator per image, seeded by a hash of its pixels and a
seed, so the result for one image does not depend on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any, ClassVar, Self

import torch
from scipy.special import betainc, betaincinv
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from attacks.core import random as noise
from attacks.defences.adversarial_training import RobustTraining, RobustTrainingConfig
from genlab.core.modes import evaluating
from genlab.core.passes import pass_size
from genlab.core.ranges import Count, OpenShare, OutOfRange, Range, Seed, checked
from genlab.data import Images
from genlab.metrics.accuracy import accuracy
from genlab.training.method import BatchStream, Metrics, TrainOptions
from genlab.training.update import Update

ABSTAIN = -1
DRAWS = 64  # noise samples of one image drawn at once: a fixed number, so that they do not depend on the passes
Sigma = Annotated[float, Range(0, 100, above=True)]  # of noise, in pixels of [0, 1]


def lower_confidence_bound(successes: Tensor, n: int, alpha: float) -> Tensor:
    """LOWERCONFBOUND of the paper: p_lower (N,) float64, below the probability of a success with confidence 1 - alpha,
    from the number of successes (N,) in n trials (Clopper, Pearson 1934)."""
    k = successes.double().cpu().numpy()
    return torch.from_numpy(betaincinv(k, n - k + 1, alpha)).nan_to_num(0.0)  # NaN for 0 successes


def binomial_p_value(first: Tensor, second: Tensor) -> Tensor:
    """BINOMPVALUE of the paper: (N,) float64, the two-sided p-value of counts (N,) that have equal chances."""
    more, less = torch.maximum(first, second).double().cpu(), torch.minimum(first, second).double().cpu()
    return torch.from_numpy(2 * betainc(more.numpy(), less.numpy() + 1, 0.5)).clamp(max=1)


class Smoothed(nn.Module):
    """The class that `model` predicts most often for x + N(0, sigma^2 I); sigma in pixels of [0, 1], noise not clipped.

    samples: noise samples in `forward`, x -> log of the mean probabilities (N, K), from torch's generator. batch:
    largest batch in `predict` and `certify`; None: as fits the device (`pass_size`).
    """

    @checked
    def __init__(
        self,
        model: nn.Module,
        sigma: Sigma = 0.25,
        samples: Annotated[int, Range(1, 10_000)] = 16,
        batch: Count | None = None,
    ) -> None:
        super().__init__()
        self.model, self.sigma, self.samples, self.batch = model, sigma, samples, batch

    @classmethod
    def defend(cls, model: nn.Module, **options: Any) -> Smoothed:
        return cls(model, **options)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}, samples={self.samples}"

    def adaptive(self) -> Self:
        """Itself: `forward` already averages over the noise."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        many = x.repeat(self.samples, *[1] * (x.ndim - 1))
        logits = self.model(many + self.sigma * torch.randn_like(many)).log_softmax(1)
        return logits.view(self.samples, len(x), -1).logsumexp(0) - math.log(self.samples)

    @torch.no_grad()
    @checked
    def counts(self, x: Tensor, n: Count, seed: Seed = 0) -> Tensor:
        """(N, K) int64: how often each class is predicted in n noise samples, in eval mode (SAMPLEUNDERNOISE)."""
        size = self.batch or pass_size(x.shape[1:], x.device)
        streams = [torch.Generator(x.device).manual_seed(key) for key in noise.key(x, seed).tolist()]
        total: list[Tensor | int] = [0] * len(x)
        blocks = [(i, first) for first in range(0, n, DRAWS) for i in range(len(x))]
        together = max(1, size // DRAWS)
        with evaluating(self.model):
            for start in range(0, len(blocks), together):
                some = blocks[start : start + together]
                moved = [self._noisy(x[i], streams[i])[: n - first] for i, first in some]
                logits = torch.cat([self.model(part) for part in torch.cat(moved).split(size)])
                predicted = one_hot(logits.argmax(1), logits.shape[1])
                for (i, _), part in zip(some, predicted.split(list(map(len, moved))), strict=True):
                    total[i] = total[i] + part.sum(0)
            return torch.stack(total) if total else self.model(x).long()  # type: ignore[arg-type]

    def _noisy(self, x: Tensor, stream: torch.Generator) -> Tensor:
        """(DRAWS, C, H, W): one image x (C, H, W) with the next noise of its stream."""
        d = torch.randn(DRAWS, *x.shape, generator=stream, device=x.device)
        return d.mul_(self.sigma).to(x.dtype).add_(x)

    @checked
    def predict(self, x: Tensor, n: Count = 1000, alpha: OpenShare = 0.001, seed: Seed = 0) -> Tensor:
        """PREDICT: (N,) the class, or ABSTAIN (-1) if the top two classes do not differ significantly at level alpha.

        Differs from the class of the smoothed classifier with probability <= alpha. Raises ValueError if n is so small
        that every prediction would be ABSTAIN.
        """
        enough(n, alpha, lambda n: 2 * 0.5**n <= alpha)  # the p-value of n against 0
        first, second = (top := self.counts(x, n, seed).topk(2, dim=1)).values.unbind(1)
        sure = binomial_p_value(first, second) <= alpha
        return torch.where(sure.to(x.device), top.indices[:, 0], ABSTAIN)

    @checked
    def certify(
        self, x: Tensor, n: Count = 10_000, alpha: OpenShare = 0.001, n0: Count = 100, seed: Seed = 0
    ) -> tuple[Tensor, Tensor]:
        """CERTIFY: (class or ABSTAIN, radius), each (N,): perturbations of L2 norm < radius do not change the class.

        n0 samples choose the class, n others bound its probability; wrong with probability <= alpha. radius in pixels
        of [0, 1]. Raises ValueError if n is so small that every result would be ABSTAIN.
        """
        check_samples(n, alpha)
        c = self.counts(x, n0, seed).argmax(1)
        counts_c = self.counts(x, n, seed + 1).gather(1, c[:, None]).squeeze(1)
        p_lower = lower_confidence_bound(counts_c, n, alpha)
        radius = (self.sigma * torch.special.ndtri(p_lower)).to(x.device)
        certain = radius > 0  # p_lower > 1/2
        return torch.where(certain, c, ABSTAIN), torch.where(certain, radius, 0.0)


def check_samples(n: int, alpha: float) -> None:
    """Raises OutOfRange if a certificate by n samples is never significant at the level alpha."""
    enough(n, alpha, lambda n: alpha ** (1 / n) > 0.5)  # p_lower of n in n


def enough(n: int, alpha: float, sure: Callable[[int], bool]) -> None:
    """Raises OutOfRange if even n equal predictions are not significant, `sure(n)`."""
    if not sure(n):
        needed = next(n for n in count(n + 1) if sure(n))
        raise OutOfRange(
            "n", f"must be at least {needed} for alpha={alpha:g}, got {n}: with fewer samples every result is ABSTAIN."
        )


def certified_accuracy(right: Tensor, radius: Tensor, radii: Tensor) -> Tensor:
    """(R,): share of images predicted correctly, right (N,) bool, with radius (N,) at least each of `radii` (R,)."""
    return (right & (radius >= radii[:, None])).double().mean(1)


@dataclass(frozen=True)
class NoiseTrainingConfig(RobustTrainingConfig):
    """Classifier trained with Gaussian noise, for randomised smoothing."""

    sigma: Sigma = 0.25
    """standard deviation of the noise, in pixels of [0, 1]"""

    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=64, schedule="cosine")

    def build(self, shape: tuple[int, int, int], classes: int) -> NoiseTraining:
        return NoiseTraining(self.make_net(shape, classes), self)


class NoiseTraining(RobustTraining):
    """Cross-entropy on x + N(0, sigma^2 I)."""

    config: NoiseTrainingConfig

    def __init__(self, net: nn.Module, config: NoiseTrainingConfig = NoiseTrainingConfig()):
        super().__init__(net, config)

    def noisy(self, x: Tensor) -> Tensor:
        return x + self.config.sigma * torch.randn_like(x)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        logits = self.net(self.noisy(x))
        loss = cross_entropy(logits, y)
        update("net", loss)
        return {"loss": loss, "accuracy": (logits.argmax(1) == y).float().mean()}

    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy; noisy_accuracy: with one noise sample per image."""
        with evaluating(self):
            noisy = accuracy(lambda x: self(self.noisy(x)), data)
        return {**super().evaluate(data), "noisy_accuracy": noisy}
