"""Which classes does a generator draw, and when? The share of each during training, by remedy against collapse.

python recipes/mode_collapse_images.py                                        # scikit-learn's digits
python recipes/mode_collapse_images.py --data mnist --data-root DIR --images 200000
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Length, Repeats, Width
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.gan.gan import GANConfig
from genlab.methods.gan.unrolled import UnrolledConfig
from genlab.methods.gan.wgan_gp import WGANGPConfig
from genlab.metrics.hook import MetricHook
from genlab.reporting.plots import heat
from genlab.reporting.report import spread

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
    images: Length = 30_000
    """length of each training"""
    width: Width = 16
    looks: Repeats = 8
    """how often each generator is looked at, by 1000 samples"""
    seeds: Repeats = 3
    classifier_images: Length | None = None
    out: Path = Path("runs/mode-collapse-images")


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    methods = {name: replace(method, width=config.width, hidden=0) for name, method in METHODS.items()}  # DCGAN's own
    train = genlab.TrainOptions(config.images)
    check_all(genlab.Experiment(method, data, **vars(train)) for method in methods.values())
    judge, test = default_features(data, images=config.classifier_images), data.load("test")
    page, rows = genlab.Report(f"Mode collapse on {config.data}"), []
    page.text("Rows: classes; columns: images seen. A cell is a class's share of the samples; green: its fair share.")
    for name, method in methods.items():
        last = []
        for seed in range(config.seeds):
            run = config.out / f"{name.replace(' ', '-')}-{seed}"
            hook = MetricHook(run, judge, test, ("FID", "classes"))
            looks = [(max(1, config.images // config.looks), hook)]
            genlab.Experiment(method, data, **vars(replace(train, seed=seed))).run(run, looks, pictures=1)
            last.append([value for figure, value in hook.rows[-1].items() if figure != "images"])
            if seed == 0:
                cells = [
                    [(share * len(test.classes) / 2, f"{share:.0%}") for share in row] for row in zip(*hook.shares)
                ]
                page.section(name).picture(heat(cells, test.classes, [f"{row['images']:,}" for row in hook.rows]))
                page.picture(genlab.Run(run).samples()[-1])
        rows.append([name, *("{:.3g} ± {:.2g}".format(*spread(column)) for column in zip(*last))])
        print("  ".join(rows[-1]))
    page.section(f"{config.seeds} seeds").table(["remedy", *(name for name in hook.rows[-1] if name != "images")], rows)
    write_atomically(config.out / "results.json", json.dumps(rows, indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
