"""Samplers of diffusion models as pure functions of a denoiser; Karras et al. 2022, arXiv:2206.00364 (EDM).

A denoiser D(x, sigma) is the mean of the image given x = image + sigma * noise, x of any scale and shape (N, ...). All
samplers follow the probability-flow ODE dx/dsigma = (x - D(x, sigma)) / sigma (eq. 1 with sigma(t) = t) from the
largest level to 0, or are a stochastic version of it. Levels are plain numbers, so nothing here waits for a device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import log, pi, sqrt
from typing import Literal

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, float], Tensor]  # (x (N, ...), sigma > 0) -> the mean of the image, (N, ...)
Slope = Callable[[Tensor, float], Tensor]  # (x (N, ...), t) -> dx/dt, (N, ...)
Solver = Literal["euler", "heun", "midpoint"]
SamplerName = Literal["heun", "midpoint", "ddim", "ddpm"]


def ode_step(slope: Slope, x: Tensor, t: float, end: float, solver: Solver) -> Tensor:
    """x at time `end` from x at time t: one step of Euler's, Heun's or the midpoint method."""
    first = slope(x, t)
    if solver == "euler":
        return x + (end - t) * first
    if solver == "midpoint":
        return x + (end - t) * slope(x + (end - t) / 2 * first, (t + end) / 2)
    return x + (end - t) / 2 * (first + slope(x + (end - t) * first, end))


def noise_levels(steps: int, low: float, high: float, rho: float = 7.0) -> list[float]:
    """`steps` levels from `high` to `low`, then 0; the larger rho, the denser at small levels. Eq. 5."""
    a, b = high ** (1 / rho), low ** (1 / rho)
    return [(a + i / max(1, steps - 1) * (b - a)) ** rho for i in range(steps)] + [0.0]


def probability_flow(denoise: Denoiser) -> Slope:
    """dx/dsigma of the probability-flow ODE, for sigma > 0."""
    return lambda x, sigma: (x - denoise(x, sigma)) / sigma


def deterministic(denoise: Denoiser, x: Tensor, levels: Sequence[float], solver: Solver = "heun") -> Iterator[Tensor]:
    """x after every step of the ODE: Algorithm 1 with Heun's method; with Euler's, it is DDIM (Song et al. 2021,
    arXiv:2010.02502, eq. 13, in the variables x / sqrt(alpha) and sigma = sqrt((1 - alpha) / alpha)).

    At sigma = 0 there is no slope, so that Heun's last step is one of Euler.
    """
    slope = probability_flow(denoise)
    for now, end in pairwise(levels):
        x = ode_step(slope, x, now, end, "euler" if solver == "heun" and not end else solver)
        yield x


def stochastic(
    denoise: Denoiser,
    x: Tensor,
    levels: Sequence[float],
    churn: float,
    solver: Solver = "heun",
    range_of_churn: tuple[float, float] = (0.05, 50.0),
    noise: float = 1.003,
) -> Iterator[Tensor]:
    """x after every step of Algorithm 2: before a step at a level within `range_of_churn`, noise raises the level by
    the factor 1 + min(churn / steps, sqrt(2) - 1). Churn 0 is `deterministic`; defaults of table 5 for CIFAR-10."""
    gamma = min(churn / (len(levels) - 1), sqrt(2) - 1)
    slope = probability_flow(denoise)
    for now, end in pairwise(levels):
        if gamma and range_of_churn[0] <= now <= range_of_churn[1]:
            raised = now * (1 + gamma)
            x, now = x + sqrt(raised**2 - now**2) * noise * torch.randn_like(x), raised
        x = ode_step(slope, x, now, end, "euler" if solver == "heun" and not end else solver)
        yield x


def posterior(x: Tensor, denoised: Tensor, now: float, end: float) -> Tensor:
    """A sample of x at level `end` given x at level `now` and the image `denoised`: a step of DDPM (Ho et al. 2020,
    arXiv:2006.11239, eq. 6 and 7, in the variable x / sqrt(alpha))."""
    share = (end / now) ** 2
    return torch.lerp(denoised, x, share) + end * sqrt(1 - share) * torch.randn_like(x)


def ancestral(denoise: Denoiser, x: Tensor, levels: Sequence[float]) -> Iterator[Tensor]:
    """x after every step of DDPM's sampler (Algorithm 2 of arXiv:2006.11239)."""
    for now, end in pairwise(levels):
        x = posterior(x, denoise(x, now), now, end)
        yield x


