"""What the cycle is for: CycleGAN on two domains whose true partners are known, used only to measure; a
classifier of the second domain tells whether the class survives. Of other domains, one tells the two apart.

python recipes/cyclegan.py                                            # rendered digits, plain and on texture
python recipes/cyclegan.py --data unpaired:glyphs,textured:glyphs     # colours that the translation has no place for
python recipes/cyclegan.py --data unpaired:cifar10:horse,cifar10:deer --size 32 --images 20000
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Length, NonEmpty, Seed, Side, Width
from genlab.core.registry import choose
from genlab.data.domains import names
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.translation.cyclegan import CycleGANConfig
from genlab.metrics.translation import side_by_side, translation
from genlab.reporting.grid import grid_png

SMALL = CycleGANConfig(blocks=3, levels=1, lr=4e-4)
VARIANTS = {
    "cycle": SMALL,
    "no cycle": replace(SMALL, cycle=0.0),  # the direct transformation, which nothing ties to its input
    "cycle and identity": replace(SMALL, identity=5.0),
}


@dataclass(frozen=True)
class Config:
    """Trains CycleGAN with and without its cycle and compares translations with the true partners."""

    data: str = "unpaired:grey:glyphs,textured:glyphs"
    """two sets"""
    data_root: Path | None = None
    size: Side | None = 16
    variants: NonEmpty[str] = tuple(VARIANTS)
    images: Length = 10_000
    """length of every training"""
    batch: Count = 4
    width: Width = 16
    classifier_images: Length | None = None
    """length of the classifier's training; none: 60 epochs, at most 100,000"""
    out: Path = Path("runs/cyclegan")
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, data_root=config.data_root)
    train = genlab.TrainOptions(config.images, config.batch, config.seed, schedule="linear")
    methods = {name: VARIANTS[choose(name, VARIANTS, "variant")] for name in config.variants}
    plan = {name: genlab.Experiment(replace(m, width=config.width), data, **vars(train)) for name, m in methods.items()}
    check_all(plan.values())
    test = data.load("test")
    sides = names(config.data)
    judged = sides[1] if test.a.classes == test.b.classes else f"domains:{','.join(sides)}"
    judged = replace(data, data=judged, size=test.shape[1], channels=test.shape[0])
    judge = default_features(judged, images=config.classifier_images)
    page, found = genlab.Report(f"CycleGAN: {config.data}"), {}
    for name, each in plan.items():
        trained: Any = each.run(config.out / name.replace(" ", "-"), pictures=4)
        there, back = partial(trained.translate, to=1), partial(trained.translate, to=0)
        found[name] = translation(there, back, test, judge)
        page.section(name, "Original, translation, translated back, true partner; twice a row.")
        page.picture(grid_png(side_by_side(there, back, test)), "to the second domain")
        page.picture(grid_png(side_by_side(back, there, test.swapped())), "to the first domain")
        print(f"{name}: {json.dumps({key: round(value, 4) for key, value in found[name].items()})}")
    rows = [[figure, *(column[figure] for column in found.values())] for figure in found[name]]
    page.section("Figures", "Errors are mean absolute ones in pixels of [0, 1].").table(["figure", *found], rows)
    write_atomically(config.out / "results.json", json.dumps(found, indent=2).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
