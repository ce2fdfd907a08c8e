"""The picture that a class likes best; Simonyan et al. 2013, arXiv:1312.6034, section 2.

Pixel by pixel it is static, with a price on every bright pixel (L1) some strokes, and through a generator (Nguyen et
al. 2016, arXiv:1605.09304) a natural image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.core.modes import evaluating
from genlab.explain.gradients import Model, spoken
from genlab.latent.edit import Map, descend


def maximise(model: Model, y: Tensor, start: Tensor, l1: float = 0.0, steps: int = 200, lr: float = 0.05) -> Tensor:
    """argmax_x logit_y(x) - l1 |x|_1 by Adam from `start` (N, C, H, W), kept in [0, 1], where |x|_1 is the sum."""
    with evaluating(model), torch.enable_grad():
        x = start.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([x], lr)
        for _ in range(steps):
            optimizer.zero_grad()
            (l1 * x.sum() - spoken(model(x), y).sum()).backward(inputs=[x])
            optimizer.step()
            with torch.no_grad():
                x.clamp_(0, 1)
    return x.detach()


def maximise_through(
    model: Model, y: Tensor, generator: Map, start: Tensor, prior: float = 1.0, steps: int = 200, lr: float = 0.05
) -> Tensor:
    """G(z) for argmax_z logit_y(G(z)) - prior |z|^2 / latent, from `start` (N, latent): images (N, C, H, W)."""
    with evaluating(model, generator):
        z = descend(lambda z: prior * z.square().mean(1) - spoken(model(generator(z)), y), start, steps, lr)
        with torch.no_grad():
            return generator(z)
