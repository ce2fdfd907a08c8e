"""An attack that transfers to unseen models: momentum, diverse inputs and translation-invariant gradients.

Momentum: Dong et al. 2018, arXiv:1710.06081. Diverse inputs: Xie et al. 2019, arXiv:1803.06978, section 3.3: with
probability `diversity`, the gradient is taken at a copy of random size and place. Translation invariance: Dong et al.
2019, arXiv:1904.02884, equation 7: the gradient is smoothed by a Gaussian of sigma = k / sqrt(3) pixels, 2 k + 1 wide.
Each can be turned off (momentum=0, diversity=0, kernel=1); with all off this is I-FGSM.

Departures. (1) Copies are shrunk, not enlarged, so that they fit models of fixed input size, and each example has its
own size. (2) `kernel` None scales with the image: the paper's 15 pixels at 299. (3) No early stopping: examples that
fool the source model are optimised further, since another model is the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from attacks.core import random as noise
from attacks.core.ball import Ball, scale
from attacks.core.goal import cross_entropy, select
from attacks.core.model import Attack, Victim
from attacks.views import PARAMETERS, Views
from genlab.core.ranges import Positive, Range, Seed, Share, Steps


def gaussian(kernel: int) -> Tensor:
    """(kernel, kernel), sum 1, sigma = k / sqrt(3) for kernel = 2 k + 1."""
    k = kernel // 2
    line = torch.exp(-((torch.arange(-k, k + 1) ** 2) * 3 / (2 * max(1, k) ** 2)))
    return torch.outer(line, line) / line.sum() ** 2


@dataclass(frozen=True)
class Transferable(Attack):
    """x (N, C, H, W): x <- project(x + step_size * steepest(momentum of smoothed gradients at resized copies)).

    step_size: None: eps / steps. momentum: decay factor mu of MI-FGSM. diversity: probability of a resized copy.
    shrink: smallest size of a copy, relative to the image. kernel: odd width of the Gaussian in pixels. Raises
    ValueError if x is not (N, C, H, W).
    """

    ball: Ball
    steps: Steps = 10
    step_size: Positive | None = None
    momentum: Share = 1.0
    diversity: Share = 0.5
    shrink: Annotated[float, Range(0.01, 1)] = 0.8
    kernel: Annotated[int, Range(1, 99, odd=True)] | None = None
    targeted: bool = False
    seed: Seed = 0

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        if x.ndim != 4:
            raise ValueError(f"Transferable takes images (N, C, H, W), got shape {tuple(x.shape)}.")
        size = self.ball.eps / self.steps if self.step_size is None else self.step_size
        width = self.kernel or 2 * max(1, round(min(x.shape[2:]) / 40)) + 1
        blur = gaussian(width).to(x).expand(x.shape[1], 1, -1, -1)
        key, adv, velocity = noise.key(x, self.seed), x.clone(), torch.zeros_like(x)
        for step in range(self.steps):
            adv.requires_grad_()
            loss = cross_entropy(f(self.varied(adv, key, step)), y).sum()
            grad = f.gradient(-loss if self.targeted else loss, adv)
            if width > 1:
                grad = conv2d(pad(grad, [width // 2] * 4), blur, groups=x.shape[1])
            length = torch.linalg.vector_norm(grad.flatten(1), 1, dim=1)
            velocity = self.momentum * velocity + scale(grad, torch.where(length > 0, 1 / length, 0))
            adv = adv.detach()
            adv = self.ball.within(x, adv - x + self.ball.step(adv, velocity, size))
        return adv

    def varied(self, x: Tensor, key: Tensor, step: int) -> Tensor:
        """x (N, C, H, W), where a random subset of the examples is shrunk and placed on a black background."""
        if self.diversity == 0:
            return x
        u = noise.uniform(key, (PARAMETERS + 1,), step)
        copies = Views(0.0, (self.shrink, 1.0), 1.0, 0.0).render(x, u[:, :PARAMETERS], (x.shape[2], x.shape[3]))
        return select(u[:, PARAMETERS] < self.diversity, copies, x)
