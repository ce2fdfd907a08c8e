"""A classifier that is right for the wrong reason: the background's colour tells the class, and its saliency shows it.

python recipes/shortcut.py                                       # scikit-learn's digits, a minute on one core
python recipes/shortcut.py --data mnist --data-root DIR
"""

from __future__ import annotations

from colorsys import hsv_to_rgb
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Count, Length, Seed
from genlab.data import Images, Stream
from genlab.explain.gradients import saliency
from genlab.explain.pictures import to_images
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import picture_png

COLOURS = torch.tensor([hsv_to_rgb(k / 10, 1.0, 0.6) for k in range(10)])


@dataclass(frozen=True)
class Config:
    """Two classifiers of coloured images: in training, the colour of one's images told the class."""

    data: str = "digits"
    """labelled grey images in at most ten classes"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 60_000
    """length of each training"""
    n: Count = 100
    """held-out images"""
    out: Path = Path("runs/shortcut")
    """folder of the report"""
    seed: Seed = 0
    """of each training"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, channels=1, data_root=config.data_root)
    train, test = data.load("train"), data.load("test").subset(slice(0, config.n))
    if len(test.classes) > 10:
        raise ValueError(f"there are ten colours, but {config.data} has {len(test.classes)} classes")
    own = tinted(test, test.labels)
    other = tinted(test, (test.labels + 1) % 10)
    background = (test.x < 0.1)[:, 0]
    page = genlab.Report("A shortcut")
    page.section("Images of their class's colour, and their saliency maps")
    header = ["in training the colour told", "accuracy", "accuracy, another's colour", "saliency on the background"]
    rows = []
    for told in ("the class", "nothing"):
        net = train_classifier(train, told == "the class", config)
        maps = saliency(net, own.x, test.labels)
        accuracies = [net.evaluate(images)["accuracy"] for images in (own, other)]
        rows.append([told, *accuracies, share(maps, background)])
        rows_shown = {"images": own.x[:10], "saliency": to_images(maps[:10]).expand(-1, 3, -1, -1)}
        page.picture(picture_png(in_rows(rows_shown)), f"in training the colour told {told}")
    page.section("What the network looks at").table(header, rows)
    (_, own_colour, wrong_colour, seen), (_, _, unimpressed, unseen) = rows
    page.opening(
        f"A network to which the colour of the background told the class is right on {own_colour:.0%} of the images of "
        f"the same colours and on {wrong_colour:.0%} if they have another's, one to which it told nothing on "
        f"{unimpressed:.0%}. Of their saliency {seen:.0%} and {unseen:.0%} lie on the background, which is "
        f"{float(background.float().mean()):.0%} of the pixels."
    )
    finish(config.out, page, records(header, rows))


def train_classifier(train: Images, colour_tells: bool, config: Config) -> Classifier:
    """A CNN that saw every image on the colour of its class, or on a random one."""
    torch.manual_seed(config.seed)
    net = ClassifierConfig().build((3, *train.shape[1:]), len(train.classes)).to(train.device)
    assert isinstance(net, Classifier)
    colours = train.labels if colour_tells else torch.randint_like(train.labels, 10)
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine", warmup=0.1)
    title = "the colour tells the class" if colour_tells else "the colour is random"
    genlab.fit(net, Stream(tinted(train, colours), 64, seed=config.seed), options, title=title)
    return net


def tinted(images: Images, colours: Tensor) -> Images:
    """White strokes on a background of one of the COLOURS per image, given by their numbers (N,)."""
    background = COLOURS.to(images.device)[colours][:, :, None, None]
    x = torch.lerp(background, torch.ones_like(images.x[:1]), images.x)
    return Images((x * 255).round().byte(), images.labels, images.classes, f"{images.name}, tinted")


def share(maps: Tensor, where: Tensor) -> float:
    """The mean share of the maps (N, H, W) that lies on the pixels `where` (N, H, W) is true."""
    inside = (maps * where).flatten(1).sum(1)
    return float((inside / maps.flatten(1).sum(1).clamp(min=1e-12)).mean())


if __name__ == "__main__":
    start(main, Config)
