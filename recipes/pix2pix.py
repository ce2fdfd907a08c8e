"""pix2pix: the L1 distance alone, the adversarial loss alone and both; then both with smaller and larger patches.

python recipes/pix2pix.py                                    # rendered digits from 4x4 pixels, minutes on one core
python recipes/pix2pix.py --data sprites --size 20 --channels 3 --task edges:10
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Halvings, Length, Seed, Side, Width
from genlab.data import Images, batches
from genlab.data.pairs import paired, task
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.translation.pix2pix import Pix2PixConfig
from genlab.metrics.partner import against_partners
from genlab.nets.patch import deepest, receptive_field
from genlab.reporting.finish import finish
from genlab.reporting.labelled import picture_png


@dataclass(frozen=True)
class Config:
    """Trains one net per combination of losses and one per size of patches; compares them on held-out pairs."""

    data: str = "glyphs"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width in pixels; none: the set's own"""
    channels: Literal[1, 3] | None = 1
    """1 (grey) or 3 (colour); none: the set's own"""
    task: str = "super-resolution:4"
    """what the pairs are, as in `genlab train pix2pix --help`"""
    layers: Halvings = 1
    """downsamplings by 2 in the discriminator, 1 for patches of 16x16; the other sizes that fit are compared last"""
    images: Length = 16_000
    """length of every training"""
    width: Width = 16
    """channels at the finest level"""
    classifier_images: Length | None = None
    """training length of the classifier that judges; none: 60 epochs, at most 100,000"""
    out: Path = Path("runs/pix2pix")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of every training"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, config.channels, config.data_root)
    test = data.load("test")
    pairs = paired(task(config.task), test)
    experiments = {
        "L1 alone": experiment(data, config, adversarial=0.0),
        "GAN alone": experiment(data, config, l1=0.0),
        "both": experiment(data, config),
    }
    for layers in range(deepest(test.shape) + 1):
        if layers != config.layers:
            experiments[f"both, patches of {receptive_field(layers)}"] = experiment(data, config, layers=layers)
    check_all(experiments.values())

    drawn = {"the input": pairs.a.x}
    for name, each in experiments.items():
        drawn[name] = translated(each, config.out / name.replace(",", "").replace(" ", "-"), pairs.a)
    classifier = default_features(data, images=config.classifier_images)
    rows = [{"losses": name, **against_partners(x, test, classifier)} for name, x in drawn.items()]

    page = genlab.Report(f"pix2pix: {config.task} on {config.data}")
    patch = receptive_field(config.layers)
    kept = ", ".join(f"{row['losses']} {row['content preservation']:.0%}" for row in rows)
    page.text(f"Translations that keep their class: {kept}.")
    page.picture(picture_png(in_rows({**drawn, "the target": test.x})))
    page.section("Held-out pairs", f"{len(test)} of them; patches are {patch} pixels wide unless the name says more.")
    page.table(list(rows[0]), (row.values() for row in rows))
    finish(config.out, page, rows)


def experiment(
    data: genlab.DataOptions, config: Config, *, adversarial: float = 1.0, l1: float = 100.0, layers: int | None = None
) -> genlab.Experiment:
    """adversarial, l1: weights of the losses. layers: of the discriminator; none: `config.layers`."""
    layers = config.layers if layers is None else layers
    method = Pix2PixConfig(config.task, gan=adversarial, l1=l1, width=config.width, layers=layers)
    return genlab.Experiment(method, data, images=config.images, batch=8, seed=config.seed, schedule="linear")


def translated(experiment: genlab.Experiment, out: Path, inputs: Images) -> Tensor:
    """What the trained generator makes of all inputs."""
    method: Any = experiment.run(out, pictures=1)
    torch.manual_seed(experiment.training.seed)  # of the generator's dropout
    return torch.cat([method.translate(x) for x, _ in batches(inputs, 250)])


if __name__ == "__main__":
    start(main, Config)
