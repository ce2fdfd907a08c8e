"""Domain-adversarial training: labelled digits, and unlabelled ones by night or on a texture; arXiv:1505.07818.

For every target: a classifier trained on the labelled source alone, one trained adversarially with the target's images
too, and one that is given the target's labels (the upper bound), with the same network, images and settings. Source and
target share no originals. The settings were chosen on validation images of the first target, seeds 0 and 1.

python recipes/domain_adversarial.py                             # scikit-learn's digits, minutes on one core
python recipes/domain_adversarial.py --data mnist --data-root DIR --images 100000
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Distinct, LearningRate, Length, Seeds, Weight, Width
from genlab.core.text import counted
from genlab.data import Pair, Stream, batches
from genlab.experiment import check_all
from genlab.methods.classification.domain_adversarial import DomainAdversarial, DomainAdversarialConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.plots import png
from genlab.reporting.spread import spread

HEADER = ["target", "trained on", "target accuracy", "(sd)", "source accuracy", "source (sd)"]
SOURCE, ADVERSARIAL, TARGET = "source only", "adversarial", "target, with its labels"
LOOKS = 8  # measurements of the accuracy during training
SHOWN = 300  # images of each domain in the plane of the principal components


@dataclass(frozen=True)
class Config:
    """Accuracy on a domain without labels."""

    data: str = "digits"
    """labelled images, the source"""
    targets: Annotated[tuple[str, ...], Distinct()] = ("night", "textured")
    """styles of the target, such as night, textured or styled"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    hold_out: bool = False
    """measure validation images, a tenth of the training images, in place of test images"""
    images: Length = 30_000
    """length of every training, in images of the source"""
    width: Width = 16
    """channels of the first level of the CNN"""
    adversarial: Weight = 1.0
    """final weight lambda of the reversed gradient"""
    lr: LearningRate = 0.02
    """learning rate"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/domain-adversarial")
    """folder of the report"""


@dataclass(frozen=True)
class Trained:
    """One training: the method, images seen, and accuracies on the target's test images at those times."""

    method: DomainAdversarial
    images: list[int]
    target: list[float]
    source: float


def main(config: Config) -> None:
    method = DomainAdversarialConfig(width=config.width, adversarial=config.adversarial, lr=config.lr)
    options = replace(method.training, images=config.images)
    data = {
        target: genlab.DataOptions(
            f"unpaired:{config.data},{target}:{config.data}", None, 3, config.data_root, hold_out=config.hold_out
        )
        for target in config.targets
    }
    check_all(genlab.Experiment(method, each, **vars(options)) for each in data.values())
    split = "validation" if config.hold_out else "test"
    page = genlab.Report(f"Domain-adversarial training on {config.data}")
    rows: list[Sequence[Any]] = []
    shares = []
    for target, each in data.items():
        train, test = each.load("train"), each.load(split)
        ways = {
            SOURCE: (replace(method, adversarial=0.0), train),
            ADVERSARIAL: (method, train),
            TARGET: (replace(method, adversarial=0.0), Pair(train.b, train.b)),
        }
        found = {
            way: [fitted(*how, test, replace(options, seed=seed), f"{seed}: {target}, {way}") for seed in config.seeds]
            for way, how in ways.items()
        }
        for way, runs in found.items():
            rows.append([target, way, *spread(r.target[-1] for r in runs), *spread(r.source for r in runs)])
        page.section(
            f"{config.data} to {target}:{config.data}",
            f"Features of {split} images of both domains in the plane of their first two principal components, without "
            f"and with adversarial training (seed {config.seeds[0]}); and accuracy on {len(test):,} {split} images of "
            f"the target during training, mean and standard deviation over {counted(config.seeds)}.",
        )
        page.picture(figure(found, test))
        shares.append(
            f"{target} {rows[-3][2]:.1%} by what the source teaches, {rows[-2][2]:.1%} with adversarial training, "
            f"{rows[-1][2]:.1%} by its own labels"
        )
    page.opening(f"Accuracy on the target, whose labels are unknown: {'; '.join(shares)}.")
    page.section("Accuracy", f"On the {split} images; mean ± standard deviation over the seeds.")
    page.table(HEADER, rows)
    finish(config.out, page, records(HEADER, rows))


def fitted(method: DomainAdversarialConfig, train: Pair, test: Pair, options: Any, title: str) -> Trained:
    torch.manual_seed(options.seed)
    built = method.build(train.shape, len(train.classes)).to(train.device)
    images, target = list[int](), list[float]()

    def look(seen: int, now: Any) -> None:
        images.append(seen)
        target.append(now.evaluate(test)["target accuracy"])

    stream = Stream(train, options.batch, seed=options.seed)
    hooks = [(max(1, options.images // LOOKS), look)]
    trained: Any = genlab.fit(built, stream, options, hooks=hooks, title=title)
    return Trained(trained, images, target, trained.evaluate(test)["source accuracy"])


@torch.no_grad()
def plane(method: DomainAdversarial, test: Pair) -> tuple[Tensor, Tensor]:
    """Both domains' features (n, 2), projected on their common first two principal components."""
    f = [
        torch.cat([method.features(x) for x, _ in batches(side.subset(slice(0, SHOWN)), 100)])
        for side in (test.a, test.b)
    ]
    both = torch.cat(f).double()
    both = both - both.mean(0)
    axes = torch.linalg.svd(both, full_matrices=False)[2][:2]
    a, b = (both @ axes.T).cpu().split([len(f[0]), len(f[1])])
    return a, b


def figure(found: dict[str, list[Trained]], test: Pair) -> bytes:
    """A PNG: the features of two trainings, coloured by class, and the accuracy of all during training."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(12.5, 3.9), layout="constrained")
    panels = drawing.subplots(1, 3)
    for axes, way in zip(panels, (SOURCE, ADVERSARIAL)):
        for points, side, marker in zip(plane(found[way][0].method, test), (test.a, test.b), "o^"):
            colours = colormaps["tab10"](side.subset(slice(0, SHOWN)).labels.cpu().numpy())
            filled = {"facecolors": colours if side is test.a else "none", "edgecolors": colours}
            axes.scatter(*points.T.numpy(), s=13, marker=marker, linewidths=0.7, **filled)
        axes.set(title=f"features: {way}", xticks=[], yticks=[])
        axes.set_xlabel("colours: classes; dots: source; triangles: target", fontsize=8)
    for way, runs in found.items():
        low, mean, high = zip(*(band(values) for values in zip(*(run.target for run in runs))))
        (line,) = panels[2].plot(runs[0].images, mean, marker="o", markersize=3, label=way)
        panels[2].fill_between(runs[0].images, low, high, color=line.get_color(), alpha=0.15, lw=0)
    panels[2].set(title="accuracy on the target", xlabel="images of the source", ylim=(None, 1))
    panels[2].grid(alpha=0.3)
    panels[2].legend(fontsize=8, loc="lower right")
    return png(drawing)


def band(values: Sequence[float]) -> tuple[float, float, float]:
    mean, sd = spread(values)
    return mean - sd, mean, min(1.0, mean + sd)


if __name__ == "__main__":
    start(main, Config)
