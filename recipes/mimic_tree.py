"""A decision tree that mimics a network: how much of its answers a tree tells, by depth and by what it may ask about.

Trees of scikit-learn learn the answers of a CNN, on features that a person can read: pixels, mean brightness of
squares, principal components and the parts of a non-negative factorisation. Fidelity is the share of held-out images on
which tree and network agree. One tree learns from noisy copies, too, since the network answers any question; for
comparison, one learns from the labels alone.

python recipes/mimic_tree.py                                     # scikit-learn's digits, a minute on one core
python recipes/mimic_tree.py --data mnist --data-root DIR
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Distinct, Length, Seeds, Steps, Width
from genlab.data import Images, Stream
from genlab.explain.mimic import Features, Mimic, answers, fidelity, mimic, pixels
from genlab.latent.baselines import nmf, pca
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.metrics.accuracy import accuracy
from genlab.reporting.finish import finish
from genlab.reporting.labelled import labelled_grid_png
from genlab.reporting.plots import curves, png
from genlab.reporting.report import plus_minus, spread

NOISE = 0.1  # standard deviation of the noise of the copies, in pixels of [0, 1]
COPIES = 4
READABLE = 3  # depth of the tree that is drawn
SLACK = 0.01  # of the best fidelity on validation images, within which the least depth is chosen


@dataclass(frozen=True)
class Config:
    """Fidelity of trees that mimic a classifier."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 30_000
    """length of the network's training"""
    depths: Annotated[tuple[Steps, ...], Distinct()] = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
    """largest depths of the trees"""
    components: Width = 16
    """number of principal components, and of parts"""
    seeds: Seeds = (0, 1, 2)
    """of the network's training and of the trees"""
    out: Path = Path("runs/mimic-tree")
    """folder of the report"""


@dataclass(frozen=True)
class Grown:
    """One tree: fidelity on validation and test images, accuracy on test images, and its number of leaves."""

    tree: Mimic
    validation: float
    test: float
    accuracy: float
    leaves: int


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root, hold_out=True)
    train, validation, test = (data.load(split) for split in ("train", "validation", "test"))
    readable = readable_features(train, config.components)
    found: dict[tuple[str, int], list[Grown]] = {}
    networks = []
    for seed in config.seeds:
        net = classifier(train, seed, config)
        networks.append(accuracy(net, test))
        for name, x, y, features in lessons(net, train, readable, seed):
            for depth in config.depths:
                tree = mimic(x, y, features, depth, seed)
                figures = [fidelity(tree, s.x, answers(net, s.x)) for s in (validation, test)]
                right = fidelity(tree, test.x, test.labels)
                found.setdefault((name, depth), []).append(Grown(tree, *figures, right, int(tree.tree.get_n_leaves())))
    names = list(dict.fromkeys(name for name, _ in found))
    chosen = {name: least_depth(found, name, config.depths) for name in names}
    page = genlab.Report(f"Trees that mimic a network on {config.data}")
    page.section("Fidelity by depth", message(found, chosen, networks))
    page.picture(curves(lines(found), x="largest depth of the tree", y="fidelity on test images"))
    rows = [row(name, depth, found[name, depth]) for name, depth in chosen.items()]
    page.section(
        "The least depth that suffices",
        f"Within {SLACK:.0%} of the best fidelity on validation images; means over {len(config.seeds)} seeds.",
    )
    page.table(list(rows[0]), [list(each.values()) for each in rows])
    draw(page, found, names, readable, train, config)
    every = [row(name, depth, grown) for (name, depth), grown in found.items()]
    finish(config.out, page, {"network": spread(networks)[0], "chosen": rows, "trees": every})


def classifier(train: Images, seed: int, config: Config) -> Any:
    method = ClassifierConfig()
    options = genlab.TrainOptions(config.images, seed=seed, schedule="cosine")
    torch.manual_seed(seed)
    built = method.build(train.shape, len(train.classes)).to(train.device)
    stream = Stream(train, options.batch, seed=seed)
    return genlab.fit(built, stream, options, title=f"network {seed}").eval()


