"""A discriminator trained against fakes that never change: the inner maximisation of a GAN, brought to its end.

What it reaches is a divergence between the two sets: with the cross-entropy -V of Goodfellow et al. 2014
(arXiv:1406.2661, theorem 1) log 2 + V / 2 tends to the Jensen-Shannon divergence, from below.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from genlab.data.points import Points
from genlab.methods.gan.losses import OBJECTIVES, Objective
from genlab.training.method import Method, Metrics, Stream
from genlab.training.optim import adam
from genlab.training.update import Update


class DiscriminatorOnly(Method):
    """discriminator: x (N, D) -> (N,), a score; `fakes`: what a finished generator would have made."""

    def __init__(
        self,
        discriminator: nn.Module,
        fakes: Points,
        objective: Objective = OBJECTIVES["minimax"],
        lr: float = 5e-3,
    ):
        super().__init__()
        self.discriminator, self.fakes, self.objective, self.lr = discriminator, fakes, objective, lr

    def optimizers(self):
        return {"discriminator": adam(self.discriminator, lr=self.lr)}

    def step(self, data: Stream, update: Update) -> Metrics:
        real, _ = next(data)
        fake, _ = self.fakes.gather(torch.randint(len(self.fakes), (len(real),), device=real.device))
        loss = self.objective.discriminator(self.discriminator(real), self.discriminator(fake))
        update("discriminator", loss)
        return {"discriminator": loss}

    @torch.no_grad()
    def evaluate(self, data: Any) -> dict[str, float]:
        """On held-out Points `data` and all fakes: the loss, and the JSD in nats, if the loss is a cross-entropy."""
        loss = self.objective.discriminator(self.discriminator(data.x), self.discriminator(self.fakes.x)).item()
        return {"discriminator": loss, "js": math.log(2) - loss / 2}

    def force(self, fake: Tensor, objective: Objective) -> float:
        """How hard the generator's loss of `objective` pushes one of the fakes (N, D): mean |gradient|, times N."""
        x = fake.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(objective.generator(self.discriminator(x)), x)
        return gradient.flatten(1).norm(dim=1).sum().item()
