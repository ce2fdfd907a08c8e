"""Two domains without pairs: when does one latent space serve both, so that a code means the same in either?

Every model encodes an image of one domain and decodes it in the other; the share of held-out images whose class
survives tells whether the codes agree. A coupled GAN has no encoder: it draws pairs, and the share of pairs of one
class is measured.

python recipes/unpaired_common_space.py
python recipes/unpaired_common_space.py --models independent tied "tied, cycle (UNIT)"
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Length, NonEmpty, Seed, Side, Width
from genlab.core.registry import choose
from genlab.core.text import listed, one_line
from genlab.data import Pair
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.translation.cogan import CoGAN, CoGANConfig, agreement
from genlab.methods.translation.common_space import CommonSpaceConfig
from genlab.metrics.features import ClassifierFeatures
from genlab.metrics.translation import content_preservation
from genlab.reporting.finish import finish
from genlab.reporting.plots import bars
from genlab.reporting.report import caption

SPACES = CommonSpaceConfig(latent=8, levels=1, lr=1e-3)  # an auto-encoder and a critic of the codes per domain
TRANSLATING = replace(SPACES, adversarial=0.0, adversarial_translation=1.0)  # critics of the translated images instead
COGAN = CoGANConfig(lr=5e-4)

MODELS: dict[str, CommonSpaceConfig | CoGANConfig] = {
    "independent": SPACES,
    "equal at the start": replace(SPACES, alike=True),
    "tied": replace(SPACES, tied=True),
    "domain-adversarial": replace(SPACES, domain_adversarial=0.1),
    "cycle (ComboGAN)": replace(TRANSLATING, cycle=10.0),
    "tied, cycle (UNIT)": replace(TRANSLATING, cycle=10.0, tied=True),
    "tied, critic, semantic (XGAN)": replace(TRANSLATING, domain_adversarial=0.1, semantic=0.1, tied=True),
    "CoGAN": COGAN,
    "CoGAN, nothing tied": replace(COGAN, tied=False),
}


@dataclass(frozen=True)
class Config:
    """The share of held-out images whose class survives encoding in one domain and decoding in the other."""

    a: str = "grey:glyphs"
    """labelled images of the first domain; those of the second are of the same classes"""
    b: str = "textured:glyphs"
    """labelled images of the second domain"""
    models: NonEmpty[str] = tuple(MODELS)
    """what is trained: names of the recipe's table, quoted, as "tied, cycle (UNIT)\""""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width in pixels; none: the set's own"""
    channels: Literal[1, 3] | None = 3
    """1 (grey) or 3 (colour); none: the set's own"""
    images: Length = 4_000
    """length of every auto-encoder's training"""
    gan_images: Length = 14_000
    """length of every coupled GAN's training"""
    width: Width = 12
    """channels at the finest level"""
    classifier_images: Length | None = None
    """length of the training of the classifiers that judge; none: 60 epochs, at most 100,000 images"""
    out: Path = Path("runs/common-space")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of every training"""


def main(config: Config) -> None:
    domains = [
        genlab.DataOptions(name, config.size, config.channels, config.data_root) for name in (config.a, config.b)
    ]
    classes = [domain.load("test", option=option).classes for domain, option in zip(domains, ("a", "b"))]
    if classes[0] != classes[1]:
        raise ValueError(
            "--a and --b must be of the same classes, or none can survive, got "
            + " and ".join(one_line(", ".join(each), 100) for each in classes)
        )
    plan = experiments(config)
    check_all(plan.values())
    judges = [default_features(domain, images=config.classifier_images) for domain in domains]
    page = genlab.Report(f"A common latent space for {config.a} and {config.b}")
    rows = []
    for name, experiment in plan.items():
        run = config.out / folder(name)
        trained = experiment.run(run, pictures=1)
        rows.append({"model": name, **figures(trained, experiment.data.load("test"), judges)})
        page.section(name)
        for picture in genlab.Run(run).samples():
            page.picture(picture, caption(picture))
    page.section(
        "Content preservation",
        "The share of test images whose class survives translation; of a coupled GAN, of pairs that are of one class, "
        "and of pairs put together by chance, which are all of one class if it draws only one.",
    )
    header = ["model", "a to b", "b to a", "pairs of one class", "by chance"]
    page.table(header, [[row.get(name, "") for name in header] for row in rows])
    kept = {row["model"]: row["a to b"] if "a to b" in row else row["pairs of one class"] for row in rows}
    page.opening(
        "Share of images whose class survives the way from the first domain to the second (of a coupled GAN, of pairs "
        f"that are of one class): {listed(kept, '.0%')}.",
        bars({name: [value] for name, value in kept.items()}, x="class kept"),
    )
    finish(config.out, page, rows)


def experiments(config: Config) -> dict[str, genlab.Experiment]:
    """What is trained, by name."""
    data = genlab.DataOptions(f"unpaired:{config.a},{config.b}", config.size, config.channels, config.data_root)
    plan = {}
    for name in config.models:
        method = replace(MODELS[choose(name, MODELS, "model")], width=config.width)
        images = config.gan_images if isinstance(method, CoGANConfig) else config.images
        plan[name] = genlab.Experiment(method, data, images=images, batch=8, seed=config.seed, half_life=2_000)
    return plan


def figures(trained: Any, test: Pair, judges: list[ClassifierFeatures]) -> dict[str, float]:
    """The figures of one model; `judges` are the classifiers of the two domains."""
    if isinstance(trained, CoGAN):
        agreed, chance = agreement(trained, judges)
        return {"pairs of one class": agreed, "by chance": chance}
    return {
        "a to b": content_preservation(partial(trained.translate, to=1), test.a, judges[1]),
        "b to a": content_preservation(partial(trained.translate, to=0), test.b, judges[0]),
    }


def folder(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")


if __name__ == "__main__":
    start(main, Config)
