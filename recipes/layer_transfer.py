"""Layer transfer: a task with few labels learns from a network of another task; Yosinski et al. 2014, arXiv:1411.1792.

A VGG is to tell rendered digits apart after a few of each. Its first 0, 1, ... layers are copied from one that learnt a
near task (letters) or a far one (sprites), and frozen or trained on; or they are random and frozen, which tells what
the copied weights are worth. Beside it: conservative fine-tuning (weights or outputs stay near the source's), both
tasks at once, and a progressive network. Settings were chosen on validation images (`--split validation`), seeds 0, 1.

python recipes/layer_transfer.py                                 # 4 minutes on one core
python recipes/layer_transfer.py --labels 50 --images 10000      # labels enough to train all layers
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import nn

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Distinct, Layers, LearningRate, Length, Seeds, Side, Weight, Width
from genlab.core.text import counted
from genlab.data import Images, Pair, Stream
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.methods.classification.transfer import Multitask, Transfer, TransferConfig
from genlab.nets.classifiers import vgg
from genlab.nets.progressive import Progressive
from genlab.reporting.finish import finish
from genlab.reporting.plots import curves
from genlab.reporting.spread import plus_minus, spread

RANDOM, FROZEN, TUNED = "random, frozen", "copied, frozen", "copied, fine-tuned"  # by the number of layers
FAR = {FROZEN: "far task, frozen", TUNED: "far task, fine-tuned"}
ALONE = "no transfer"
LAYERS = 6  # of the VGG, but for the last, whose classes are others
WEIGHTS, OUTPUTS = "all copied, weights held", "all copied, outputs held"
MULTITASK, PROGRESSIVE = "both tasks at once", "progressive network"
Found = dict[tuple[str, int], list[float]]  # (way, copied layers) -> accuracy of every seed


@dataclass(frozen=True)
class Config:
    """Accuracy on a task with few labels, by the number of layers copied from another task."""

    target: str = "glyphs"
    """labelled images, of whose labels few are used"""
    near: str = "letters"
    """labelled images of a task with many labels"""
    far: str = "sprites"
    """the same of a task that is less like the target"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side = 16
    """height and width of all images"""
    labels: Count = 5
    """labelled images of each class of the target"""
    copied: Annotated[tuple[Layers, ...], Distinct()] = (1, 2, 3, 4, 5, 6)
    """how many of the first layers are copied; there are six beside the last"""
    source_images: Length = 12_000
    """length of the training on each source"""
    images: Length = 2_000
    """length of every training on the target"""
    width: Width = 8
    """channels of the first layer"""
    lr: LearningRate = 0.05
    """learning rate on the target"""
    near_weights: Weight = 0.1
    """weight of the distance to the source's weights"""
    near_outputs: Weight = 1.0
    """weight of the divergence from the source's outputs"""
    share: Weight = 3.0
    """weight of the near task's loss when both tasks are learnt at once"""
    split: Literal["test", "validation"] = "test"
    """on which images of the target accuracy is measured"""
    seeds: Seeds = (0, 1, 2)
    """of all trainings and of the choice of the labelled images"""
    out: Path = Path("runs/layer-transfer")
    """folder of the report"""


def main(config: Config) -> None:
    if (most := max(config.copied)) > LAYERS:
        raise ValueError(f"--copied must be at most {LAYERS}, the layers of the VGG before its last one, got {most}")
    options = {"size": config.size, "channels": 3, "data_root": config.data_root, "hold_out": True}
    near, far = (
        genlab.DataOptions(getattr(config, name), **options).load("train", option=name) for name in ("near", "far")
    )
    target = genlab.DataOptions(config.target, **options)
    train, measured = (target.load(split, option="target") for split in ("train", config.split))
    found: Found = {}
    for seed in config.seeds:
        few = labelled(train, config.labels, seed)
        for way, copied, accuracy in transfers(near, far, few, measured, seed, config):
            found.setdefault((way, copied), []).append(accuracy)
    page = genlab.Report(f"Layers of {config.near} and of {config.far} for {config.target}")
    page.section("Accuracy by the number of copied layers", message(found, config))
    page.picture(curves(lines(found), x="copied (or random) layers", y=f"accuracy on {config.split} images, %"))
    page.text(
        f"Mean and standard deviation over {counted(config.seeds)}, on {len(measured):,} images; "
        f"{len(few)} labelled images of {config.target}. At 0 layers the network learns from these alone."
    )
    rows = [[way, copied, *spread(values)] for (way, copied), values in found.items()]
    page.section("All ways").table(["way", "copied layers", "accuracy, %", "(sd)"], rows)
    names = ["way", "layers", "accuracy", "sd"]
    finish(config.out, page, [dict(zip(names, row, strict=True)) for row in rows])


