"""Activation maximisation; Simonyan et al. 2013, arXiv:1312.6034, section 2.

In pixel space the result looks like noise, with an L1 penalty like strokes, with the total variation as penalty smooth;
in the latent space of a generator (Nguyen et al. 2016, arXiv:1605.09304) it is a natural image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.core.modes import evaluating
from genlab.explain.gradients import Model, class_output
from genlab.latent.edit import Map, descend


def total_variation(x: Tensor) -> Tensor:
    """The sum of squared differences of neighbouring pixels of images (N, C, H, W): (N,)."""
    down, right = x.diff(dim=2), x.diff(dim=3)
    return down.square().sum((1, 2, 3)) + right.square().sum((1, 2, 3))


def maximise(
    model: Model,
    y: Tensor,
    start: Tensor,
    l1: float | Tensor = 0.0,
    smooth: float | Tensor = 0.0,
    steps: int = 200,
    lr: float = 0.05,
) -> Tensor:
    """argmax_x logit_y(x) - l1 |x|_1 - smooth TV(x) by projected Adam from `start` (N, C, H, W) in [0, 1]; images of
    that shape. l1, smooth: weights of the penalties, of all images or (N,) of each."""
    with evaluating(model), torch.enable_grad():
        x = start.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([x], lr)
        for _ in range(steps):
            optimizer.zero_grad()
            penalty = (l1 * x.sum((1, 2, 3)) + smooth * total_variation(x)).sum()
            (penalty - class_output(model(x), y).sum()).backward(inputs=[x])
            optimizer.step()
            with torch.no_grad():
                x.clamp_(0, 1)
    return x.detach()


def maximise_through(
    model: Model, y: Tensor, generator: Map, start: Tensor, prior: float = 1.0, steps: int = 200, lr: float = 0.05
) -> Tensor:
    """G(z) for argmax_z logit_y(G(z)) - prior |z|^2 / latent, from `start` (N, latent): images (N, C, H, W)."""
    with evaluating(model, generator):
        z = descend(lambda z: prior * z.square().mean(1) - class_output(model(generator(z)), y), start, steps, lr)
        with torch.no_grad():
            return generator(z)
