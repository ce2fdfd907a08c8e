"""Several labels of one picture as a conditional GAN: does a discriminator of label sets teach which go together?

A picture shows two to four different digits under noise; the answer is which. Classifiers learn from the cross-entropy
of every label alone, or from a discriminator, too: of pairs (picture, set of labels), as in Tsai & Lee 2018,
arXiv:1811.04689 (departure: cross-entropy and R1, not WGAN-GP), or of the sets alone. In one data set the digits of a
picture are one of a few groups, so that labels depend on each other; in the other any digits meet. Noise and the
adversarial weight were chosen on validation images (--split validation), seed 10.

python recipes/several_labels.py                                 # scikit-learn's digits, minutes on one core
python recipes/several_labels.py --data mnist --data-root DIR --size 14 --images 200000
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, LearningRate, Length, Seeds, Side, Weight, Width
from genlab.data import Images, Stream
from genlab.methods.gan.losses import OBJECTIVES, zero_centred_penalty
from genlab.nets.dcgan import Encoder
from genlab.nets.mlp import MLP, MLPCritic
from genlab.reporting.finish import finish
from genlab.reporting.labelled import labelled_grid_png
from genlab.reporting.plots import bars
from genlab.reporting.spread import over_seeds, plus_minus
from genlab.training.optim import adam

TILES = 4  # places for digits in a picture
WAYS = {  # whether there is a discriminator, and whether it sees the picture, too
    "every label alone": (False, False),
    "pairs of picture and set, too": (True, True),
    "sets, too": (True, False),
}
FIGURES = ["F1", "all labels right", "a set that exists"]
HEADER = ["digits of a picture", "network", "learns from"]
EXAMPLES = 12  # pictures that are shown of each data set


@dataclass(frozen=True)
class Config:
    """Which digits does a picture show? F1 of labels, and the share of pictures whose labels are all right."""

    data: str = "digits"
    """labelled images, the tiles of the pictures"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = None
    """height and width of a tile in pixels; none: the set's own"""
    groups: Count = 12
    """sets of digits that occur where labels depend on each other"""
    noise: Weight = 0.3
    """standard deviation of the pixels' noise"""
    pictures: Count = 2_000
    """different pictures in training"""
    images: Length = 30_000
    """length of every training"""
    measured: Count = 2_000
    """pictures of which the answers are counted"""
    width: Width = 16
    """channels of the networks' finest level"""
    adversarial: Weight = 0.1
    """weight of the adversarial loss beside the cross-entropy"""
    lr: LearningRate = 1e-3
    """learning rate"""
    split: Literal["test", "validation"] = "test"
    """images of which the measured pictures are made"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/several-labels")
    """folder of the report"""


class LabelGAN(genlab.Method):
    """classifier: x (N, C, H, W) -> logits (N, L) of the labels;  discriminator: of pictures and label sets -> (N,).

    sets: bool (K, L), the labels that a picture of class k has. weight: of the adversarial loss; 0: none.
    """

    def __init__(self, classifier: nn.Module, discriminator: nn.Module, sets: Tensor, weight: float, lr: float):
        super().__init__()
        self.classifier, self.discriminator, self.weight, self.lr = classifier, discriminator, weight, lr
        self.register_buffer("sets", sets.float())
        self.objective = OBJECTIVES["nonsaturating"]

    def optimizers(self):
        nets = {"classifier": self.classifier, "discriminator": self.discriminator}
        return {name: adam(net, lr=self.lr) for name, net in nets.items()}

    def step(self, data: Any, update: Any) -> dict[str, Tensor]:
        x, y = next(data)
        real, logits = self.sets[y], self.classifier(x)
        loss = binary_cross_entropy_with_logits(logits, real)
        if not self.weight:
            update("classifier", loss)
            return {"cross-entropy": loss}
        fake = logits.sigmoid()
        judge = lambda labels: self.discriminator(x, labels)
        discriminator = self.objective.discriminator(judge(real), judge(fake.detach()))
        update("discriminator", discriminator + zero_centred_penalty(judge, real))
        adversarial = self.objective.generator(judge(fake))
        update("classifier", loss + self.weight * adversarial)
        return {"cross-entropy": loss, "adversarial": adversarial, "discriminator": discriminator}


class Discriminator(nn.Module):
    """x (N, *shape), labels (N, L) in [0, 1] -> score (N,); of the labels alone unless `sees`."""

    def __init__(self, shape: tuple[int, int, int], labels: int, width: int, sees: bool, features: int = 64):
        super().__init__()
        self.eye = Encoder(shape, features, width, nn.Identity) if sees else None
        self.judge = MLPCritic(features * sees + labels, 4 * features)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.judge(torch.cat([self.eye(x), labels], 1) if self.eye else labels)


Found = dict[tuple[str, str, str], list[dict[str, float]]]  # (digits, network, loss) -> FIGURES of every seed


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, 1, config.data_root, hold_out=True)
    train, test = data.load("train"), data.load(config.split)
    found: Found = {}
    shown: list[bytes] = []
    for kind, sets in label_sets(len(train.classes), config.groups).items():
        held_out = pictures(test, sets, config.measured, config.noise, seed=1)
        for seed in config.seeds:
            known = pictures(train, sets, config.pictures, config.noise, seed=1_000 + seed)
            answers = {}
            for network in ("CNN", "MLP"):
                for way in WAYS:
                    answers[network, way] = answer(fitted(network, way, known, sets, seed, config), held_out)
                    row = measured(answers[network, way], held_out.labels, sets)
                    found.setdefault((kind, network, way), []).append(row)
        shown.append(examples(held_out, sets, train.classes, [answers["CNN", way] for way in WAYS]))

    page = genlab.Report(f"Several labels of one picture, {config.data}").text(verdict(found))
    f1 = {", ".join(key): [row["F1"] for row in rows] for key, rows in found.items()}
    page.picture(bars(f1, x="F1 of the labels"))
    page.section(
        "Pictures",
        f"Below each the true labels, and the CNN's (seed {config.seeds[-1]}) that learnt from {'; from '.join(WAYS)}. "
        "First pictures of groups, then of any digits.",
    )
    for picture in shown:
        page.picture(picture)
    page.section("Measures", f"{config.measured:,} {config.split} pictures, seeds {', '.join(map(str, config.seeds))}.")
    cells = {key: [plus_minus((row[name] for row in rows), ".3f") for name in FIGURES] for key, rows in found.items()}
    page.table([*HEADER, *FIGURES], [[*key, *row] for key, row in cells.items()])
    finish(config.out, page, [dict(zip(HEADER, key)) | over_seeds(rows, FIGURES) for key, rows in found.items()])


def label_sets(labels: int, groups: int) -> dict[str, Tensor]:
    """Which labels meet in a picture, bool (K, labels): `groups` sets of two to four, at random, or all such sets."""
    every = [chosen for size in range(2, TILES + 1) for chosen in combinations(range(labels), size)]
    table = torch.zeros(len(every), labels, dtype=torch.bool)
    for row, chosen in zip(table, every):
        row[list(chosen)] = True
    some = torch.randperm(len(table), generator=torch.Generator().manual_seed(0))[:groups]
    return {f"{len(some)} groups": table[some], "any": table}


def pictures(images: Images, sets: Tensor, n: int, noise: float, seed: int) -> Images:
    """n pictures of 2 x 2 tiles, some empty, with Gaussian noise; the label is the set of classes that are shown."""
    g = torch.Generator().manual_seed(seed)
    kinds = torch.randint(len(sets), (n,), generator=g)
    where = [(images.labels == label).nonzero()[:, 0] for label in range(len(images.classes))]
    x, tiles = images.x, torch.zeros(n, TILES, *images.shape)
    for i, kind in enumerate(kinds):
        chosen = sets[kind].nonzero()[:, 0].tolist()
        places = torch.randperm(TILES, generator=g)[: len(chosen)]
        which = [where[label][torch.randint(len(where[label]), (), generator=g)] for label in chosen]
        tiles[i, places] = x[torch.stack(which)]
    c, h, w = images.shape
    x = tiles.view(n, 2, 2, c, h, w).permute(0, 3, 1, 4, 2, 5).reshape(n, c, 2 * h, 2 * w)
    x = (x + noise * torch.randn(x.shape, generator=g)).clamp(0, 1)
    return Images((x * 255).round().byte(), kinds, tuple(map(str, range(len(sets)))), f"several {images.name}")


def fitted(network: str, way: str, known: Images, sets: Tensor, seed: int, config: Config) -> Any:
    torch.manual_seed(seed)
    shape, labels, (adversarial, sees) = known.shape, sets.shape[1], WAYS[way]
    classifiers = {
        "CNN": lambda: Encoder(shape, labels, config.width),
        "MLP": lambda: nn.Sequential(nn.Flatten(), MLP(math.prod(shape), 256, labels)),
    }
    discriminator = Discriminator(shape, labels, config.width, sees)
    weight = config.adversarial if adversarial else 0.0
    method = LabelGAN(classifiers[network](), discriminator, sets, weight, config.lr)
    options = genlab.TrainOptions(config.images, batch=32, seed=seed, schedule="cosine")
    title = f"{seed}: {network}, {len(sets)} sets, {way}"
    return genlab.fit(method, Stream(known, options.batch, seed=seed), options, title=title).eval()


@torch.no_grad()
def answer(method: Any, held_out: Images) -> Tensor:
    """The labels that a classifier gives to pictures, bool (N, L)."""
    return method.classifier(held_out.x) > 0


def measured(given: Tensor, kinds: Tensor, sets: Tensor) -> dict[str, float]:
    """FIGURES of the labels `given`, bool (N, L), where sets[kinds] are true. F1 counts all labels of all pictures."""
    true = sets[kinds]
    return {
        "F1": float(2 * (given & true).sum() / (given.sum() + true.sum())),
        "all labels right": float((given == true).all(1).double().mean()),
        "a set that exists": float((given[:, None] == sets).all(2).any(1).double().mean()),
    }


def examples(held_out: Images, sets: Tensor, classes: Sequence[str], answers: Sequence[Tensor]) -> bytes:
    """A PNG of EXAMPLES pictures; below each its true labels and the answers."""
    name = lambda labels: " ".join(classes[i] for i in labels.nonzero()[:, 0])
    true = sets[held_out.labels[:EXAMPLES]]
    captions = ["\n".join(map(name, of_one)) for of_one in zip(true, *answers)]
    return labelled_grid_png(held_out.x[:EXAMPLES], EXAMPLES // 2, captions=captions, tile=112)


def verdict(found: Found) -> str:
    """What the discriminators change in F1."""
    alone, *others = WAYS
    f1 = {key: mean(row["F1"] for row in rows) for key, rows in found.items()}
    changes = {key: 100 * (value - f1[*key[:2], alone]) for key, value in f1.items() if key[2] in others}
    least, most = min(changes, key=changes.__getitem__), max(changes, key=changes.__getitem__)
    named = lambda key: f"{changes[key]:+.1f} ({', '.join(key).removesuffix(', too')})"
    return f"A discriminator changes the F1 of the labels by {named(least)} to {named(most)} points."


if __name__ == "__main__":
    start(main, Config)
