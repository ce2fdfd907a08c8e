"""pix2pix: the L1 distance alone, the game alone and both; then both with smaller and larger patches.

python recipes/pix2pix.py                                    # rendered digits from 4x4 pixels, minutes on one core
python recipes/pix2pix.py --data sprites --size 20 --channels 3 --task edges:10
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Halvings, Length, Seed, Side, Width
from genlab.data import batches
from genlab.data.pairs import paired, task
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.translation.pix2pix import Pix2PixConfig
from genlab.metrics.partner import against_partners
from genlab.nets.patch import deepest, receptive_field
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """Trains one net per combination of losses and one per size of patches; compares them on held-out pairs."""

    data: str = "glyphs"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    channels: Literal[1, 3] | None = 1
    task: str = "super-resolution:4"
    """what the pairs are, as in `genlab train pix2pix --help`"""
    layers: Halvings = 1
    """how often the discriminator halves: 1 for patches of 16x16; at the end other sizes are tried, too"""
    images: Length = 16_000
    """length of every training"""
    width: Width = 16
    """channels at the finest level"""
    classifier_images: Length | None = None
    """training length of the classifier that judges; none: as always"""
    out: Path = Path("runs/pix2pix")
    """folder of the runs and the report"""
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, config.channels, config.data_root)
    test, n = data.load("test"), config.layers
    pairs = paired(task(config.task), test)
    methods = {"L1 alone": (0.0, 100.0, n), "GAN alone": (1.0, 0.0, n), "both": (1.0, 100.0, n)}
    sizes = [other for other in range(deepest(test.shape) + 1) if other != n]
    methods |= {f"both, patches of {receptive_field(other)}": (1.0, 100.0, other) for other in sizes}
    train = genlab.TrainOptions(config.images, 8, config.seed, schedule="linear", half_life=5_000)
    plan = {
        name: genlab.Experiment(Pix2PixConfig(config.task, gan, l1, config.width, layers), data, **vars(train))
        for name, (gan, l1, layers) in methods.items()
    }
    check_all(plan.values())
    judge, drawn = default_features(data, images=config.classifier_images), {"the input": pairs.a.x}
    for name, each in plan.items():
        out = config.out / name.replace(",", "").replace(" ", "-")
        trained: Any = each.run(out, pictures=1)
        torch.manual_seed(config.seed)
        drawn[name] = torch.cat([trained.translate(x) for x, _ in batches(pairs.a, 250)])
    rows = [{"losses": name, **against_partners(x, test, judge)} for name, x in drawn.items()]
    page = genlab.Report(f"pix2pix: {config.task} on {config.data}")
    page.text(f"{len(test)} held-out pairs. Patches are {receptive_field(n)} pixels wide unless the name says more.")
    page.table(list(rows[0]), [list(row.values()) for row in rows])
    page.section("Pictures", f"From above: {', '.join(drawn)}, the target.")
    page.picture(grid_png(torch.cat([x[:16] for x in (*drawn.values(), test.x)]), 16))
    for row in rows:
        print("  ".join(f"{name} {value:.4g}" if name != "losses" else value for name, value in row.items()))
    write_atomically(config.out / "results.json", json.dumps(rows, indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