def readable_features(train: Images, n: int) -> dict[str, Features]:
    side = max(1, min(train.shape[1:]) // 4)
    name = lambda kind: tuple(f"{kind} {k}" for k in range(n))
    return {
        "pixels": pixels(train.x),
        f"squares of {side} pixels": pixels(train.x, side),
        "principal components": Features(pca(train, n).code, name("component")),
        "non-negative parts": Features(nmf(train, n).code, name("part")),
    }


Lesson = tuple[str, Tensor, Tensor, Features]  # name, images, classes, features


def lessons(net: Any, train: Images, readable: dict[str, Features], seed: int) -> list[Lesson]:
    """What trees learn from."""
    x, said = train.x, answers(net, train.x)
    g = torch.Generator().manual_seed(seed)
    noise = NOISE * torch.randn(COPIES, *x.shape, generator=g).to(x.device)
    more = torch.cat([x, (x + noise).clamp(0, 1).flatten(0, 1)])
    most = list(readable)[2]
    return [
        *((name, x, said, features) for name, features in readable.items()),
        (f"{most}, noisy copies", more, answers(net, more), readable[most]),
        (f"{most}, from labels", x, train.labels, readable[most]),
    ]


def least_depth(found: dict[tuple[str, int], list[Grown]], name: str, depths: Sequence[int]) -> int:
    """The least depth whose fidelity on validation images is within SLACK of the best."""
    on_validation = {depth: spread(each.validation for each in found[name, depth])[0] for depth in sorted(depths)}
    return next(depth for depth, value in on_validation.items() if value >= max(on_validation.values()) - SLACK)


def message(found: dict[tuple[str, int], list[Grown]], chosen: dict[str, int], networks: list[float]) -> str:
    (best, _) = max(((n, spread(t.validation for t in found[n, d])[0]) for n, d in chosen.items()), key=lambda e: e[1])
    tell = lambda depth: f"{plus_minus(100 * each.test for each in found[best, depth])} % at depth {depth}"
    shallow = max((d for n, d in found if n == best and d <= READABLE), default=chosen[best])
    return (
        f"The network is right on {plus_minus(100 * each for each in networks)} % of the test images. A tree on {best} "
        f"agrees with it on {tell(chosen[best])}, and on {tell(shallow)}."
    )


def lines(found: dict[tuple[str, int], list[Grown]]) -> dict[str, Any]:
    """name -> (depths, mean fidelity, lower and upper end of its spread)."""
    drawn: dict[str, Any] = {}
    for (name, depth), grown in found.items():
        mean, deviation = spread(each.test for each in grown)
        for column, value in zip(
            drawn.setdefault(name, ([], [], [], [])), (depth, mean, mean - deviation, mean + deviation)
        ):
            column.append(value)
    return drawn


def row(name: str, depth: int, grown: Sequence[Grown]) -> dict[str, Any]:
    mean, deviation = spread(each.test for each in grown)
    return {
        "tree on": name,
        "depth": depth,
        "leaves": spread(each.leaves for each in grown)[0],
        "fidelity": mean,
        "(sd)": deviation,
        "accuracy": spread(each.accuracy for each in grown)[0],
    }


def draw(
    page: genlab.Report, found: Any, names: Sequence[str], readable: dict[str, Features], train: Images, config: Config
) -> None:
    """A shallow tree on each kind of component, and what its questions are about."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from sklearn.tree import plot_tree

    depth = max((each for each in config.depths if each <= READABLE), default=min(config.depths))
    name = list(readable)[3]
    tree = found[name, depth][0].tree
    page.section(
        f"The tree of depth {depth} on {name}",
        "Where the answer to a question is yes, go to the left; a leaf tells its class. Below: the parts asked about.",
    )
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    classes = [train.classes[k] for k in tree.tree.classes_]
    look: dict[str, Any] = {"label": "none", "impurity": False, "precision": 2, "filled": True, "fontsize": 7}
    plot_tree(tree.tree, ax=figure.subplots(), feature_names=list(tree.features.names), class_names=classes, **look)
    page.picture(png(figure))
    asked = sorted({int(k) for k in tree.tree.tree_.feature if k >= 0})
    parts = nmf(train, config.components).pictures()[asked]
    page.picture(labelled_grid_png(parts, len(asked), captions=[tree.features.names[k] for k in asked], tile=96))


if __name__ == "__main__":
    start(main, Config)
