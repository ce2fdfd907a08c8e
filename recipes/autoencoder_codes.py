"""What a few numbers keep of an image: auto-encoders, deep and linear, against principal components and NMF.

python recipes/autoencoder_codes.py                                   # scikit-learn's digits, a minute on one core
python recipes/autoencoder_codes.py --data mnist --data-root DIR --code 30 --hidden 1000 500 250 --images 900000
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Length, Seed, Weight, Width
from genlab.latent.baselines import nmf, pca
from genlab.latent.codes import apply_batched, nearest_image_error, retrieval_precision, scatter, squared_error
from genlab.methods.representation.autoencoder import AutoEncoderConfig
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """Reconstruction, image search, and the plane of two-dimensional codes."""

    data: str = "digits"
    data_root: Path | None = None  # where downloaded sets lie
    code: Width = 8  # dimensions of the codes that are compared
    hidden: tuple[Width, ...] = (256, 128)  # units of the deep encoders' layers before the code
    images: Length = 150_000  # length of every training
    l2: Weight = 0.1  # weight of the code's squared length, where it is penalised
    out: Path = Path("runs/autoencoder-codes")
    seed: Seed = 0


def main(config: Config) -> None:
    data, k = genlab.DataOptions(config.data, data_root=config.data_root), config.code
    known, test, page = data.load("train"), data.load("test"), genlab.Report(f"Codes of {config.data}")
    x, train = test.x[:16], genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine")

    def learn(name: str, **options: Any) -> Any:
        return genlab.Experiment(AutoEncoderConfig(**options), data, **vars(train)).run(config.out / name, pictures=1)

    baselines = {"PCA": pca(known, k), "NMF": nmf(known.subset(slice(0, 10_000)), k)}
    deep = learn("deep", hidden=config.hidden, code=k)
    models = {"deep": deep, "linear": learn("linear", hidden=(), code=k, error="linear", lr=3e-3), **baselines}
    rows = [["pixels", 0.0, 0.0, retrieval_precision(test.x, test.labels)]]
    for name, model in models.items():
        errors = (squared_error(model.reconstruct, images) for images in (known, test))
        rows.append([name, *errors, retrieval_precision(apply_batched(model.code, test), test.labels)])
    page.section(f"Codes of {k} numbers", f"Rows: held-out images; then as remade by {', '.join(models)}.")
    page.picture(grid_png(torch.cat([x, *(model.reconstruct(x) for model in models.values())]), len(x)))
    page.text("Mean squared error per pixel; search: the share of the 10 nearest codes that are of the same class.")
    page.table(header := ["code", "error, training images", "error, held out", "search"], rows)
    page.section("Components", "Those of PCA are signed, grey is zero; those of NMF are parts, black is zero.")
    page.picture(grid_png(models["PCA"].pictures()), "PCA").picture(grid_png(models["NMF"].pictures()), "NMF")

    planes = []
    for name, weight in {"free": 0.0, "short": config.l2}.items():
        model = learn(name, hidden=config.hidden, code=2, l2=weight)
        grid = model.decode(model.square(code := apply_batched(model.code, test)))
        errors = squared_error(model.reconstruct, test), nearest_image_error(grid, test)
        planes.append([weight, *errors, retrieval_precision(code, test.labels)])
        page.section(f"Two numbers, weight {weight:g} on their squares", "The codes; pictures of a square around 0.")
        page.picture(scatter(code, test.labels, test.classes)).picture(grid_png(grid, tile=28))
    page.text("Gaps: mean squared error per pixel of the square's pictures beside the held-out images nearest to them.")
    page.table(about := ["weight", "error, held out", "gaps", "search"], planes)
    found = {"codes": [dict(zip(header, row)) for row in rows], "planes": [dict(zip(about, row)) for row in planes]}
    print(text := json.dumps(found, indent=1))
    write_atomically(config.out / "results.json", text.encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
