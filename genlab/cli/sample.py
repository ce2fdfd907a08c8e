"""`genlab sample RUN`: samples images from a trained run, into one grid or one file each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from inspect import signature
from math import prod
from pathlib import Path
from typing import Annotated, Any

import tyro

from genlab.cli.options import parse
from genlab.core.outputs import check_file, check_folder
from genlab.core.ranges import Positive, Range, Seed
from genlab.core.text import one_line


@dataclass(frozen=True)
class Sample:
    """Samples images from a trained run, into one grid or one file each."""

    run: tyro.conf.Positional[Path]
    """run directory"""
    n: Annotated[int, Range(1, 10_000)] = 64
    """number of images"""
    out: str = "grid.png"
    """image file of the grid; the suffix determines the format: .png, .jpg, .webp, ...; DIR/, with a slash at its end:
    a folder for one PNG file per image"""
    seed: Seed = 0
    """random seed"""
    temperature: Positive | None = None
    """sampling temperature; below 1: more likely, less diverse samples; for PixelCNN, flows and VQ-VAE"""


def sample(arguments: list[str]) -> None:
    options = parse(Sample, "sample", arguments)
    out, single = Path(options.out), options.out.endswith("/")
    check_folder(out) if single else check_file(out)
    import torch

    from genlab.core.memory import FLOAT, require
    from genlab.experiment import load, shape_of
    from genlab.reporting.grid import image_format, save_grid
    from genlab.run import Run

    try:
        image_format(out / "0.png" if single else out)
    except ValueError as error:
        raise ValueError(f"--out {error}") from None
    if single and out.exists() and any(out.iterdir()):
        raise ValueError(f"--out {options.out} is not empty: choose another folder")
    method = load(options.run)
    draw: Any = getattr(method, "sample", None)
    if draw is None:
        raise ValueError(f"{options.run} holds a {type(method).__name__}, which does not generate images")
    if options.temperature is not None:
        if "temperature" not in signature(draw).parameters:
            raise ValueError(f"--temperature {options.temperature}: a {type(method).__name__} has no temperature")
        draw = partial(draw, temperature=options.temperature)
    shape = shape_of(Run(options.run))
    require(options.n * prod(shape) * FLOAT, f"{options.n:,} images {shape}", "--n")
    torch.manual_seed(options.seed)
    with torch.no_grad():
        images = torch.cat([draw(min(256, options.n - i)) for i in range(0, options.n, 256)])
    if single:
        width = len(str(options.n - 1))
        for i, image in enumerate(images):
            save_grid(image[None], out / f"{i:0{width}d}.png", gap=0, tile=1)
    print(one_line(out if single else save_grid(images, out)))
