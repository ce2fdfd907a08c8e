"""Image editing in the latent space of a trained generator: GAN inversion, attribute vectors, constrained edits.

Gradient-based inversion and the objective of an edit follow Zhu et al. 2016, arXiv:1609.03552, sections 3.1 and 3.2.
Departures: Adam with a cosine schedule instead of L-BFGS; the default distance is that of pixels. Networks are used in
eval mode and not trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Adam

from genlab.core.modes import evaluating

Map = Callable[[Tensor], Tensor]
Distance = Callable[[Tensor, Tensor], Tensor]


def descend(cost: Map, z: Tensor, steps: int, lr: float) -> Tensor:
    """Minimises cost: z -> (N,), independently for each row of z (N, latent), by Adam with a cosine schedule."""
    if z.ndim != 2:
        raise ValueError(f"latents are (N, latent), got {tuple(z.shape)}")
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}")
    with torch.enable_grad():
        z = z.detach().clone().requires_grad_()
        optimizer = Adam([z], lr)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
            optimizer.zero_grad()
            cost(z).sum().backward(inputs=[z])
            optimizer.step()
    return z.detach()


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean over pixels of (a - b)^2, (N,)."""
    return (a - b).square().flatten(1).mean(1)


def invert(
    generator: Map,
    x: Tensor,
    start: Tensor,
    *,
    steps: int = 300,
    lr: float = 0.1,
    distance: Distance = squared_error,
    prior: float = 0.0,
) -> Tensor:
    """GAN inversion: argmin_z distance(G(z), x) + prior |z|^2 / latent for images x (N, C, H, W); latents (N, latent).

    Args:
        generator: z -> x in [0, 1].
        start: initial latents (N, latent), random or of an encoder.
        steps: of Adam; 0: returns `start`.
        lr: initial learning rate.
        distance: two image batches -> (N,), for example between features.
        prior: weight of the Gaussian prior of z.

    Raises:
        ValueError: not one initial latent per image.
    """
    if len(start) != len(x):
        raise ValueError(f"{len(x)} images need as many latents to start from, got {len(start)}")
    with evaluating(generator):
        return descend(lambda z: distance(generator(z), x) + prior * z.square().mean(1), start, steps, lr)


def attribute_vector(having: Tensor, lacking: Tensor) -> Tensor:
    """The mean code of images with an attribute (N, latent) minus that of images without (M, latent): (latent,)."""
    if not len(having) or not len(lacking):
        raise ValueError(f"an attribute needs images with and without it, got {len(having)} and {len(lacking)}")
    return having.mean(0) - lacking.mean(0)


def masked_error(wish: Tensor, mask: Tensor) -> Map:
    """The constraint U: x -> (N,), mean squared error against `wish` where `mask`; both of x's shape or (C, H, W)."""
    return lambda x: ((x - wish).square() * mask).flatten(1).sum(1) / mask.expand_as(x).flatten(1).sum(1).clamp(min=1)


def edit(
    generator: Map,
    realism: Map | None,
    constraint: Map,
    z0: Tensor,
    *,
    near: float = 0.03,
    real: float = 0.02,
    steps: int = 200,
    lr: float = 0.05,
) -> Tensor:
    """argmin_z U(G(z)) + near |z - z0|^2 - real D(G(z)), row by row, from z0 (N, latent); U is `constraint`.

    Args:
        realism: D, x -> (N,), a discriminator's logit; none: without this term.
        constraint: U, x -> (N,), the loss of the edit.
        near, real: weights of the distance from z0 and of realism.
        steps, lr: of Adam.
    """

    def cost(z: Tensor) -> Tensor:
        x = generator(z)
        wanted = constraint(x) + near * (z - z0).square().sum(1)
        return wanted - real * realism(x) if realism is not None and real else wanted

    with evaluating(generator, realism):
        return descend(cost, z0, steps, lr)
