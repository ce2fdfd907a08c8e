"""Attack on Defense-GAN: adversarial examples on the manifold of the purifier's generator.

Athalye, Carlini, Wagner 2018, arXiv:1802.00420, section 5.4.2: images that the generator can produce are not changed by
the purifier. Departure: the paper measures the distance of the nearest such image; here it must lie in a ball.
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
class LatentAttack(Attack):
    """min_z max(0, confidence + margin of classifier(G(z))) + weight * squared L2 distance of G(z) from the ball at x.

    x (N, C, H, W) of the generator's image size. One optimisation of `steps` steps starts at each latent to which the
    purifier inverts x (one per restart); G(z) is projected into the ball and classified by the attacked model, and the
    best result is kept.

    purifier, classifier: the parts of the attacked model. confidence: logit margin to be reached. weight: in logits per
    squared pixel.
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
