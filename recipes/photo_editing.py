"""Editing in the latent space of a VAE-GAN: inversion in three ways, an attribute vector, and a constrained edit.

The user paints a bar over a digit, and the latent follows it as far as a penalty on its way allows (Zhu et al. 2016,
arXiv:1609.03552): a looser edit meets the wish better, and at last draws another digit. A classifier tells whether the
digit is kept. The edit that is reported is the loosest that keeps nine in ten on validation images. Everything is
repeated over seeds.

python recipes/photo_editing.py                                  # rendered digits, minutes on one core
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Count, LearningRate, Length, NonEmpty, Positive, Seeds, Share, Side, Steps, Width
from genlab.core.registry import choose
from genlab.core.text import counted
from genlab.data import Images
from genlab.latent.codes import apply_batched
from genlab.latent.edit import attribute_vector, edit, invert, masked_error, squared_error
from genlab.methods.classification.features import default_features
from genlab.methods.gan.vae_gan import VAEGANConfig
from genlab.metrics.features import ClassifierFeatures
from genlab.reporting.finish import finish
from genlab.reporting.labelled import labelled_grid_png, picture_png
from genlab.reporting.plots import curves
from genlab.reporting.spread import over_seeds, plus_minus, spread

REFINED = "encode, then optimise"
MULTIPLES = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of the attribute's vector
SHOWN = 8  # images in a picture
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Config:
    """Inversion, attribute vector and constrained edits of held-out images."""

    data: str = "glyphs"
    """images with a known factor"""
    size: Side = 16
    """height and width in pixels"""
    attribute: str = "thickness"
    """the factor to change; its highest and lowest quarter are the images with and without it"""
    width: Width = 16
    """channels of the networks' finest level"""
    lr: LearningRate = 1e-3
    """learning rate of the VAE-GAN"""
    images: Length = 30_000
    """length of every training"""
    classifier_images: Length | None = None
    """training length of the classifier that tells the digits; none: 60 epochs, at most 100,000"""
    n: Count = 50
    """held-out images to edit, and as many validation images"""
    steps: Steps = 100
    """descent steps per image"""
    nears: NonEmpty[Positive] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
    """weights of the penalty on the way of the latent"""
    keep: Share = 0.9
    """share of the digits that the reported edit has to keep, on validation images"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/photo-editing")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, channels=1, hold_out=True)
    train, test, validation = data.load("train"), data.load("test"), data.load("validation")
    attribute = factor(train, config)
    judge = default_features(data, images=config.classifier_images)
    held_out, chosen_on = (each.subset(slice(0, config.n)) for each in (test, validation))
    nears = sorted(config.nears, reverse=True)
    inverted: list[Rows] = []
    changed: list[Rows] = []
    edited: dict[str, list[Rows]] = {"validation": [], "test": []}
    for seed in config.seeds:
        experiment = genlab.Experiment(
            VAEGANConfig(width=config.width, lr=config.lr), data, images=config.images, batch=32, seed=seed
        )
        model: Any = experiment.run(config.out / f"vae-gan-{seed}", pictures=0)
        model.requires_grad_(False)
        torch.manual_seed(seed)
        latents = inversions(model, held_out.x, config.steps)
        inverted.append(measure_inversions(model, held_out.x, latents))
        vector = direction(model, train, attribute)
        changed.append(measure_attribute(model, judge, held_out, vector))
        for name, images in {"validation": chosen_on, "test": held_out}.items():
            edited[name].append(measure_edits(judge, images, edits(model, images.x, nears, config.steps)))

    chosen = loosest(edited["validation"], config.keep)
    page = genlab.Report(f"Editing {config.data}")
    page.section("A wish and a digit that stays", message(edited["test"], chosen, config.keep))
    page.picture(show_edits(judge, held_out, edits(model, held_out.x[:SHOWN], nears, config.steps)))
    page.picture(trade(edited["test"]))
    page.text(
        f"Under an image: what the classifier takes it for, if for another digit. Digit kept: the share of {config.n} "
        "held-out images whose class it still sees; violation: mean squared error under the bar, which is to be white. "
        f"Mean ± standard deviation over {counted(config.seeds)}; pictures of the last."
    )
    tables = {"edits": edited["test"], "inversion": inverted, "attribute": changed}
    add_table(page, edited["test"])
    page.section("Inversion", "Held-out images, and what the decoder draws of the latents that were found for them.")
    drawn = {name: model.decoder(z[:SHOWN]) for name, z in latents.items()}
    page.picture(picture_png(in_rows({"held out": held_out.x[:SHOWN], **drawn})))
    add_table(page, inverted)
    page.section(f"Attribute: {config.attribute}", "Multiples of its vector, added to the codes of held-out images.")
    moved = [model.decoder(model.encode(held_out.x[:SHOWN]) + multiple * vector) for multiple in MULTIPLES]
    page.picture(picture_png(in_rows({f"{m:+g}": image for m, image in zip(MULTIPLES, moved)})))
    add_table(page, changed)
    finish(config.out, page, {"near": chosen, **{name: rows_over_seeds(rows) for name, rows in tables.items()}})


def factor(images: Images, config: Config) -> Tensor:
    """The attribute of every image (N,).

    Raises:
        ValueError: it is no known factor of these images.
    """
    known = {name: values for name, values in images.factors.items() if values.ndim == 1 and values.is_floating_point()}
    return known[choose(config.attribute, known, f"--attribute of {config.data}")]


def inversions(model: Any, x: Tensor, steps: int) -> dict[str, Tensor]:
    """Latents of the images x, found in three ways."""
    code, random = model.encode(x), torch.randn(len(x), model.latent, device=x.device)
    return {
        "optimise z": invert(model.decoder, x, random, steps=steps),
        "encode": code,
        REFINED: invert(model.decoder, x, code, steps=steps),
    }


def measure_inversions(model: Any, x: Tensor, latents: dict[str, Tensor]) -> Rows:
    errors = {name: float(squared_error(model.decoder(z), x).mean()) for name, z in latents.items()}
    return [{"latent by": name, "mean squared error": error} for name, error in errors.items()]


def direction(model: Any, train: Images, attribute: Tensor) -> Tensor:
    """The attribute's vector: the mean of the codes of training images with it minus that of those without."""
    codes = apply_batched(model.encode, train)
    low, high = attribute.quantile(attribute.new_tensor([0.25, 0.75]))
    return attribute_vector(codes[attribute >= high], codes[attribute <= low])


