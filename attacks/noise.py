"""The control of every experiment: noise as large as an attack may use, drawn without a look at the model.

An attack that does no better than this has found nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from attacks.core.ball import Ball
from attacks.core.model import Attack, Victim
from genlab.core.ranges import Seed


@dataclass(frozen=True)
class Noise(Attack):
    """x plus random noise on the surface of the ball (L-infinity: random signs times eps); no query, no gradient."""

    ball: Ball
    seed: Seed = 0

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        return x + self.ball.surface(x, self.seed)
