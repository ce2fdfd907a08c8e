"""Low-dimensional codes of images: deep and linear auto-encoders against principal components (PCA) and NMF.

Compared by reconstruction error and image retrieval. Then auto-encoders with two-dimensional codes, with and without a
penalty on the code's length: the codes in the plane, and the images decoded from a square around the origin.

python recipes/autoencoder_codes.py                                   # scikit-learn's digits, a minute on one core
python recipes/autoencoder_codes.py --data mnist --data-root DIR --code 30 --hidden 1000 500 250 --images 900000
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import genlab
from genlab.cli.main import start
from genlab.core.picture import in_rows
from genlab.core.ranges import Length, Seed, Weight, Width
from genlab.core.text import listed
from genlab.data import Images
from genlab.latent.baselines import nmf, pca
from genlab.latent.codes import apply_batched, nearest_image_error, retrieval_precision, scatter, squared_error
from genlab.methods.representation.autoencoder import AutoEncoderConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.grid import grid_png
from genlab.reporting.labelled import picture_png

CODES = ["code", "error, training images", "error, held out", "retrieval precision"]
PLANES = ["penalty", "error, held out", "error of the square", "retrieval precision"]
NMF_IMAGES = 10_000  # training images that NMF is fitted on


@dataclass(frozen=True)
class Config:
    """Reconstruction, image retrieval, and the plane of two-dimensional codes."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    code: Width = 8
    """dimensions of the codes that are compared"""
    hidden: tuple[Width, ...] = (256, 128)
    """units of the deep encoders' layers before the code"""
    images: Length = 150_000
    """length of every training"""
    l2: Weight = 0.1
    """weight of the penalty on the squared length of the two-dimensional code"""
    out: Path = Path("runs/autoencoder-codes")
    """folder of the runs and the report"""
    seed: Seed = 0
    """seed of every training"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    page = genlab.Report(f"Codes of {config.data}")
    codes = compare_codes(config, data, page)
    planes = compare_planes(config, data, page)
    finish(config.out, page, {"codes": records(CODES, codes), "planes": records(PLANES, planes)})


def train(config: Config, data: genlab.DataOptions, name: str, **options: Any) -> Any:
    experiment = genlab.Experiment(AutoEncoderConfig(**options), data, images=config.images, seed=config.seed)
    return experiment.run(config.out / name, pictures=1)


def compare_codes(config: Config, data: genlab.DataOptions, page: genlab.Report) -> list[list[Any]]:
    """A row per code, under CODES."""
    known, test = data.load("train"), data.load("test")
    components = {  # first, as they refuse a code that is too long
        "PCA": pca(known, config.code),
        "NMF": nmf(known.subset(slice(0, NMF_IMAGES)), config.code),
    }
    models = {
        "deep": train(config, data, "deep", hidden=config.hidden, code=config.code),
        "linear": train(config, data, "linear", hidden=(), code=config.code, error="linear", lr=3e-3),
        **components,
    }
    rows = [["pixels", 0.0, 0.0, retrieval_precision(test.x, test.labels)]]
    rows += [[name, *judged(model, known, test)] for name, model in models.items()]

    errors = listed({row[0]: row[2] for row in rows[1:]}, ".4f")
    page.section(
        f"Codes of {config.code} numbers",
        f"Squared error per pixel of held-out images, by what makes their codes: {errors}. What they reconstruct:",
    )
    x = test.x[:16]
    drawn = {name: model.reconstruct(x) for name, model in models.items()}
    page.picture(picture_png(in_rows({"held out": x, **drawn})))
    page.text("Mean squared error per pixel; retrieval precision: the share of the 10 nearest codes of the same class.")
    page.table(CODES, rows)
    page.section("Components", "PCA's are signed, grey is zero; NMF's are not negative, black is zero.")
    for name, model in components.items():
        page.picture(grid_png(model.pictures()), name)
    return rows


def judged(model: Any, known: Images, test: Images) -> list[float]:
    """Reconstruction errors on both sets, and the retrieval precision of the code."""
    errors = [squared_error(model.reconstruct, images) for images in (known, test)]
    return [*errors, retrieval_precision(apply_batched(model.code, test), test.labels)]


def compare_planes(config: Config, data: genlab.DataOptions, page: genlab.Report) -> list[list[float]]:
    """A row per weight of the penalty, under PLANES."""
    test, rows = data.load("test"), []
    for name, weight in {"free": 0.0, "short": config.l2}.items():
        model = train(config, data, name, hidden=config.hidden, code=2, l2=weight)
        codes = apply_batched(model.code, test)
        square = model.decode(model.square(codes))
        error, distance = squared_error(model.reconstruct, test), nearest_image_error(square, test)
        rows.append([weight, error, distance, retrieval_precision(codes, test.labels)])
        page.section(
            f"Two-dimensional codes, penalty {weight:g}",
            "The codes of the held-out images; images decoded from a square.",
        )
        page.picture(scatter(codes, test.labels, test.classes)).picture(grid_png(square, tile=28))
    text = "Error of the square: mean squared error per pixel between its images and the nearest held-out images."
    page.section("The plane", text).table(PLANES, rows)
    return rows


if __name__ == "__main__":
    start(main, Config)
