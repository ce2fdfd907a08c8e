"""A discriminator trained against a fixed set of fakes: the inner maximisation of a GAN, brought to its end.

With the cross-entropy -V of Goodfellow et al. 2014 (arXiv:1406.2661, theorem 1) log 2 + V / 2 tends to the
Jensen-Shannon divergence of the two sets, from below.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from genlab.data.points import Points
from genlab.methods.gan.losses import OBJECTIVES, Objective, cross_entropy_of_discriminator
from genlab.training.method import BatchStream, Method, Metrics
from genlab.training.optim import adam
from genlab.training.update import Update

LR = 5e-3  # of Adam


class DiscriminatorOnly(Method):
    """discriminator: x (N, D) -> (N,), a score (by default a logit); `fakes`: samples of a generator that does not
    learn; `objective`: what the discriminator minimises."""

    def __init__(self, discriminator: nn.Module, fakes: Points, objective: Objective = OBJECTIVES["minimax"]):
        super().__init__()
        self.discriminator, self.fakes, self.objective = discriminator, fakes, objective

    def optimizers(self):
        return {"discriminator": adam(self.discriminator, lr=LR)}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        real, _ = next(data)
        fake, _ = self.fakes.gather(torch.randint(len(self.fakes), (len(real),), device=real.device))
        loss = self.objective.discriminator(self.discriminator(real), self.discriminator(fake))
        update("discriminator", loss)
        return {"discriminator": loss}

    @torch.no_grad()
    def evaluate(self, data: Any) -> dict[str, float]:
        """On held-out Points `data` and all fakes: the cross-entropy of the scores as logits, and the Jensen-Shannon
        divergence that it implies, in nats."""
        loss = cross_entropy_of_discriminator(self.discriminator(data.x), self.discriminator(self.fakes.x)).item()
        return {"discriminator": loss, "js": math.log(2) - loss / 2}

    def gradient_norm(self, fake: Tensor, objective: Objective | None = None) -> float:
        """The mean norm of the gradient that a generator's loss has at each of the fakes (N, D): that of `objective`,
        by default the discriminator's own."""
        objective = objective or self.objective
        x = fake.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(len(x) * objective.generator(self.discriminator(x)), x)  # a mean of N terms
        return gradient.flatten(1).norm(dim=1).mean().item()


def climb(
    score: Callable[[Tensor], Tensor], x: Tensor, steps: int, length: float, box: tuple[float, float] | None = None
) -> Tensor:
    """The points that `steps` steps up the gradient of score, (N, D) -> (N,), reach from x (N, D), inside the box.

    A step is `length` long at first and shrinks linearly to zero; where the gradient vanishes, a point stays. box: the
    least and the largest coordinate; none: no bounds.
    """
    for k in range(steps):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(x).sum(), x)
        x = x + length * (1 - k / steps) * normalize(gradient, dim=1)
        x = x if box is None else x.clamp(*box)
    return x.detach()
