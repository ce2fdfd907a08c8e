"""Adversarial images among those that a generator draws, against a purifier that draws its inputs again (Defense-GAN).

Athalye, Carlini, Wagner 2018, arXiv:1802.00420, section 5.4.2: what the generator can draw, the purifier leaves as it
is. Departure: the paper measures how far the nearest such image is; here it has to be inside a ball.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from torch import Tensor

from attacks.core.ball import Ball
from attacks.core.goal import Best, is_adversarial, margin
from attacks.core.model import Attack, Model, Victim, victim
from attacks.defences.purify import DefenseGAN
from genlab.core.modes import evaluating
from genlab.core.ranges import Range, Weight
from genlab.latent.edit import descend, invert


@dataclass(frozen=True)
class Latent(Attack):
    """argmin_z max(0, confidence + margin of classifier(G(z))) + weight |what of G(z) - x is outside the ball|^2.

    From every point where the purifier's own descents from x end, for `steps` steps; every G(z), brought into the ball,
    is shown to the model, and the best is kept: x (N, C, H, W) of the generator's size in [0, 1] -> the same.

    purifier, classifier: those that the attacked model is made of. confidence: lead in logits to be reached. weight: in
    logits per squared pixel outside the ball.
    """

    ball: Ball
    purifier: DefenseGAN = field(repr=False)
    classifier: Model = field(repr=False)
    steps: Annotated[int, Range(0, 10**6)] = 200
    weight: Weight = 10.0
    confidence: Weight = 1.0

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        draw, starts, lr, best = self.purifier.generator, self.purifier.starts, self.purifier.lr, Best(x)

        def inside(image: Tensor) -> Tensor:
            return (x + self.ball.project(image - x)).clamp(0, 1)

        def cost(z: Tensor) -> Tensor:
            image = draw(z)
            outside = (image - inside(image)).square().flatten(1).sum(1)
            return (margin(inner(image), y) + self.confidence).clamp_min(0) + self.weight * outside

        with evaluating(draw), victim(self.classifier, x, y) as inner:
            for start in starts:
                z = invert(draw, x, start.to(x.device).expand(len(x), -1), steps=self.purifier.steps, lr=lr)
                found = inside(draw(descend(cost, z, self.steps, lr))).detach()
                logits = f.query(found)
                best.offer(slice(None), found, is_adversarial(logits, y), -margin(logits, y))
        return best.x
