"""Exponential moving average (EMA) of a method's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from genlab.training.method import Method


class EMA(nn.Module):
    """Exponential moving average of a Method's parameters; buffers are copied from the method.

    The half-life is in images, so it does not depend on the batch size. It is limited to 1/20 of the images seen so far
    (the ramp-up in the code of Karras et al. 2022, arXiv:2206.00364), so that the initial weights are forgotten.
    """

    def __init__(self, method: Method, half_life: float):
        super().__init__()
        self.method, self.half_life = copy.deepcopy(method).eval().requires_grad_(False), half_life

    @torch.no_grad()
    def track(self, method: Method, images: int, seen: int) -> None:
        """Updates the average after a step of `method` on `images` images; `seen`: images so far."""
        beta = 0.5 ** (images / min(self.half_life, seen / 20))
        torch._foreach_lerp_(list(self.method.parameters()), list(method.parameters()), 1 - beta)

    @torch.no_grad()
    def current(self, method: Method) -> Method:
        """The averaged method, with the current buffers of `method`."""
        for mean, buffer in zip(self.method.buffers(), method.buffers()):
            mean.copy_(buffer)
        return self.method