def measure_attribute(model: Any, judge: ClassifierFeatures, images: Images, vector: Tensor) -> Rows:
    """Mean pixel and digits kept, by the multiple of the vector that is added."""
    codes = model.encode(images.x)
    drawn = {multiple: model.decoder(codes + multiple * vector) for multiple in MULTIPLES}
    return [
        {"vectors added": multiple, "mean pixel": float(x.mean()), "digit kept": kept(judge, x, images.labels)}
        for multiple, x in drawn.items()
    ]


def kept(judge: ClassifierFeatures, x: Tensor, labels: Tensor) -> float:
    return float((classes(judge, x) == labels).float().mean())


@torch.no_grad()
def classes(judge: ClassifierFeatures, x: Tensor) -> Tensor:
    """The class (N,) that the judge sees in each image."""
    return judge.logits(judge(x)).argmax(1)


def bar(x: Tensor) -> Tensor:
    """What the user paints: a horizontal bar in the middle, 1 where it is, (C, H, W)."""
    size = x.shape[2]
    painted = torch.zeros_like(x[0])
    painted[:, size // 2 - 1 : size // 2 + 1, size // 4 : -size // 4] = 1
    return painted


def edits(model: Any, x: Tensor, nears: Sequence[float], steps: int) -> dict[float | None, tuple[Tensor, Tensor]]:
    """Images and latents after the edit by each weight of the penalty; none: before it."""
    z0 = invert(model.decoder, x, model.encode(x), steps=steps)
    constraint = masked_error(torch.ones_like(x[0]), bar(x))
    found: dict[float | None, tuple[Tensor, Tensor]] = {None: (model.decoder(z0), z0)}
    for near in nears:
        z = edit(model.decoder, model.realism, constraint, z0, near=near, steps=steps)
        found[near] = model.decoder(z), z
    return found


def measure_edits(judge: ClassifierFeatures, images: Images, found: dict[float | None, tuple[Tensor, Tensor]]) -> Rows:
    constraint, z0 = masked_error(torch.ones_like(images.x[0]), bar(images.x)), found[None][1]
    return [
        {
            "near": "before" if near is None else near,
            "violation": float(constraint(x).mean()),
            "digit kept": kept(judge, x, images.labels),
            "distance in z": float((z - z0).norm(dim=1).mean()),
        }
        for near, (x, z) in found.items()
    ]


def loosest(runs: Sequence[Rows], keep: float) -> float | None:
    """The smallest penalty whose edits keep this share of the digits, on average; none: not even the largest."""
    found = None
    for rows in zip(*runs):
        if rows[0]["near"] != "before" and mean(row["digit kept"] for row in rows) >= keep:
            found = rows[0]["near"]
    return found


def message(runs: Sequence[Rows], chosen: float | None, keep: float) -> str:
    means = lambda rows: [mean(row[name] for row in rows) for name in ("violation", "digit kept")]
    of = {rows[0]["near"]: means(rows) for rows in zip(*runs)}
    last = min(near for near in of if near != "before")
    sentence = (
        f"The loosest edit brings the violation of the wish from {of['before'][0]:.2f} to {of[last][0]:.2f} and keeps "
        f"{of[last][1]:.0%} of the digits"
    )
    if chosen is None:
        return f"{sentence}; no edit kept {keep:.0%} of the validation images."
    return (
        f"{sentence}; that of weight {chosen:g}, chosen on validation images, brings it to {of[chosen][0]:.2f} and "
        f"keeps {of[chosen][1]:.0%}."
    )


def show_edits(judge: ClassifierFeatures, images: Images, found: dict[float | None, tuple[Tensor, Tensor]]) -> bytes:
    """Rows: images, what is painted, and the edits, with the digit that they have become."""
    x, labels = images.x[:SHOWN], images.labels[:SHOWN]
    rows = {"images": x, "painted": torch.maximum(x, bar(x))}
    rows |= {"inverted" if near is None else f"near {near:g}": image for near, (image, _) in found.items()}
    captions = ["" for _ in range(2 * len(x))]
    for image, _ in found.values():
        seen = classes(judge, image)
        names = [(images.classes[b], images.classes[a]) for a, b in zip(seen.tolist(), labels.tolist())]
        captions += ["" if was == now else f"{was} → {now}" for was, now in names]
    return labelled_grid_png(torch.cat(list(rows.values())), len(x), rows=tuple(rows), captions=captions)


def trade(runs: Sequence[Rows]) -> bytes:
    """Violation and digits kept against the weight."""
    lines = {}
    for name in ("digit kept", "violation"):
        rows = [rows for rows in zip(*runs) if rows[0]["near"] != "before"]
        bands = [spread(row[name] for row in each) for each in rows]
        weights = [each[0]["near"] for each in rows]
        lines[name] = (weights, *([m + sign * s for m, s in bands] for sign in (0, -1, 1)))
    return curves(lines, x="weight of the penalty on the way of the latent", y="share, or squared error", log_x=True)


def add_table(page: genlab.Report, runs: Sequence[Rows]) -> None:
    first, *figures = runs[0][0]
    cells = ([plus_minus((row[name] for row in rows), ".3g") for name in figures] for rows in zip(*runs))
    page.table([first, *figures], ([row[first], *each] for row, each in zip(runs[0], cells)))


def rows_over_seeds(runs: Sequence[Rows]) -> Rows:
    """The rows with the mean and the standard deviation of every figure."""
    first, *figures = runs[0][0]
    return [{first: rows[0][first]} | over_seeds(rows, figures) for rows in zip(*runs)]


if __name__ == "__main__":
    start(main, Config)
