"""Exponential moving average (EMA) of a method's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from genlab.training.method import Method


class EMA(nn.Module):
    """Exponential moving average of a Method's parameters; buffers are those of the method.

    The half-life is in images, so batch size does not change it, and never more than a twentieth of the images seen,
    so that the average forgets the random start (the ramp-up of Karras et al. 2022, arXiv:2206.00364, code).
    """

    def __init__(self, method: Method, half_life: float):
        super().__init__()
        self.method, self.half_life = copy.deepcopy(method).eval().requires_grad_(False), half_life

    @torch.no_grad()
    def track(self, method: Method, images: int, seen: int) -> None:
        """Moves towards `method`, which was just trained on `images` images, `seen` in all."""
        beta = 0.5 ** (images / min(self.half_life, seen / 20))
        torch._foreach_lerp_(list(self.method.parameters()), list(method.parameters()), 1 - beta)

    @torch.no_grad()
    def current(self, method: Method) -> Method:
        """The averaged method, with the buffers that `method` has now."""
        for mean, buffer in zip(self.method.buffers(), method.buffers()):
            mean.copy_(buffer)
        return self.method
