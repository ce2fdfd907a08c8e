"""Divergences between one-dimensional densities by numerical integration, and the optimal discriminator.

A density is a vector of log-densities on a regular float64 grid `x` that covers practically all of its mass; logarithms
avoid 0/0 in the tails. All results are in nats.

Optimal discriminator: Goodfellow et al. 2014, arXiv:1406.2661, proposition 1 and theorem 1. Gradients of the generator:
Arjovsky and Bottou 2017, arXiv:1701.04862, sections 2.2 and 2.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.optim import LBFGS

Divergence = Callable[[Tensor, Tensor, Tensor], Tensor]  # log p (n,), log q (n,), x (n,) -> scalar


def line(low: float, high: float, n: int = 20_001) -> Tensor:
    """The grid of n positions from `low` to `high`."""
    return torch.linspace(low, high, n, dtype=torch.float64)


def log_normal(x: Tensor, mean: Tensor | float, std: Tensor | float) -> Tensor:
    """log N(x; mean, std²)"""
    log_std = std.log() if isinstance(std, Tensor) else math.log(std)
    return -0.5 * ((x - mean) / std) ** 2 - log_std - 0.5 * math.log(2 * math.pi)


def log_mixture(x: Tensor, means: Sequence[float], stds: Sequence[float], weights: Sequence[float]) -> Tensor:
    """Log-density of a mixture of Gaussians; weights sum to 1."""
    if not math.isclose(sum(weights), 1.0) or min(weights) <= 0:
        raise ValueError(f"weights must be positive and sum to 1, got {weights}")
    parts = [math.log(w) + log_normal(x, mean, std) for mean, std, w in zip(means, stds, weights, strict=True)]
    return torch.logsumexp(torch.stack(parts), 0)


def expectation(log_p: Tensor, f: Tensor, x: Tensor) -> Tensor:
    """E_p[f]; where p underflows to 0, so does the integrand."""
    p = log_p.exp()
    return torch.trapezoid(torch.where(p > 0, p * f, torch.zeros_like(p)), x)


def kl(log_p: Tensor, log_q: Tensor, x: Tensor) -> Tensor:
    """KL(p || q) >= 0; unbounded where q misses mass of p (mode covering)."""
    return expectation(log_p, log_p - log_q, x)


def reverse_kl(log_p: Tensor, log_q: Tensor, x: Tensor) -> Tensor:
    """KL(q || p) >= 0; unbounded where q has mass outside p (mode seeking)."""
    return kl(log_q, log_p, x)


def js(log_p: Tensor, log_q: Tensor, x: Tensor) -> Tensor:
    """Jensen-Shannon divergence, 0 to log 2: the mean KL to the mixture (p + q) / 2."""
    middle = torch.logaddexp(log_p, log_q) - math.log(2)
    return (kl(log_p, middle, x) + kl(log_q, middle, x)) / 2


def optimal_discriminator(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The logit of D* = p / (p + q) for real p and fake q: log p - log q."""
    return log_p - log_q


def value(logit: Tensor, log_p: Tensor, log_q: Tensor, x: Tensor) -> Tensor:
    """V(D) = E_p log D + E_q log(1 - D) with D = sigmoid(logit); at most V(D*) = -2 log 2 + 2 JSD."""
    return expectation(log_p, logsigmoid(logit), x) + expectation(log_q, logsigmoid(-logit), x)


def fit_gaussian(
    log_p: Tensor, x: Tensor, divergence: Divergence, start: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """(mean, std) of the Gaussian q that minimises divergence(p, q): a local minimum found by L-BFGS from `start`.

    KL matches the moments of p and covers all modes; reverse KL selects one mode.
    """
    mean = torch.tensor(start[0], dtype=x.dtype, requires_grad=True)
    log_std = torch.tensor(math.log(start[1]), dtype=x.dtype, requires_grad=True)
    optimizer = LBFGS([mean, log_std], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = divergence(log_p, log_normal(x, mean, log_std.exp()), x)
        total.backward()
        return total

    optimizer.step(loss)
    return mean.item(), log_std.exp().item()
