"""Losses and penalties shared by several methods; plain functions of tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import softplus


@dataclass(frozen=True)
class Objective:
    """A game between discriminator and generator, as two losses to minimise.

    discriminator: (scores of real images (N,), scores of fakes (N,)) -> scalar
    generator: scores of fakes (N,) -> scalar
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def cross_entropy_of_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))) with D = sigmoid(score)."""
    return softplus(-real).mean() + softplus(fake).mean()


OBJECTIVES: dict[str, Objective] = {
    # Goodfellow et al. 2014, arXiv:1406.2661: eq. 1, and the generator's loss that section 3 puts in its place
    "minimax": Objective(cross_entropy_of_discriminator, lambda fake: -softplus(fake).mean()),
    "nonsaturating": Objective(cross_entropy_of_discriminator, lambda fake: softplus(-fake).mean()),
}
