"""Which classes does a generator draw, and when? The share of each during training, by remedy against mode collapse.

python recipes/mode_collapse_images.py                                        # scikit-learn's digits
python recipes/mode_collapse_images.py --data mnist --data-root DIR --images 200000
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Length, NonEmpty, Repeats, Seeds, Width
from genlab.core.registry import choose
from genlab.core.text import counted
from genlab.data import Images
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.gan.gan import GANConfig
from genlab.methods.gan.unrolled import UnrolledConfig
from genlab.methods.gan.wgan_gp import WGANGPConfig
from genlab.metrics.features import ClassifierFeatures
from genlab.metrics.hook import MetricHook
from genlab.reporting.finish import finish
from genlab.reporting.plots import bars, heat
from genlab.reporting.spread import spread

LR = 2e-3  # ten times the usual: the plain GAN begins with few classes. The unrolled one learns at its own rates only
METHODS: dict[str, Any] = {
    "plain": GANConfig(lr=LR, lr_generator=LR),
    "minibatch": GANConfig(lr=LR, lr_generator=LR, minibatch=True),
    "replay": GANConfig(lr=LR, lr_generator=LR, replay=5000),
    "unrolled": UnrolledConfig(),
    "ensemble of 4": GANConfig(lr=LR, lr_generator=LR, generators=4),
    "wgan-gp": WGANGPConfig(lr=LR),
}


@dataclass(frozen=True)
class Config:
    """Trains GANs and watches the classes that they draw."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    remedies: NonEmpty[str] = tuple(METHODS)
    """remedies to compare; plain: without one"""
    images: Length = 30_000
    """length of each training"""
    width: Width = 16
    """channels of the networks at the finest level"""
    looks: Repeats = 8
    """how often each generator is measured, on 1000 samples"""
    seeds: Seeds = (0, 1, 2)
    """trainings of every method"""
    classifier_images: Length | None = None
    """training length of the classifier that counts the classes; none: 60 epochs, at most 100,000"""
    out: Path = Path("runs/mode-collapse-images")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    names = [choose(name, METHODS, "remedy") for name in config.remedies]
    plan = {name: [experiment(name, seed, data, config) for seed in config.seeds] for name in names}
    check_all(experiments[0] for experiments in plan.values())
    judge, test = default_features(data, images=config.classifier_images), data.load("test")
    rows, shares = [], {}
    for name, experiments in plan.items():
        watches = [train(name, each, judge, test, config) for each in experiments]
        rows.append({"remedy": name} | over_seeds([watch.rows[-1] for watch in watches]))
        shares[name] = classes_over_time(watches[0], test.classes)
    page = genlab.Report(f"Mode collapse on {config.data}")
    fid = next(figure for figure in rows[0] if figure.startswith("FID"))
    page.text(f"{fid} after training: " + ", ".join(f"{row['remedy']} {row[fid]:.1f}" for row in rows) + ".")
    page.picture(bars({row["remedy"]: [row[fid]] for row in rows}, x=fid))
    page.table(list(rows[0]), (row.values() for row in rows))
    page.text(f"Mean and standard deviation over {counted(config.seeds)}; the pictures are of the first.")
    for name, picture in shares.items():
        page.section(name, "Rows: classes; columns: images seen. A cell is a class's share of the samples.")
        page.picture(picture, "green: an even share")
        page.picture(genlab.Run(folder(name, config.seeds[0], config)).samples()[-1], "samples at the end")
    finish(config.out, page, rows)


def experiment(name: str, seed: int, data: genlab.DataOptions, config: Config) -> genlab.Experiment:
    """DCGAN's own networks, and no weight average: it would hide the beginning of a collapse."""
    method = replace(METHODS[name], width=config.width, hidden=0)
    return genlab.Experiment(method, data, images=config.images, seed=seed, half_life=None)


def folder(name: str, seed: int, config: Config) -> Path:
    return config.out / f"{name.replace(' ', '-')}-{seed}"


def train(
    name: str, experiment: genlab.Experiment, judge: ClassifierFeatures, test: Images, config: Config
) -> MetricHook:
    """What was measured during one training."""
    out = folder(name, experiment.training.seed, config)
    watch = MetricHook(out, judge, test, ("FID", "classes"))
    experiment.run(out, [(max(1, config.images // config.looks), watch)], pictures=1)
    return watch


def over_seeds(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean and standard deviation of every figure."""
    row = {}
    for figure in found[0]:
        if figure != "images":
            row[figure], row[f"{figure} (sd)"] = spread(each[figure] for each in found)
    return row


def classes_over_time(watch: MetricHook, classes: Sequence[str]) -> bytes:
    """A picture of the share of every class at every look; an even share is half-way up the scale of colours."""
    cells = [[(share * len(classes) / 2, f"{share:.0%}") for share in shares] for shares in zip(*watch.shares)]
    return heat(cells, classes, [f"{row['images']:,}" for row in watch.rows])


if __name__ == "__main__":
    start(main, Config)
