"""Random-noise baseline: noise of the largest size that the ball allows, independent of the model.

An attack whose success rate is not above that of this baseline is not effective.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from attacks.core.ball import Ball
from attacks.core.model import Attack, Victim
from genlab.core.ranges import Seed


@dataclass(frozen=True)
class RandomNoise(Attack):
    """x plus random noise on the surface of the ball (L-infinity: random signs times eps); no queries, no gradients."""

    ball: Ball
    seed: Seed = 0

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        return x + self.ball.surface(x, self.seed)
