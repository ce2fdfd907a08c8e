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
from genlab.core.text import counted
from genlab.data import Images, Stream
from genlab.explain.mimic import Features, Mimic, answers, fidelity, mimic, pixels
from genlab.latent.baselines import nmf, pca
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.metrics.accuracy import accuracy
from genlab.reporting.finish import finish
from genlab.reporting.plots import curves, png
from genlab.reporting.spread import plus_minus, spread

NOISE = 0.1  # standard deviation of the noise of the copies, in pixels of [0, 1]
COPIES = 4
COMPONENTS, PARTS = "principal components", "non-negative parts"  # features
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
    if config.components > (most := min(len(train), train.pixels[0].numel())):
        raise ValueError(f"--components must be at most {most}, got {config.components}")
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
        f"Within {SLACK:.0%} of the best fidelity on validation images; means over {counted(config.seeds)}.",
    )
    page.table(list(rows[0]), [list(each.values()) for each in rows])
    depth = max((each for each in config.depths if each <= READABLE), default=min(config.depths))
    page.section(
        f"The tree of depth {depth} on {PARTS}",
        "How much of the pictured part is in the image? Up to the number above it: go left. A leaf tells its class.",
    )
    shown, parts = found[PARTS, depth][0].tree, nmf(train, config.components).pictures()
    page.picture(drawn(shown, parts, train.classes))
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
        COMPONENTS: Features(pca(train, n).code, name("component")),
        PARTS: Features(nmf(train, n).code, name("part")),
    }


Lesson = tuple[str, Tensor, Tensor, Features]  # name, images, classes, features


def lessons(net: Any, train: Images, readable: dict[str, Features], seed: int) -> list[Lesson]:
    """What trees learn from."""
    x, said = train.x, answers(net, train.x)
    g = torch.Generator().manual_seed(seed)
    noise = NOISE * torch.randn(COPIES, *x.shape, generator=g).to(x.device)
    more = torch.cat([x, (x + noise).clamp(0, 1).flatten(0, 1)])
    return [
        *((name, x, said, features) for name, features in readable.items()),
        (f"{COMPONENTS}, noisy copies", more, answers(net, more), readable[COMPONENTS]),
        (f"{COMPONENTS}, from labels", x, train.labels, readable[COMPONENTS]),
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
        f"agrees with it on {tell(chosen[best])}, and on {tell(shallow)}. On its training images the network's answers "
        "are the labels: only other questions, such as noisy copies, tell a tree more than the labels do."
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


def drawn(tree: Mimic, parts: Tensor, classes: Sequence[str]) -> bytes:
    """A PNG of a shallow tree; parts: (F, C, H, W), the images of what its questions are about."""
    from matplotlib.figure import Figure

    nodes = tree.tree.tree_
    places = placed(nodes)
    figure = Figure(figsize=(1.25 * nodes.n_leaves + 0.4, 1.5 * (nodes.max_depth + 1)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    for node, (x, y) in places.items():
        for child in {nodes.children_left[node], nodes.children_right[node]} & places.keys():
            axes.plot(*zip((x, y), places[child]), color="0.7", lw=1, zorder=0)
        if nodes.children_left[node] < 0:
            shares = nodes.value[node][0]
            name = classes[tree.tree.classes_[shares.argmax()]]
            text = f"{name}\n{shares.max() / shares.sum():.0%} of\n{nodes.n_node_samples[node]} images"
            axes.text(x, y, text, ha="center", va="center", bbox={"fc": "white", "ec": "0.5", "boxstyle": "round"})
        else:
            picture = parts[nodes.feature[node]].mean(0).cpu().numpy()
            axes.imshow(picture, "gray", extent=(x - 0.28, x + 0.28, y + 0.3, y - 0.3), aspect="auto", zorder=2)
            axes.text(x, y - 0.36, f"≤ {nodes.threshold[node]:.2f}: left", ha="center", va="bottom", fontsize=9)
    axes.set(xlim=(-0.6, nodes.n_leaves - 0.4), ylim=(nodes.max_depth + 0.5, -0.6))
    return png(figure)


def placed(nodes: Any) -> dict[int, tuple[float, float]]:
    """node -> (x, y): leaves side by side, every other node above the middle of its two; y is the depth."""
    places: dict[int, tuple[float, float]] = {}

    def place(node: int, depth: int) -> float:
        if nodes.children_left[node] < 0:
            x = float(sum(nodes.children_left[each] < 0 for each in places))
        else:
            x = sum(place(each[node], depth + 1) for each in (nodes.children_left, nodes.children_right)) / 2
        places[node] = x, float(depth)
        return x

    place(0, 0)
    return places


if __name__ == "__main__":
    start(main, Config)
