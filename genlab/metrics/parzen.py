"""Parzen window estimate of the log-likelihood: a Gaussian around every sample, as in Goodfellow et al. 2014,
arXiv:1406.2661, section 5: the width is chosen on validation images, the result is the mean over test images, in nats.

Theis, van den Oord & Bethge 2016, arXiv:1511.01844, show that it is unreliable: it grows with the number of samples and
depends on the width (`sensitivity`); and that likelihood and sample quality are largely independent: a model with 99 %
noise samples loses at most ln 100 = 4.605 nats (`mixed_with_noise`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genlab.metrics import checks
from genlab.metrics.distances import squared

WIDTHS: tuple[float, ...] = tuple(10 ** (-k / 8) for k in range(12, -1, -1))  # 0.032 .. 1, pixels in [0, 1]


@dataclass(frozen=True)
class Parzen:
    """mean: log p in nats per image, over the test images; error: its standard error; width: the chosen one."""

    mean: float
    error: float
    width: float


@torch.no_grad()
def log_density(x: Tensor, samples: Tensor, widths: Sequence[float]) -> Tensor:
    """log p(x) in nats, (widths, N), of points x (N, d) under a mixture of Gaussians of each width at samples (M, d).

    Raises:
        ValueError: no rows, different d, numbers that are not finite, or a width that is not positive.
    """
    x, samples = checks.points(x, "pixels", 1), checks.points(samples, "pixels", 1)
    if x.shape[1] != samples.shape[1]:
        raise ValueError(f"pixels must have the same number of columns, got {x.shape[1]} and {samples.shape[1]}")
    if not widths or not all(0 < width < math.inf for width in widths):
        raise ValueError(f"widths must be positive numbers, got {list(widths)}")
    d, m = samples.shape[1], len(samples)
    blocks = [
        torch.stack([(block / (-2 * s * s)).logsumexp(1) - d * math.log(s) for s in widths])
        for _, block in squared(x, samples)
    ]
    return torch.cat(blocks, 1) - math.log(m) - d / 2 * math.log(2 * math.pi)


def parzen(samples: Tensor, validation: Tensor, test: Tensor, widths: Sequence[float] = WIDTHS) -> Parzen:
    """The estimate from samples (M, d), validation pixels (V, d) and test pixels (T, d), all in [0, 1].

    Raises:
        ValueError: as for log_density, or fewer than two test images.
    """
    checks.points(test, "pixels")
    width = widths[int(log_density(validation, samples, widths).mean(1).argmax())]
    found = log_density(test, samples, [width])[0]
    return Parzen(float(found.mean()), float(found.std() / len(found) ** 0.5), width)


def sensitivity(
    samples: Tensor, test: Tensor, counts: Sequence[int], widths: Sequence[float] = WIDTHS
) -> list[dict[str, float]]:
    """Rows {"samples", "width", "nats"}: the mean log-likelihood of test pixels (T, d) for every number of samples in
    `counts` and every width."""
    rows = []
    for count in counts:
        means = log_density(test, samples[:count], widths).mean(1).tolist()
        rows += [{"samples": count, "width": width, "nats": nats} for width, nats in zip(widths, means)]
    return rows


def mixed_with_noise(log_p: Tensor, noise: float = 0.99, log_noise: Tensor | float = -math.inf) -> Tensor:
    """The log-density of a mixture of the model p and, with weight `noise`, a noise model.

    Args:
        log_p: (N,), nats.
        noise: in [0, 1).
        log_noise: log-density of the noise model at the same images, (N,) or one number.

    Returns (N,), at least log_p + ln(1 - noise): 99 % noise costs at most ln 100 = 4.605 nats in any dimension, while
    log-likelihoods of images are in the hundreds of nats.

    Raises:
        ValueError: `noise` is outside [0, 1).
    """
    if not 0 <= noise < 1:
        raise ValueError(f"noise must lie in [0, 1), got {noise}")
    other = torch.as_tensor(log_noise, dtype=log_p.dtype, device=log_p.device)
    weight = math.log(noise) if noise else -math.inf
    return torch.logaddexp(log_p + math.log1p(-noise), (other + weight).expand_as(log_p))
