"""Training of universal perturbations by `genlab.fit`.

The attacked model is not part of the method: its weights are neither updated nor moved nor saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from attacks.core.ball import Ball, Linf
from attacks.core.goal import is_adversarial, margin
from attacks.core.model import Model, Victim, finite, victim
from genlab.data import Images, Stream
from genlab.data.seeds import generator
from genlab.training.loop import fit
from genlab.training.method import BatchStream, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class Delta(nn.Module):
    """A perturbation (C, H, W) as a parameter, initialised at random in the ball; independent of x."""

    def __init__(self, ball: Ball, shape: tuple[int, ...], seed: int) -> None:
        super().__init__()
        noise = torch.rand(shape, generator=generator("delta", seed)) * 2 - 1
        self.delta = nn.Parameter(ball.project(noise[None] * ball.eps)[0])
        self.unit = (
            ball.eps if isinstance(ball, Linf) else ball.eps / max(1, noise.numel()) ** 0.5
        )  # of one pixel, scale of the learning rate

    def forward(self, x: Tensor, ball: Ball) -> Tensor:
        return self.delta[None]

    @torch.no_grad()
    def updated(self, ball: Ball) -> None:
        self.delta.copy_(ball.project(self.delta[None])[0])


class PerturbationGenerator(nn.Module):
    """x (N, C, H, W) -> perturbations (N, C, H, W) in the ball: convolutions at full and half resolution, normalised.

    The output is normalised to nearly the size of the ball, so that the loss has a gradient from the start. Examples
    are independent (no batch normalisation). `pattern` (1, C, H, W): the fixed input for a universal perturbation.
    """

    unit = 1.0
    pattern: Tensor

    def __init__(self, shape: tuple[int, int, int], width: int, per_image: bool, seed: int) -> None:
        super().__init__()
        channels, self.per_image = shape[0], per_image
        self.register_buffer("pattern", torch.rand(1, *shape, generator=generator("pattern", seed)))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.enter = nn.Conv2d(channels, width, 3, padding=1)
            self.down = nn.Conv2d(width, 2 * width, 3, 2, 1)
            self.body = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
            self.up = nn.Conv2d(2 * width, width, 3, padding=1)
            self.leave = nn.Conv2d(width, channels, 3, padding=1)

    @property
    def device(self) -> torch.device:
        return self.pattern.device

    def forward(self, x: Tensor, ball: Ball) -> Tensor:
        h = self.enter(x - 0.5).relu()
        low = self.body(self.down(h).relu()).relu()
        h = h + self.up(interpolate(low, h.shape[2:])).relu()
        h = self.leave(h)
        h = h / h.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)
        return (2 * h).tanh() * ball.eps if isinstance(ball, Linf) else ball.unit(h) * ball.eps

    def updated(self, ball: Ball) -> None:
        """No projection is needed: the outputs lie in the ball."""


class PerturbationTraining(Method):
    """Trains `net`, images -> perturbations, to maximise a loss of the victim, clipped at `limit` per image."""

    def __init__(
        self, net: Delta | PerturbationGenerator, f: Victim, ball: Ball, lr: float, limit: float, loss: Loss
    ) -> None:
        super().__init__()
        self.net, self.f, self.ball, self.lr, self.limit, self.loss = net, f, ball, lr * net.unit, limit, loss

    def optimizers(self):
        return {"perturbation": adam(self.net, lr=self.lr)}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        shown = x if getattr(self.net, "per_image", True) else self.net.pattern
        seen = (x + self.net(shown, self.ball)).clamp(0, 1)
        seen.register_hook(finite)
        logits = self.f(seen)
        loss = -self.loss(logits, y).clamp_max(self.limit).nan_to_num(0.0).mean()  # NaN logits give no gradient
        update("perturbation", loss)
        self.net.updated(self.ball)
        return {"loss": loss, "fooled": is_adversarial(logits, y).float().mean()}


Loss = Callable[[Tensor, Tensor], Tensor]  # logits (N, K), labels (N,) -> objective (N,), to be maximised


def negative_margin(logits: Tensor, y: Tensor) -> Tensor:
    """The largest wrong logit minus the logit of y; unlike cross-entropy, its gradient does not vanish."""
    return -margin(logits, y)


def target_margin(target: int) -> Loss:
    """The logit margin of `target`; infinite, so without gradient, for images of class `target`."""
    return lambda logits, y: margin(logits, torch.full_like(y, target)).masked_fill(y == target, math.inf)


def smoothed_error(logits: Tensor, y: Tensor) -> Tensor:
    """Smoothed 0-1 loss (N,) in [0, 1]: 1 where y is misclassified, 0 where it is predicted.

    A sigmoid of the margin, with a gradient within about half a logit of the boundary.
    """
    return (12 * negative_margin(logits, y)).sigmoid()


def train_perturbation(
    net: Delta | PerturbationGenerator, model: Model, data: Images, ball: Ball, options: TrainOptions, **how: Any
) -> None:
    """Trains `net` in place by `PerturbationTraining`, with its settings `how`; the model is left unchanged.

    Images of classes that the model does not have are left out. Raises ValueError if no image is left, or if the model
    gives no gradient.
    """
    start = data.subset(slice(0, 1))
    with victim(model, start.x, torch.zeros_like(start.labels)) as f:
        classes = f(start.x.requires_grad_()).shape[1]
        known = (data.labels < classes).nonzero().squeeze(1)
        if len(known) == 0:
            raise ValueError(f"the model has {classes} classes, and no training image is of one of them.")
        data = data if len(known) == len(data) else data.subset(known)
        stream = Stream(data, options.batch, seed=options.seed)
        fit(PerturbationTraining(net, f, ball, **how), stream, options, title="universal perturbation")
