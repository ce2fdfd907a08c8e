"""An attack on the explanation: the map moves, the answer stays; Ghorbani, Abid, Zou 2019, arXiv:1710.10547.

Algorithm 1: the pixels that a saliency map holds for the most important ones are made unimportant (the paper's top-k
attack) within a ball, while the model goes on naming the same class. The slope of a ReLU network is constant in pieces,
so its own slope is taken with softplus in place of ReLU (the paper's section 2); what counts is the map of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from attacks.core.ball import Ball
from attacks.core.goal import is_adversarial
from attacks.core.model import Attack, Model, Victim
from genlab.core.ranges import Positive, Range, Steps, Weight
from genlab.explain.gradients import saliency
from genlab.explain.measure import top_pixels


@contextmanager
def smooth(model: Model, beta: float) -> Iterator[None]:
    """Every nn.ReLU of the model is softplus(beta x) / beta meanwhile: its slope has slopes."""
    layers = [m for m in model.modules() if isinstance(m, nn.ReLU)] if isinstance(model, nn.Module) else []
    try:
        for layer in layers:
            setattr(layer, "forward", lambda x: softplus(x, beta))  # noqa: B010  # a method, to the type checker
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own is seen again


@dataclass(frozen=True)
class ExplanationAttack(Attack):
    """Images whose saliency map is another one, though the model answers as before; y is not read.

    What is returned was classified as x was; an image for which no step keeps that is returned as it came.
    """

    ball: Ball
    steps: Steps = 100
    step_size: Positive | None = None
    """none: four times eps over the number of steps"""
    share: Annotated[float, Range(0, 1, above=True)] = 0.1
    """of the pixels, those that are to lose their importance"""
    keep: Weight = 0.1
    """weight of the cross-entropy of the model's own answer, beside the share of the map, in [0, 1]"""
    beta: Positive = 10.0
    """sharpness of the softplus"""

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        answer = f.query(x).argmax(1)
        top = top_pixels(saliency(f, x, answer), self.share)
        size = 4 * self.ball.eps / self.steps if self.step_size is None else self.step_size
        adv, best, least = x.clone(), x.clone(), x.new_full((len(x),), torch.inf)
        for _ in range(self.steps):
            point = adv.requires_grad_()
            with smooth(f.model, self.beta):
                logits = f(point)
                spoken = logits.gather(1, answer[:, None]).sum()
                (slope,) = torch.autograd.grad(spoken, point, create_graph=True)
                stays = cross_entropy(logits, answer, reduction="none")
                cost = self._important(slope.abs().sum(1), top) + self.keep * stays
                down = self.ball.steepest(-f.gradient(cost.sum(), point))
            adv = (x + self.ball.project(adv.detach() + size * down - x)).clamp(0, 1)
            left = self._important(saliency(f, adv, answer), top)
            better = is_adversarial(f.query(adv), answer, targeted=True) & (left < least)
            best[better], least[better] = adv[better], left[better]
        return best

    @staticmethod
    def _important(maps: Tensor, top: Tensor) -> Tensor:
        """(N,): the part of a map (N, H, W) that lies on the pixels `top`."""
        return (maps * top).flatten(1).sum(1) / maps.flatten(1).sum(1).clamp_min(torch.finfo(maps.dtype).tiny)
