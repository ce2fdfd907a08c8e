"""Two domains without pairs: when do the codes of one mean the same in the other?"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Length, Seed, Side, Width
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.translation.cogan import CoGANConfig, agreement
from genlab.methods.translation.common_space import CommonSpaceConfig
from genlab.metrics.translation import content_preservation


@dataclass(frozen=True)
class Config:
    """The share of held-out images whose class survives encoding in one domain and decoding in the other."""

    a: str = "grey:glyphs"
    """labelled images of the first domain; those of the second are of the same classes"""
    b: str = "textured:glyphs"
    data_root: Path | None = None
    size: Side | None = 16
    channels: Literal[1, 3] | None = 3
    images: Length = 8_000
    """length of every auto-encoder's training"""
    gan_images: Length = 24_000
    width: Width = 12
    classifier_images: Length | None = None
    out: Path = Path("runs/common-space")
    seed: Seed = 0


def main(config: Config) -> None:
    sides = [genlab.DataOptions(name, config.size, config.channels, config.data_root) for name in (config.a, config.b)]
    both = replace(sides[0], data=f"unpaired:{config.a},{config.b}")
    apart = CommonSpaceConfig(latent=8, width=config.width, lr=1e-3)
    other = replace(apart, adversarial=0.0, adversarial_translation=1.0)
    methods: dict[str, Any] = {
        "independent": apart,
        "equal at the start": replace(apart, alike=True),
        "tied": replace(apart, tied=True),
        "domain-adversarial": replace(apart, domain_adversarial=0.1),
        "cycle (ComboGAN)": replace(other, cycle=10.0),
        "tied, cycle (UNIT)": replace(other, cycle=10.0, tied=True),
        "tied, critic, semantic (XGAN)": replace(other, domain_adversarial=0.1, semantic=0.1, tied=True),
        "CoGAN": CoGANConfig(width=config.width, lr=5e-4),
        "CoGAN, nothing tied": CoGANConfig(tied=False, width=config.width, lr=5e-4),
    }
    train = genlab.TrainOptions(config.images, 8, config.seed, half_life=2_000)
    longer = replace(train, images=config.gan_images)
    plan = {
        name: genlab.Experiment(method, both, **vars(longer if "CoGAN" in name else train))
        for name, method in methods.items()
    }
    check_all(plan.values())
    judges, test = [default_features(side, images=config.classifier_images) for side in sides], both.load("test")
    page, found = genlab.Report(f"A common space for {config.a} and {config.b}"), {}
    for name, each in plan.items():
        run = config.out / name.replace(",", "").replace(" ", "-")
        trained: Any = each.run(run, pictures=1)
        if "CoGAN" in name:
            kept = [agreement(trained, judges)]
        else:
            ways = ((1, test.a), (0, test.b))
            kept = [content_preservation(partial(trained.translate, to=to), side, judges[to]) for to, side in ways]
        found[name] = {"content preservation": kept, **genlab.Run(run).results()}
        print(name, *(f"{share:.1%}" for share in kept))
        page.section(name)
        for picture in genlab.Run(run).samples():
            page.picture(picture, picture.stem)
    page.section("Content preservation", "In both directions; of CoGAN, the share of pairs that are of one class.")
    page.table(["space", "a to b", "b to a"], [[name, *row["content preservation"]] for name, row in found.items()])
    write_atomically(config.out / "results.json", json.dumps(found, indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
