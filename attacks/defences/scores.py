"""Detection scores: x (N, C, H, W) in [0, 1] -> (N,), higher for adversarial images. `detection` adds a threshold.

Squeezing           Xu, Evans, Qi 2018, arXiv:1704.01155: change of the probabilities by feature squeezing
MaxSoftmax          Hendrycks, Gimpel 2017, arXiv:1610.02136: 1 - maximum softmax probability
Mahalanobis         Lee et al. 2018, arXiv:1807.03888, eq. 1-2: Mahalanobis distance of features from the class means
ReconstructionError, JensenShannon    Meng, Chen 2017 (MagNet), arXiv:1705.09064: the two detectors
NegativeLogLikelihood  minus the log-likelihood of any generative model

All have gradients for adaptive attacks: filters without one are differentiated as the identity (BPDA).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from attacks.core.model import Model
from attacks.defences.callable_module import CallableModule, ImageMap
from attacks.defences.smoothing import Filtered
from genlab.core.modes import evaluating
from genlab.core.ranges import Positive, Share, checked

Map = Callable[[Tensor], Tensor]


class Squeezing(nn.Module):
    """The largest L1 distance, in [0, 2], between the probabilities of x and of filtered x, over the filters."""

    def __init__(self, model: nn.Module, *filters: nn.Module) -> None:
        super().__init__()
        if not filters:
            raise ValueError("squeezing needs at least 1 filter, got none.")
        self.model = model
        self.squeezed = nn.ModuleList(Filtered(f, model).adaptive() for f in filters)

    def forward(self, x: Tensor) -> Tensor:
        plain = self.model(x).softmax(1)
        return torch.stack([(squeezed(x).softmax(1) - plain).abs().sum(1) for squeezed in self.squeezed]).amax(0)


class MaxSoftmax(nn.Module):
    """1 - the largest probability, computed as the sum of all others to avoid cancellation."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = CallableModule(model)

    def forward(self, x: Tensor) -> Tensor:
        first, where = (logits := self.model(x)).max(1)
        return (logits.scatter(1, where[:, None], -math.inf).logsumexp(1) - first).sigmoid()


