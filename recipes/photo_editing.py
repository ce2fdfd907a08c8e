"""Editing in the latent space of a VAE-GAN: inversion in three ways, an attribute vector, a constrained edit.

python recipes/photo_editing.py                                  # rendered digits, minutes on one core
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Count, Length, Seed, Side, Steps
from genlab.core.registry import choose
from genlab.data import Images
from genlab.latent.edit import attribute_vector, edit, invert, masked_error, squared_error
from genlab.methods.gan.vae_gan import VAEGANConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.labelled import picture_png

REFINED = "encode, then optimise"


@dataclass(frozen=True)
class Config:
    """Inversion, attribute vector and constrained edit on held-out images."""

    data: str = "glyphs"
    """images with a known factor"""
    size: Side = 16
    """height and width in pixels"""
    attribute: str = "thickness"
    """the factor to change; its highest and lowest quarter are the images with and without it"""
    images: Length = 60_000
    """length of training"""
    n: Count = 12
    """held-out images to edit"""
    steps: Steps = 200
    """descent steps per image"""
    out: Path = Path("runs/photo-editing")
    """folder of the run and the report"""
    seed: Seed = 0
    """of the training and of the random latents"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, channels=1)
    test = data.load("test")
    attribute = factor(test, config)
    training = {"images": config.images, "batch": 32, "seed": config.seed}
    model: Any = genlab.Experiment(VAEGANConfig(), data, **training).run(config.out / "vae-gan", pictures=2)
    model.requires_grad_(False)
    torch.manual_seed(config.seed)
    page = genlab.Report(f"Editing {config.data}")
    x = test.x[: config.n]
    latents = inverted(model, x, config.steps)
    results = {
        "inversion": inversion(page, model, x, latents),
        "attribute": attribute_edit(page, model, x, test, attribute, config),
        "edits": constrained_edit(page, model, x, latents[REFINED], config.steps),
    }
    finish(config.out, page, results)


def factor(test: Images, config: Config) -> Tensor:
    """The attribute of every test image (N,).

    Raises:
        ValueError: it is no known factor of these images.
    """
    known = {name: values for name, values in test.factors.items() if values.ndim == 1 and values.is_floating_point()}
    return known[choose(config.attribute, known, f"--attribute of {config.data}")]


def inverted(model: Any, x: Tensor, steps: int) -> dict[str, Tensor]:
    """Latents of the images x, found in three ways."""
    code, random = model.encode(x), torch.randn(len(x), model.latent, device=x.device)
    return {
        "optimise z": invert(model.decoder, x, random, steps=steps),
        "encode": code,
        REFINED: invert(model.decoder, x, code, steps=steps),
    }


def inversion(page: genlab.Report, model: Any, x: Tensor, latents: dict[str, Tensor]) -> list[dict[str, Any]]:
    """How well each way of finding the latent reconstructs the images."""
    drawn = {name: model.decoder(z) for name, z in latents.items()}
    page.section("Inversion", "Held-out images, and what the decoder draws of the latents found for them.")
    page.picture(picture_png(in_rows({"held out": x, **drawn})))
    header = ["latent by", "mean squared error"]
    rows = [(name, float(squared_error(image, x).mean())) for name, image in drawn.items()]
    page.table(header, rows)
    return records(header, rows)


def attribute_edit(
    page: genlab.Report, model: Any, x: Tensor, test: Images, attribute: Tensor, config: Config
) -> list[dict[str, float]]:
    """Adds multiples of the attribute vector: the mean of the codes with the attribute minus that without it."""
    codes = model.encode(test.x)
    low, high = attribute.quantile(attribute.new_tensor([0.25, 0.75]))
    vector = attribute_vector(codes[attribute >= high], codes[attribute <= low])
    edited = {multiple: model.decoder(codes[: len(x)] + multiple * vector) for multiple in (-1.0, -0.5, 0.0, 0.5, 1.0)}
    page.section(f"Attribute: {config.attribute}", "Multiples of its vector, added to the codes of held-out images.")
    page.picture(picture_png(in_rows({f"{multiple:+g}": image for multiple, image in edited.items()})))

    header = ["vectors added", "vectors read back by the encoder"]
    rows = [(multiple, multiples_read(model, image, edited[0.0], vector)) for multiple, image in edited.items()]
    page.table(header, rows)
    return records(header, rows)


def multiples_read(model: Any, x: Tensor, reference: Tensor, vector: Tensor) -> float:
    """How far the codes of x lie from those of `reference` along the vector, in its lengths; mean over images."""
    moved = model.encode(x) - model.encode(reference)
    return float((moved @ vector / vector.square().sum()).mean())


def constrained_edit(page: genlab.Report, model: Any, x: Tensor, z0: Tensor, steps: int) -> list[dict[str, Any]]:
    """The user paints a white bar; the edit follows it as far as the latent may move."""
    size = x.shape[2]
    bar, white = torch.zeros_like(x[0]), torch.ones_like(x[0])
    bar[:, size // 2 - 1 : size // 2 + 1, size // 4 : -size // 4] = 1
    constraint = masked_error(white, bar)
    latents = {"before": z0}
    for near in (0.1, 0.03, 0.01):
        latents[f"near {near}"] = edit(model.decoder, model.realism, constraint, z0, near=near, steps=steps)
    drawn = {name: model.decoder(z) for name, z in latents.items()}
    page.section(
        "Constrained edit", "A white bar is painted over the images; the latent may follow it more or less far."
    )
    page.picture(picture_png(in_rows({"images": x, "painted": torch.maximum(x, bar), **drawn})))
    header = ["edit", "violation of the constraint", "distance in z"]
    rows = [
        (name, float(constraint(drawn[name]).mean()), float((z - z0).norm(dim=1).mean())) for name, z in latents.items()
    ]
    page.table(header, rows)
    return records(header, rows)


if __name__ == "__main__":
    start(main, Config)
