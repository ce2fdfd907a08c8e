"""Three ways to learn from images without being told what they show, each measured by what it is for.

Deep InfoMax and contrastive predictive coding (CPC): a linear probe of the codes, learnt on training images, against
those of untrained encoders and the pixels; and the codes in the plane, by principal components and by t-SNE (van der
Maaten & Hinton 2008). Layer-wise pre-training: a classifier from few labels, against the same network from random
weights. Disentangling: digits in three colours of ink, which the content code must not reveal, with and without the
adversary.

python recipes/representations.py                                # scikit-learn's digits, minutes on one core
python recipes/representations.py --data mnist --data-root DIR
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import AtLeastOne, Count, Length, NonEmpty, Range, Seed, Width
from genlab.data import Images, Stream
from genlab.experiment import check_all
from genlab.latent.codes import apply_batched, linear_probe, retrieval_precision, scatter
from genlab.methods.classification.classifier import Classifier
from genlab.methods.representation.cpc import CPCConfig
from genlab.methods.representation.deep_infomax import DeepInfoMaxConfig
from genlab.methods.representation.disentangle import DisentangleConfig
from genlab.methods.representation.pretraining import PreTrainingConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import picture_png
from genlab.reporting.plots import bars

INKS = {"red": (1.0, 0.3, 0.2), "green": (0.2, 0.9, 0.3), "blue": (0.3, 0.4, 1.0)}
SIZE = 16  # of the images in ink, in pixels
KNOWN = 10_000  # training images on which linear probes learn, at most
UNTRAINED = ", untrained"
CODES: dict[str, genlab.Config] = {
    "whole image": DeepInfoMaxConfig(),  # which the discriminator sees beside the code
    "patches": DeepInfoMaxConfig(weight_global=0.0, weight_local=1.0),
    "later rows (CPC)": CPCConfig(),
}
READ = {  # of the figures of disentangling: column of the table
    "style_from_content": "ink from content",
    "style_from_style": "ink from style",
    "digit_from_content": "digit from content",
    "digit_from_style": "digit from style",
    "error": "error of reconstructions",
}
IN_PLANE = ("pixels", "later rows (CPC)")  # codes that are shown in the plane


@dataclass(frozen=True)
class Config:
    """What three ways of learning without labels are good for."""

    data: str = "digits"
    """labelled images for pre-training and codes"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    sizes: Annotated[tuple[Width, ...], AtLeastOne()] = (256, 256, 128)
    """units of the layers that are pre-trained"""
    ink: str = "glyphs"
    """labelled images of white strokes, which are put in ink for disentangling"""
    labels: NonEmpty[Count] = (2, 5, 10)
    """labelled images per class of the classifiers"""
    plane: Annotated[int, Range(11, 10**5)] = 400
    """test images whose codes are shown in the plane, at most"""
    images: Length = 60_000
    """length of every training"""
    out: Path = Path("runs/representations")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of every training"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    training: dict[str, Any] = {"images": config.images, "seed": config.seed}
    pretraining = genlab.Experiment(pretraining_config(config), data, **training)
    codes = {name: genlab.Experiment(method, data, **training) for name, method in CODES.items()}
    check_all([pretraining, *codes.values()])
    grey = genlab.DataOptions(config.ink, size=SIZE, channels=1, data_root=config.data_root)
    images = [in_ink(grey.load(split, option="ink")) for split in ("train", "test")]
    page = genlab.Report("Representations")
    probes, planes = linear_probes(page, codes, config)
    few = few_labels(page, pretraining, config)
    inks = content_and_ink(page, config, *images)
    results = {"few labels": few, "codes": probes, "planes": planes, "disentangling": inks}
    finish(config.out, page, results)