class Entropy(nn.Module):
    """Entropy of the predicted probabilities, in nats."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = CallableModule(model)

    def forward(self, x: Tensor) -> Tensor:
        log_p = self.model(x).log_softmax(1)
        return -(log_p.exp() * log_p).sum(1)


class Mahalanobis(nn.Module):
    """Squared Mahalanobis distance of the features to the nearest class mean, with shared within-class covariance.

    features: x -> (N, D), or (N, D, ...), averaged over all positions. noise: size in pixels of a signed gradient step
    towards the nearest class before the score is computed (input pre-processing, section 2.2); 0: none. Directions of
    zero variance are ignored. Created by `fit`.
    """

    whiten: Tensor
    means: Tensor

    @checked
    def __init__(self, features: Map, whiten: Tensor, means: Tensor, noise: Share = 0.0) -> None:
        super().__init__()
        self.features, self.noise = CallableModule(features), noise
        self.register_buffer("whiten", whiten)  # (D, R), R <= D: features @ whiten have the identity as covariance
        self.register_buffer("means", means)  # (K, R), of the whitened features

    @classmethod
    @torch.no_grad()
    def fit(cls, features: Map, x: Tensor, y: Tensor, noise: float = 0.0, batch: int = 256) -> Self:
        """Estimates means and covariance from training images x with labels y (N,). Raises ValueError if there are no
        images, or if the features do not vary."""
        if len(x) == 0:
            raise ValueError("class means need images, got 0.")
        with evaluating(module := CallableModule(features)):
            f = torch.cat([pooled(module(part)) for part in x.split(batch)]).double()
        classes, each = y.unique(return_inverse=True)
        means = torch.stack([f[each == c].mean(0) for c in range(len(classes))])
        within = f - means[each]
        values, vectors = torch.linalg.eigh(within.T @ within / len(f))
        used = values > 1e-7 * values[-1]
        if not used.any():
            raise ValueError(f"the features of {len(x)} images do not vary within any class.")
        whiten = vectors[:, used] / values[used].sqrt()
        return cls(features, whiten.to(x), (means @ whiten).to(x), noise)

    def forward(self, x: Tensor) -> Tensor:
        if self.noise:
            with torch.enable_grad():
                inputs = x.detach().requires_grad_()
                gradient = torch.autograd.grad(self.distance(inputs).sum(), inputs)[0]
            x = (x - self.noise * gradient.sign()).clamp(0, 1)
        return self.distance(x)

    def distance(self, x: Tensor) -> Tensor:
        f = pooled(self.features(x)) @ self.whiten
        return (f[:, None] - self.means).square().sum(2).amin(1)


def classifier_scores(net: nn.Sequential, x: Tensor, y: Tensor, *filters: nn.Module) -> dict[str, nn.Module]:
    """Scores that need no other network, by name; x, y: training images and labels; filters: of feature squeezing."""
    return {
        "squeezing": Squeezing(net, *filters),
        "max softmax": MaxSoftmax(net),
        "entropy": Entropy(net),
        "Mahalanobis": Mahalanobis.fit(net[:-1], x, y),
    }


def pooled(features: Tensor) -> Tensor:
    """(N, D, ...) -> (N, D), the mean over all positions."""
    return features if features.ndim == 2 else features.flatten(2).mean(2)


class ReconstructionError(nn.Module):
    """Mean of |x - autoencode(x)|^p over the pixels."""

    @checked
    def __init__(self, autoencode: Map, p: Positive = 2.0) -> None:
        super().__init__()
        self.autoencode, self.p = ImageMap(autoencode), p

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.autoencode(x)).abs().pow(self.p).flatten(1).mean(1)


class JensenShannon(nn.Module):
    """Jensen-Shannon divergence, in nats, between softmax(logits / temperature) of x and of autoencode(x)."""

    @checked
    def __init__(self, model: Model, autoencode: Map, temperature: Positive = 10.0) -> None:
        super().__init__()
        self.model, self.autoencode, self.temperature = CallableModule(model), ImageMap(autoencode), temperature

    def forward(self, x: Tensor) -> Tensor:
        p, q = ((self.model(v) / self.temperature).log_softmax(1) for v in (x, self.autoencode(x)))
        middle = torch.logaddexp(p, q) - math.log(2)
        return (p.exp() * (p - middle) + q.exp() * (q - middle)).sum(1) / 2


class NegativeLogLikelihood(nn.Module):
    """-log_prob(x); log_prob: x -> (N,), in nats/image, exact or a bound."""

    def __init__(self, log_prob: Map) -> None:
        super().__init__()
        self.log_prob = CallableModule(log_prob)

    def forward(self, x: Tensor) -> Tensor:
        return -self.log_prob(x)


class LogisticRegressionScore(nn.Module):
    """The logit of a logistic regression on several scores (Lee et al., section 2.2). Created by `fit`."""

    weight: Tensor
    bias: Tensor

    def __init__(self, scores: Sequence[nn.Module], weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.scores = nn.ModuleList(scores)
        self.register_buffer("weight", weight)  # (S,)
        self.register_buffer("bias", bias)  # ()

    @classmethod
    @torch.no_grad()
    def fit(cls, scores: Sequence[nn.Module], clean: Tensor, attacked: Tensor) -> Self:
        """Fit to clean images and examples of one attack. Raises ValueError if there are none of a kind."""
        from sklearn.linear_model import LogisticRegression  # slow import, only needed here

        if min(len(clean), len(attacked)) == 0:
            raise ValueError(
                f"a regression needs images of both kinds, got {len(clean)} clean, {len(attacked)} attacked."
            )
        both = torch.cat([clean, attacked])
        with evaluating(*scores):
            values = torch.stack([torch.cat([s(part) for part in both.split(256)]) for s in scores], 1).double().cpu()
        spread, mean = torch.std_mean(values, 0)
        spread = torch.where(spread > 0, spread, 1)
        kinds = torch.arange(len(both)) >= len(clean)
        found = LogisticRegression(class_weight="balanced").fit(((values - mean) / spread).numpy(), kinds.numpy())
        weight = torch.from_numpy(found.coef_[0]) / spread
        bias = torch.tensor(float(found.intercept_[0])) - weight @ mean
        return cls(scores, weight.to(clean), bias.to(clean))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([score(x) for score in self.scores], 1) @ self.weight + self.bias
