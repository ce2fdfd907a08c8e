"""Editing in the latent space of a VAE-GAN: find the latent of a picture in three ways, change an attribute, paint.

python recipes/photo_editing.py                                  # rendered digits, minutes on one core
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, Seed, Side, Steps
from genlab.core.registry import choose
from genlab.latent.edit import attribute_vector, edit, invert, masked_error, squared_error
from genlab.methods.gan.vae_gan import VAEGANConfig
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    """Inversion, attribute vector and constrained edit on held-out pictures."""

    data: str = "glyphs"
    """images with a known factor"""
    size: Side = 16
    """height and width in pixels"""
    attribute: str = "thickness"
    """the factor to change; its highest and lowest quarter are the images with and without it"""
    images: Length = 60_000
    """length of training"""
    n: Count = 12
    """held-out pictures to edit"""
    steps: Steps = 200
    """descent steps per picture"""
    out: Path = Path("runs/photo-editing")
    """folder of the run and the report"""
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, channels=1)
    test, page = data.load("test"), genlab.Report(f"Editing {config.data}")
    factors = {name: values for name, values in test.factors.items() if values.ndim == 1 and values.is_floating_point()}
    factor = factors[choose(config.attribute, factors, f"--attribute of {config.data}")]
    train = genlab.TrainOptions(config.images, batch=32, seed=config.seed)
    model: Any = genlab.Experiment(VAEGANConfig(), data, **vars(train)).run(config.out / "vae-gan", pictures=2)
    model.requires_grad_(False)
    n, x, draw = config.n, test.x[: config.n], model.decoder
    torch.manual_seed(config.seed)

    code, random = model.encode(x), torch.randn(n, model.latent, device=test.device)
    found = {"optimise z": (random, config.steps), "encode": (code, 0), "encode, then optimise": (code, config.steps)}
    codes = {name: invert(draw, x, start, steps=steps) for name, (start, steps) in found.items()}
    errors = [[name, float(squared_error(draw(z), x).mean())] for name, z in codes.items()]
    page.section("Inversion", f"Rows: held-out pictures; {'; '.join(codes)}.")
    page.picture(grid_png(torch.cat([x, *map(draw, codes.values())]), n))
    page.table(["latent by", "mean squared error"], errors)

    every, z0 = model.encode(test.x), codes["encode, then optimise"]
    low, high = factor.quantile(factor.new_tensor([0.25, 0.75]))
    vector = attribute_vector(every[factor >= high], every[factor <= low])
    page.section(f"Attribute: {config.attribute}", "From top to bottom: -1, -1/2, 0, 1/2 and 1 times the vector added.")
    page.picture(grid_png(torch.cat([draw(code + a * vector) for a in (-1.0, -0.5, 0.0, 0.5, 1.0)]), n))

    bar, white = torch.zeros_like(x[0]), torch.ones_like(x[0])
    bar[:, config.size // 2 - 1 : config.size // 2 + 1, config.size // 4 : -config.size // 4] = 1
    wanted = masked_error(white, bar)
    edits = {f"near {near}": edit(draw, model.realism, wanted, z0, near=near) for near in (0.1, 0.03, 0.01)}
    page.section("Constrained edit", f"Rows: pictures; a white bar painted over them; edited {', '.join(edits)}.")
    page.picture(grid_png(torch.cat([x, torch.maximum(x, bar), *map(draw, edits.values())]), n))
    states = {"before": z0, **edits}.items()
    table = [[name, float(wanted(draw(z)).mean()), float((z - z0).norm(dim=1).mean())] for name, z in states]
    page.table(["edit", "violation of the wish", "distance in z"], table)
    for row in [*errors, *table]:
        print(*row)
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
