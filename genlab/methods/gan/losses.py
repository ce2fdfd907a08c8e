"""Losses and penalties shared by several methods; plain functions of tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu, softplus


@dataclass(frozen=True)
class Objective:
    """An adversarial loss: what the discriminator minimises, and what the generator does.

    discriminator: (scores of real images (N,), scores of fakes (N,)) -> scalar
    generator: scores of fakes (N,) -> scalar; if `pairs`, (scores of fakes, scores of real images) -> scalar
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[..., Tensor]
    pairs: bool = False


def cross_entropy_of_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))) with D = sigmoid(score)."""
    return softplus(-real).mean() + softplus(fake).mean()


@dataclass(frozen=True)
class FDivergence:
    """D_f(P, Q) = E_Q f(p/q), and what estimates it from scores v: the maximum of E_P[g(v)] - E_Q[f*(g(v))].

    generator: f, of the ratio u = p/q > 0
    activation: g, from a score v to the domain of the conjugate
    conjugate: f*(t) = sup_u (u t - f(u))
    conjugate_of_activation: f*(g(v)), simplified so that it stays finite
    """

    generator: Callable[[Tensor], Tensor]
    activation: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]
    conjugate_of_activation: Callable[[Tensor], Tensor]

    def bound(self, real: Tensor, fake: Tensor) -> Tensor:
        """A lower bound of the divergence from scores of draws of P and of Q; eq. 4 and 5 of the paper."""
        return self.activation(real).mean() - self.conjugate_of_activation(fake).mean()

    def objective(self) -> Objective:
        """The generator raises g(v) of its fakes: the remedy of section 3.2 against gradients that vanish early."""
        return Objective(lambda real, fake: -self.bound(real, fake), lambda fake: -self.activation(fake).mean())


# Nowozin et al. 2016, arXiv:1606.00709, tables 1, 2 and 6
DIVERGENCES: dict[str, FDivergence] = {
    "kl": FDivergence(
        lambda u: u * u.log(),
        lambda v: v,
        lambda t: (t - 1).exp(),
        lambda v: (v - 1).exp(),
    ),
    "reverse-kl": FDivergence(
        lambda u: -u.log(),
        lambda v: -(-v).exp(),
        lambda t: -1 - (-t).log(),
        lambda v: v - 1,
    ),
    "pearson": FDivergence(
        lambda u: (u - 1).square(),
        lambda v: v,
        lambda t: t.square() / 4 + t,
        lambda v: v.square() / 4 + v,
    ),
    "hellinger": FDivergence(
        lambda u: (u.sqrt() - 1).square(),
        lambda v: 1 - (-v).exp(),
        lambda t: t / (1 - t),
        lambda v: v.exp() - 1,
    ),
    "js": FDivergence(  # twice the usual Jensen-Shannon divergence
        lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
        lambda v: math.log(2) + logsigmoid(v),
        lambda t: -(2 - t.exp()).log(),
        lambda v: softplus(v) - math.log(2),
    ),
    "f-gan": FDivergence(  # "GAN" of the paper: js - log 4; its discriminator is that of Goodfellow et al.
        lambda u: u * u.log() - (u + 1) * (u + 1).log(),
        logsigmoid,
        lambda t: -(1 - t.exp()).log(),
        softplus,
    ),
}

ObjectiveName = Literal[
    "nonsaturating",
    "minimax",
    "relativistic",
    "lsgan",
    "hinge",
    "kl",
    "reverse-kl",
    "pearson",
    "hellinger",
    "js",
    "f-gan",
]
OBJECTIVES: dict[str, Objective] = {
    # Goodfellow et al. 2014, arXiv:1406.2661: eq. 1, and the generator's loss that section 3 puts in its place
    "minimax": Objective(cross_entropy_of_discriminator, lambda fake: -softplus(fake).mean()),
    "nonsaturating": Objective(cross_entropy_of_discriminator, lambda fake: softplus(-fake).mean()),
    # Jolicoeur-Martineau 2018, arXiv:1807.00734 (RpGAN), as in Huang et al. 2025, arXiv:2501.05441, eq. 2
    "relativistic": Objective(
        lambda real, fake: softplus(fake - real).mean(),
        lambda fake, real: softplus(real - fake).mean(),
        pairs=True,
    ),
    # Mao et al. 2017, arXiv:1611.04076, eq. 9: regression to 1 for real and 0 for fake
    "lsgan": Objective(
        lambda real, fake: ((real - 1).square().mean() + fake.square().mean()) / 2,
        lambda fake: (fake - 1).square().mean() / 2,
    ),
    # Lim & Ye 2017, arXiv:1705.02894, in the form of Miyato et al. 2018, arXiv:1802.05957, eq. 16 and 17
    "hinge": Objective(
        lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
        lambda fake: -fake.mean(),
    ),
    **{name: divergence.objective() for name, divergence in DIVERGENCES.items()},
}


def gradient_norms(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """|gradient of critic|_2, (N,), at one random point on the line from each real image to its fake; in float32."""
    eps = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    x = torch.lerp(fake.detach().float(), real.float(), eps).requires_grad_()
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient.flatten(1).norm(dim=1)


def zero_centred_penalty(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """E |gradient of critic|² / 2 at the images x; in float32. R1 at real images, R2 at fakes (Mescheder et al. 2018,
    arXiv:1801.04406, eq. 9 and 10); if the critic scores packs of images, the mean is over packs."""
    x = x.detach().float().requires_grad_()
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        scores = critic(x)
        (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return gradient.square().sum() / (2 * len(scores))


def gradient_penalty(gradient_norms: Tensor) -> Tensor:
    """E (|grad D| - 1)^2 from the norms |grad D| (N,); Gulrajani et al. 2017, arXiv:1704.00028, eq. 3."""
    return (gradient_norms - 1).square().mean()