def labelled(train: Images, each: int, seed: int) -> Images:
    """`each` random images of every class.

    Raises:
        ValueError: a class has fewer.
    """
    rarest = int(train.labels.bincount(minlength=len(train.classes)).min())
    if each > rarest:
        raise ValueError(f"--labels must be at most {rarest:,}, the images of the rarest class, got {each:,}")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed)).to(train.device)
    mine = [order[train.labels[order] == k][:each] for k in range(len(train.classes))]
    return train.subset(torch.cat(mine))


def transfers(
    near: Images, far: Images, few: Images, measured: Images, seed: int, config: Config
) -> list[tuple[str, int, float]]:
    """(way, copied layers, accuracy in %) of everything that one seed trains."""
    found = []

    def net(data: Images, first: int = seed) -> nn.Sequential:
        torch.manual_seed(first)
        return vgg(data.shape, len(data.classes), config.width).to(data.device)

    def learn(method: Any, data: Images | Pair, images: int, title: str) -> Any:
        options = genlab.TrainOptions(images, batch=min(50, len(few)), seed=seed, schedule="cosine")
        return genlab.fit(method, Stream(data, options.batch, seed=seed), options, title=f"{seed}: {title}").eval()

    def measure(way: str, copied: int, method: Any, data: Images | Pair = few, images: int = config.images) -> None:
        trained = learn(method, data, images, f"{way}, {copied}")
        found.append((way, copied, 100 * trained.evaluate(measured)["accuracy"]))

    def transfer(way: str, copied: int, old: nn.Sequential, **how: Any) -> None:
        measure(way, copied, Transfer(net(few), old, copied, TransferConfig(lr=config.lr, **how)))

    old, other = (learn(Classifier(net(data)), data, config.source_images, data.name).net for data in (near, far))
    untrained = calibrated(net(near, 1000 + seed), near)
    most = max(config.copied)
    transfer(ALONE, 0, old)
    for copied in config.copied:
        transfer(TUNED, copied, old)
        transfer(FROZEN, copied, old, frozen=True)
        transfer(FAR[TUNED], copied, other)
        transfer(FAR[FROZEN], copied, other, frozen=True)
        transfer(RANDOM, copied, untrained, frozen=True)
    transfer(WEIGHTS, most, old, near_weights=config.near_weights, weight_decay=0.0)
    transfer(OUTPUTS, most, old, near_outputs=config.near_outputs)
    heads = net(few), nn.Linear(old[-1].in_features, len(near.classes)).to(few.device)
    measure(
        MULTITASK,
        0,
        Multitask(*heads, config.share, ClassifierConfig(lr=config.lr)),
        Pair(few, near),
        config.source_images,
    )
    measure(PROGRESSIVE, 0, Classifier(Progressive(old, net(few)), ClassifierConfig(lr=config.lr)))
    return found


@torch.no_grad()
def calibrated(net: nn.Sequential, data: Images) -> nn.Sequential:
    """`net`, whose batch norms know the statistics of `data`, in eval mode; its weights stay random."""
    for x, _ in islice(Stream(data, 100), 30):
        net.train()(x)
    return net.eval()


def message(found: Found, config: Config) -> str:
    most = max(copied for _, copied in found)
    tell = lambda way, copied=most: f"{plus_minus(found[way, copied])} %"
    return (
        f"With {config.labels} labels a class {tell(ALONE, 0)} without transfer. From the near task, {config.near}: "
        f"{tell(FROZEN)} with {most} layers copied and frozen, {tell(TUNED)} if they are trained on, "
        f"{tell(OUTPUTS)} if their outputs are held. From the far task, {config.far}: {tell(FAR[FROZEN])} frozen, "
        f"{tell(FAR[TUNED])} trained on."
    )


def lines(found: Found) -> dict[str, Any]:
    """way -> (copied layers, mean accuracy, lower and upper end of its spread)."""
    drawn: dict[str, Any] = {}
    for way in (TUNED, FROZEN, *FAR.values(), RANDOM):
        every = {0: found[ALONE, 0]} | {copied: values for (name, copied), values in found.items() if name == way}
        spreads = {copied: spread(values) for copied, values in every.items()}
        drawn[way] = tuple(zip(*((copied, mean, mean - sd, mean + sd) for copied, (mean, sd) in spreads.items())))
    return drawn


if __name__ == "__main__":
    start(main, Config)
