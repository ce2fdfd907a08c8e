"""The discriminator alone generates: it is climbed from noise to what it takes for real, and learns to reject that.

Begin with noise as fakes; train the discriminator to tell real from fake; climb its score from noise; where the climbs
end are new fakes, beside the earlier ones. Tu 2007; Lazarow et al. 2017, arXiv:1704.07820. Every sample costs a climb;
a generator learns to reach the top in one pass. Of images: `genlab train energy-model`, which keeps its climbers from
one step of training to the next.

python recipes/discriminator_generates.py                            # points in the plane, a minute
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Positive, Repeats, Seed, Steps
from genlab.data import points
from genlab.nets.mlp import MLPCritic
from genlab.reporting.finish import finish, records
from genlab.theory.discriminator_only import DiscriminatorOnly, climb
from genlab.theory.plane import probability, scenes, train_points

EXTENT = 3.0  # of the square in which climbs begin
SHOWN = 6  # rounds in the picture


@dataclass(frozen=True)
class Config:
    """Generates points of a ring of 8 Gaussians by climbing the score of a discriminator."""

    rounds: Repeats = 20
    """trainings of the discriminator, each followed by climbs"""
    steps: Steps = 100
    """batches in every round"""
    batch: Count = 256
    """real points per batch, and fakes"""
    climb: Steps = 100
    """passes of a climb"""
    length: Positive = 0.1
    """the first step of a climb; the others are ever shorter"""
    n: Count = 1000
    """climbs in every round"""
    seed: Seed = 0
    """of the network and the noise"""
    out: Path = Path("runs/discriminator-generates")
    """folder of the report"""


def main(config: Config) -> None:
    torch.manual_seed(config.seed)
    real, net = points.ring(spread=0.1), MLPCritic(width=128)
    fakes = noise(config.n)
    shown, scores, rows = {}, {}, []
    for i in range(1, config.rounds + 1):
        judge = DiscriminatorOnly(net, points.without_modes(fakes, "fakes"))
        train_points(judge, real, config.steps, config.batch, config.seed + i, title=f"round {i}")
        reached = climb(net, noise(config.n), config.climb, config.length)
        found = real.coverage(reached)
        rows.append((i, found.modes, found.quality))
        if i in {1 + round(k * (config.rounds - 1) / (SHOWN - 1)) for k in range(SHOWN)}:
            shown["D(x), fakes", f"round {i}"] = reached[:300]
            scores["D(x), fakes", f"round {i}"] = probability(deepcopy(judge))
        fakes = torch.cat([fakes, reached])

    header = ["round", "modes", "share within 3 std"]
    page = genlab.Report("A discriminator that generates")
    page.text(
        f"After {config.rounds} rounds the climbs end at {rows[-1][1]} of the {len(real.centres)} modes, "
        f"{rows[-1][2]:.0%} of them within three standard deviations; after the first, at {rows[0][1]}. Orange: "
        "the discriminator says real; purple: fake; pink: where the climbs end, the fakes of the next round."
    )
    page.picture(scenes(real.x[:300], shown, extent=EXTENT, scores=scores))
    page.text(f"Every point cost {config.climb} passes forward and backward; one of a generator costs one forward.")
    page.table(header, rows)
    finish(config.out, page, records(header, rows))


def noise(n: int) -> Tensor:
    """Points (n, 2), uniform on the square."""
    return EXTENT * (2 * torch.rand(n, 2) - 1)


if __name__ == "__main__":
    start(main, Config)
