"""The discriminator alone generates: it is climbed from noise to what it takes for real, and learns to reject that.

Begin with noise as fakes; train the discriminator to tell real from fake; climb its score from noise; where the climbs
end are new fakes, beside the earlier ones. Tu 2007; Lazarow et al. 2017, arXiv:1704.07820. In the plane that works. The
tops of an image discriminator are patterns, alike and no digits; an energy-based model, whose climbers bear noise and
go on from one step of training to the next, draws from the whole hill. Every sample costs a climb; a generator learns
to reach the top in one pass.

python recipes/discriminator_generates.py                            # points and scikit-learn's digits, a minute
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, Repeats, Seed, Steps, Width
from genlab.data import points
from genlab.data.points import Points
from genlab.experiment import check_all
from genlab.methods.likelihood.energy_model import EnergyModelConfig
from genlab.metrics.extract import samples
from genlab.nets.dcgan import Discriminator
from genlab.nets.mlp import MLPCritic
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import groups_png
from genlab.theory.discriminator_only import DiscriminatorOnly, climb
from genlab.theory.plane import probability, scenes, train_points

EXTENT = 3.0  # of the square in which climbs begin
SHOWN = 12  # images in a row


@dataclass(frozen=True)
class Config:
    """Generates points and digits by climbing the score of a discriminator."""

    rounds: Repeats = 12
    """trainings of the discriminator, each followed by climbs"""
    steps: Steps = 60
    """batches in every round"""
    batch: Count = 128
    """real examples per batch, and fakes"""
    climb: Steps = 60
    """passes of a climb"""
    n: Count = 500
    """climbs in every round"""
    width: Width = 16
    """channels of the image discriminators at the finest level"""
    images: Length = 30_000
    """length of the training of the energy-based model"""
    seed: Seed = 0
    """of networks and noise"""
    out: Path = Path("runs/discriminator-generates")
    """folder of the run and the report"""


def main(config: Config) -> None:
    energy = genlab.Experiment(
        EnergyModelConfig(width=config.width), images=config.images, seed=config.seed, batch=32, half_life=2000
    )
    check_all([energy])
    torch.manual_seed(config.seed)
    shown = sorted({1, (1 + config.rounds) // 2, config.rounds})
    page = genlab.Report("A discriminator that generates")
    results = {"points": plane(page, shown, config)}
    digits(page, shown, energy, config)
    finish(config.out, page, results)


def plane(page: genlab.Report, shown: list[int], config: Config) -> list[dict[str, float]]:
    """The ring of 8 Gaussians: what the discriminator thinks, and where climbs end."""
    ring = points.ring(spread=0.1)
    fakes, scores, rows = {}, {}, []
    for i, (judge, reached) in enumerate(rounds(MLPCritic(width=128), ring, noise_in_square, 0.1, None, config), 1):
        found = ring.coverage(reached)
        rows.append((i, found.modes, found.quality))
        if i in shown:
            fakes["", f"round {i}"], scores["", f"round {i}"] = reached[:300], probability(deepcopy(judge))
    header = ["round", "modes", "share within 3 std"]
    page.text(
        f"Climbs end at {rows[-1][1]} of 8 modes, {rows[-1][2]:.0%} of them within three standard deviations: at the "
        "top of each, not spread over it. Orange: the discriminator says real; purple: fake; pink: where climbs end."
    )
    page.picture(scenes(ring.x[:300], fakes, extent=EXTENT, scores=scores))
    page.table(header, rows)
    return records(header, rows)


def digits(page: genlab.Report, shown: list[int], energy: genlab.Experiment, config: Config) -> None:
    """The same on images, beside an energy-based model."""
    x = genlab.DataOptions("digits").load("train").x
    real, shape = points.without_modes(x.flatten(1), "digits"), x.shape[1:]
    net = nn.Sequential(nn.Unflatten(1, shape), Discriminator(tuple(shape), config.width, nn.Identity))
    groups = {"real": x[:SHOWN]}
    for i, (_, reached) in enumerate(
        rounds(net, real, lambda n: torch.rand(n, shape.numel()), 0.5, (0.0, 1.0), config), 1
    ):
        if i in shown:
            groups[f"climbs, round {i}"] = reached[:SHOWN].unflatten(1, shape)
    trained: Any = energy.run(config.out / "energy-model", pictures=1)
    groups["energy-based model"] = next(samples(trained.sample, 2 * SHOWN))
    page.section(
        "Digits",
        "The tops of a discriminator are patterns, which the next round rejects. An energy-based model keeps its "
        "climbers, with noise in every step, from one step of training to the next.",
    )
    page.picture(groups_png(groups, SHOWN))
    passes = f"{config.climb} passes forward and backward"
    page.text(f"Every one cost {passes}, in the energy-based model those of the whole training; a generator's, one.")


def rounds(
    net: nn.Module,
    real: Points,
    noise: Callable[[int], Tensor],
    length: float,
    box: tuple[float, float] | None,
    config: Config,
) -> Iterator[tuple[DiscriminatorOnly, Tensor]]:
    """The discriminator after every round, and where the climbs then end, (n, D); `noise`: n -> starts (n, D)."""
    fakes = noise(config.n)
    for i in range(1, config.rounds + 1):
        judge = DiscriminatorOnly(net, points.without_modes(fakes, "fakes"))
        train_points(judge, real, config.steps, config.batch, config.seed + i, title=f"{real.name}, round {i}")
        reached = climb(net, noise(config.n), config.climb, length, box)
        yield judge, reached
        fakes = torch.cat([fakes, reached])


def noise_in_square(n: int) -> Tensor:
    """Points (n, 2), uniform on the square."""
    return EXTENT * (2 * torch.rand(n, 2) - 1)


if __name__ == "__main__":
    start(main, Config)