def pretraining_config(config: Config) -> PreTrainingConfig:
    """A fifth of the training for each layer, the rest for all of them together."""
    per_layer = max(1, config.images // 5)
    return PreTrainingConfig(config.sizes, activation="sigmoid", code_activation="sigmoid", images_per_layer=per_layer)


def few_labels(page: genlab.Report, pretraining: genlab.Experiment, config: Config) -> list[dict[str, Any]]:
    """The accuracy of classifiers from few labels, by how their weights began."""
    known, test = pretraining.data.load("train"), pretraining.data.load("test")
    starts: dict[str, Any] = {
        "pre-trained": pretraining.run(config.out / "pretraining", pictures=1),
        "random": pretraining.method.build(known.shape, 0),
    }
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine")
    header = ["labels per class", "initial weights", "accuracy"]
    rows = []
    for n in config.labels:
        few = first_of_each_class(known, n)
        for name, layers in starts.items():
            classifier = Classifier(layers.classifier(len(known.classes)).requires_grad_(True)).to(known.device)
            genlab.fit(classifier, Stream(few, 50), options, title=f"{name}, {n} labels")
            rows.append([n, name, classifier.evaluate(test)["accuracy"]])
    page.section("Layer-wise pre-training: few labels").table(header, rows)
    return records(header, rows)


def first_of_each_class(images: Images, n: int) -> Images:
    classes = range(len(images.classes))
    return images.subset(torch.cat([(images.labels == label).nonzero()[:n, 0] for label in classes]))


def linear_probes(page: genlab.Report, plan: dict[str, genlab.Experiment], config: Config) -> tuple[Any, Any]:
    """What can be read, linearly and by image search, from the codes that each objective teaches, from those of the
    encoders before training, and from the pixels; and by image search in the plane."""
    data = next(iter(plan.values())).data
    train, test = data.load("train").subset(slice(0, KNOWN)), data.load("test")
    encoders: dict[str, Any] = {"pixels": partial(torch.flatten, start_dim=1)}
    planes: dict[tuple[str, str], Tensor] = {}
    for name, experiment in plan.items():
        trained: Any = experiment.run(config.out / f"codes-{name.split()[0]}", pictures=1)
        encoders |= {name + UNTRAINED: trained.untrained, name: trained.encoder}
    labels, rows = torch.cat([train.labels, test.labels]), []
    for name, encode in encoders.items():
        codes = [apply_batched(encode, images).float() for images in (train, test)]
        probe = linear_probe(torch.cat(codes), labels, len(train) / len(labels))
        search = retrieval_precision(codes[1], test.labels)
        rows.append({"codes": name, "linear probe": 100 * probe, "image search": 100 * search})
        planes |= {(name, way): plane for way, plane in in_the_plane(codes[1], name, config).items()}
    read = {row["codes"]: row["linear probe"] for row in rows}
    page.section(
        "Deep InfoMax and contrastive predictive coding",
        "Digits that a linear classifier reads from codes that tell an image from others by its "
        + ", ".join(f"{name}, {read[name]:.1f} % (untrained {read[name + UNTRAINED]:.1f})" for name in plan)
        + f"; from the pixels {read['pixels']:.1f} %.",
    )
    page.picture(bars({name: [value] for name, value in read.items()}, x="accuracy of a linear probe, %"))
    page.text("Image search: share of the ten nearest test images, by their codes, that show the same digit, %.")
    page.table(list(rows[0]), map(dict.values, rows))
    kept = {}
    for (name, way), plane in planes.items():
        known = test.labels[: len(plane)]
        kept[f"{name}, {way}"] = [100 * retrieval_precision(plane, known)]
        page.picture(scatter(plane, known, test.classes), f"{name}: {way} of {len(plane)} test images")
    page.picture(bars(kept, x="ten nearest in the plane that show the same digit, %"))
    return rows, [{"plane": name, "image search": value} for name, (value,) in kept.items()]


def in_the_plane(codes: Tensor, name: str, config: Config) -> dict[str, Tensor]:
    """Codes (N, k) in the plane, (N, 2), by two methods of scikit-learn; none of codes that are not IN_PLANE."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if name not in IN_PLANE:
        return {}
    x = codes[: config.plane].double().cpu().numpy()
    ways = {"principal components": PCA(2), "t-SNE": TSNE(2, perplexity=min(30, len(x) / 4), random_state=config.seed)}
    return {way: torch.from_numpy(found.fit_transform(x)) for way, found in ways.items()}


def content_and_ink(page: genlab.Report, config: Config, train: Images, test: Images) -> list[dict[str, Any]]:
    """What linear probes read of ink and digit from the content code and the style code."""
    options = genlab.TrainOptions(config.images, seed=config.seed)
    rows: list[dict[str, Any]] = []
    pictures: dict[str, bytes] = {}
    for name, weight in {"with": 0.05, "without": 0.0}.items():
        torch.manual_seed(config.seed)
        method = DisentangleConfig(weight=weight).build(train.shape, len(INKS)).to(train.device)
        genlab.fit(method, Stream(train, 64), options, title=f"{name} adversary")
        rows.append({"adversary": name, **method.evaluate(test)})
        pictures[name] = picture_png(method.pictures(test)["exchanged"])
    with_it, without = (row["style_from_content"] for row in rows)
    page.section(
        "Content and ink",
        f"From the code of the content a linear probe reads the ink of {with_it:.0%} of the digits with the adversary, "
        f"{without:.0%} without it; the commonest ink has {rows[0]['chance']:.0%}.",
    )
    for name, picture in pictures.items():
        page.picture(picture, f"{name} the adversary: a row per content, a column per ink")
    page.table(
        ["adversary", *READ.values()], ([row["adversary"], *(row.get(figure) for figure in READ)] for row in rows)
    )
    return rows


def in_ink(grey: Images) -> Images:
    """The images, each in one of three inks; the label is the ink, the digit a known factor."""
    ink = torch.randint(len(INKS), (len(grey),), generator=torch.Generator().manual_seed(1)).to(grey.device)
    colours = torch.tensor(list(INKS.values()), device=grey.device)[ink][:, :, None, None]
    pixels = (grey.pixels * colours).round().byte()
    return replace(grey, pixels=pixels, labels=ink, classes=tuple(INKS), factors={"digit": grey.labels})


if __name__ == "__main__":
    start(main, Config)