def steps(
    name: SamplerName, denoise: Denoiser, x: Tensor, levels: Sequence[float], churn: float = 0.0
) -> Iterator[Tensor]:
    """x after every step of the sampler `name`."""
    if name == "ddpm":
        return ancestral(denoise, x, levels)
    solver: Solver = "euler" if name == "ddim" else name
    return stochastic(denoise, x, levels, churn, solver) if churn else deterministic(denoise, x, levels, solver)


def complete(denoise: Denoiser, image: Tensor, known: Tensor, levels: Sequence[float], repeats: int) -> Tensor:
    """`image` with new values where `known` (bool, broadcast to it) is False; RePaint (Lugmayr et al. 2022,
    arXiv:2201.09865, Algorithm 1 with jumps of one step).

    At every level the known part is the image plus noise of that level, the rest is a step of DDPM; then noise leads
    back to the level before, `repeats` times in all, so that the two parts come to agree.
    """
    x = levels[0] * torch.randn_like(image)
    for now, end in pairwise(levels):
        for repeat in range(repeats):
            unknown = posterior(x, denoise(x, now), now, end)
            x = torch.where(known, image + end * torch.randn_like(image), unknown)
            if not end:
                break
            if repeat < repeats - 1:
                x = x + sqrt(now**2 - end**2) * torch.randn_like(x)
    return x


def inverse(denoise: Denoiser, x: Tensor, levels: Sequence[float], solver: Solver = "heun") -> Tensor:
    """The noise of level levels[0] that the ODE turns into the images x; `levels` as of `noise_levels`, of which the 0
    is left out: x counts as an image at the lowest level."""
    slope = probability_flow(denoise)
    for now, end in pairwise(reversed(levels[:-1])):
        x = ode_step(slope, x, now, end, solver)
    return x


def log_density(denoise: Denoiser, x: Tensor, low: float, high: float, steps: int, probes: int = 1) -> Tensor:
    """log p(x) in nats, (N,), by the probability-flow ODE; Song et al. 2021, arXiv:2011.13456, eq. 39 and 40.

    The change of density is the integral of the divergence of the slope, estimated without bias from `probes` random
    signs (Hutchinson's trace). x counts as an image at level `low`, and at level `high` it is taken to be Gaussian: a
    small bias by both. Heun's method: x in sigma, the density in log(sigma), of which it is a smooth function.
    """
    signs = [torch.randint_like(x, 0, 2) * 2 - 1 for _ in range(probes)]

    def slope_and_divergence(y: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """dx/dsigma, and the divergence of dx/dlog(sigma), (N,)."""
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            dy = y - denoise(y, sigma)
            products = [torch.autograd.grad((dy * s).sum(), y, retain_graph=s is not signs[-1])[0] for s in signs]
        return dy.detach() / sigma, torch.stack([(p * s).flatten(1).sum(1) for p, s in zip(products, signs)]).mean(0)

    levels = [low * (high / low) ** (i / steps) for i in range(steps + 1)]
    change = x.new_zeros(len(x))
    for now, end in pairwise(levels):
        slope, divergence = slope_and_divergence(x, now)
        next_slope, next_divergence = slope_and_divergence(x + (end - now) * slope, end)
        x = x + (end - now) / 2 * (slope + next_slope)
        change = change + log(end / now) / 2 * (divergence + next_divergence)
    prior = -0.5 * (x / high).square().flatten(1).sum(1) - x[0].numel() * (0.5 * log(2 * pi) + log(high))
    return prior + change
