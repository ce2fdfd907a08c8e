"""Attack on an explanation: changes the saliency map, not the prediction; Ghorbani, Abid, Zou 2019, arXiv:1710.10547.

Algorithm 1, top-k attack: the most important pixels of the saliency map are made unimportant within a ball, while the
predicted class stays the same. The gradient of a ReLU network is piecewise constant, so the gradient of the saliency
map is computed with softplus in place of ReLU (section 2); success is measured on the saliency map of the model itself.
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
def relu_as_softplus(model: Model, beta: float) -> Iterator[None]:
    """Inside the context every nn.ReLU of the model computes softplus(beta x) / beta, which has second derivatives."""
    layers = [m for m in model.modules() if isinstance(m, nn.ReLU)] if isinstance(model, nn.Module) else []
    try:
        for layer in layers:
            setattr(layer, "forward", lambda x: softplus(x, beta))  # noqa: B010  # a method, to the type checker
        yield
    finally:
        for layer in layers:
            del layer.forward  # restores the method of the class


@dataclass(frozen=True)
class ExplanationAttack(Attack):
    """Lowers the share of the saliency map on the originally most important pixels; y is not used.

    Results are classified as x; an image for which no step keeps the predicted class is returned unchanged.
    """

    ball: Ball
    steps: Steps = 100
    step_size: Positive | None = None
    """in the norm of the ball; None: 4 * eps / steps"""
    share: Annotated[float, Range(0, 1, above=True)] = 0.1
    """fraction of the pixels, the most important ones, that are attacked (k of the paper over the number of pixels)"""
    keep: Weight = 0.1
    """weight of the cross-entropy of the predicted class, beside the share of the map, which is in [0, 1]"""
    beta: Positive = 10.0
    """sharpness of the softplus"""

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        predicted = f.query(x).argmax(1)
        top = top_pixels(saliency(f, x, predicted), self.share)
        size = 4 * self.ball.eps / self.steps if self.step_size is None else self.step_size
        adv, best, least = x.clone(), x.clone(), x.new_full((len(x),), torch.inf)
        for _ in range(self.steps):
            point = adv.requires_grad_()
            with relu_as_softplus(f.model, self.beta):
                logits = f(point)
                score = logits.gather(1, predicted[:, None]).sum()
                (grad,) = torch.autograd.grad(score, point, create_graph=True)
                loss = cross_entropy(logits, predicted, reduction="none")
                cost = self._share_on(grad.abs().sum(1), top) + self.keep * loss
                down = self.ball.steepest(-f.gradient(cost.sum(), point))
            adv = self.ball.within(x, adv.detach() + size * down - x)
            share = self._share_on(saliency(f, adv, predicted), top)
            better = is_adversarial(f.query(adv), predicted, targeted=True) & (share < least)
            best[better], least[better] = adv[better], share[better]
        return best

    @staticmethod
    def _share_on(maps: Tensor, top: Tensor) -> Tensor:
        """(N,): the share of a map (N, H, W) that lies on the pixels `top` (N, H, W)."""
        return (maps * top).flatten(1).sum(1) / maps.flatten(1).sum(1).clamp_min(torch.finfo(maps.dtype).tiny)
