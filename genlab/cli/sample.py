"""`genlab sample RUN`: images of a trained run, in one grid, one file each, or an animation."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from math import prod
from pathlib import Path
from typing import Annotated, Any

import tyro

from genlab.cli.options import parse
from genlab.core.outputs import check_file, check_folder
from genlab.core.ranges import Positive, Range, Seed, Steps, Weight
from genlab.core.text import one_line

BLOCK = 256  # images drawn at a time


@dataclass(frozen=True)
class Sample:
    """Samples images from a trained run into one grid."""

    run: tyro.conf.Positional[Path]
    """run directory"""
    n: Annotated[int, Range(1, 10_000)] = 64
    """number of images"""
    out: str = "grid.png"
    """image file of the grid; the suffix determines the format: .png, .jpg, .webp, ...; DIR/, with a slash at its end:
    a folder for one PNG file per image"""
    gif: Path | None = None
    """GIF file in place of the grid: images as they come out of the noise (diffusion), or the walk of --interpolate"""
    seed: Seed = 0
    """random seed"""
    classes: str | None = None
    """classes to draw, by number, as in 3,7: a row each; for models that have learnt them"""
    interpolate: Annotated[int, Range(2, 1000)] | None = None
    """walks between random images, a row each, of so many images; for GANs, VAEs, diffusion and flow matching"""
    temperature: Positive | None = None
    """sampling temperature; below 1: more likely, less diverse samples; for PixelCNN, flows and VQ-VAE"""
    steps: Steps | None = None
    """steps of the sampler; none: as configured in training; for diffusion and flow matching"""
    guidance: Weight | None = None
    """classifier-free guidance; 1: none; for conditional diffusion and flow matching"""

    def check_relations(self) -> None:
        if self.gif is not None and self.gif.suffix.lower() != ".gif":
            raise ValueError(f"--gif {self.gif} must end in .gif")


def sample(arguments: list[str]) -> None:
    options = parse(Sample, "sample", arguments)
    out, single = Path(options.out), options.out.endswith("/")
    if options.gif is not None:
        check_file(options.gif, "--gif")
    else:
        check_folder(out) if single else check_file(out)
    import torch

    from genlab.core.memory import FLOAT, require
    from genlab.loading import load, shape_of
    from genlab.reporting.grid import grid, image_format, save_animation, save_grid
    from genlab.run import Run

    try:
        image_format(out / "0.png" if single else out)
    except ValueError as error:
        raise ValueError(f"--out {error}") from None
    if single and out.exists() and any(out.iterdir()):
        raise ValueError(f"--out {options.out} is not empty: choose another folder")
    method = load(options.run)
    shape = shape_of(Run(options.run))
    n = options.n * (options.interpolate or 1 if options.gif else 1)
    require(n * prod(shape) * FLOAT, f"{n:,} images {shape}", "--n")
    torch.manual_seed(options.seed)
    with torch.no_grad():
        if options.gif is not None:
            frames = [grid(images) for images in animation(method, options)]
            print(one_line(save_animation(frames, options.gif)))
            return
        images, columns, rows = drawn(method, options)
    if single:
        width = len(str(len(images) - 1))
        for i, image in enumerate(images):
            save_grid(image[None], out / f"{i:0{width}d}.png", gap=0, tile=1)
    print(f"{one_line(out if single else save_grid(images, out, columns))}{rows}")


def drawn(method: Any, options: Sample) -> tuple[Any, int | None, str]:
    """The images, the columns of their grid, and what its rows are."""
    if options.interpolate is not None:
        rows = max(1, options.n // options.interpolate)
        return walks(method, options, rows), options.interpolate, f" (rows: {rows} walks between two images)"
    draw = getattr(method, "sample", None)
    if draw is None:
        raise ValueError(f"{options.run} holds a {type(method).__name__}, which does not generate images")
    given = taken(draw, method, options)
    if options.classes is None:
        return in_blocks(draw, options.n, given), None, ""
    classes = numbers(options.classes)
    each = -(-options.n // len(classes))
    given["labels"] = [k for k in classes for _ in range(each)]
    return in_blocks(draw, len(given["labels"]), given), each, f" (rows: classes {', '.join(map(str, classes))})"


def walks(method: Any, options: Sample, rows: int) -> Any:
    """Images (rows * interpolate, C, H, W): every row leads from one random image to another."""
    import torch

    from genlab.latent.walks import spherical

    if not hasattr(method, "latents"):
        raise ValueError(f"--interpolate: a {type(method).__name__} has no latents to walk between")
    given = taken(method.decode, method, options)
    steps = options.interpolate or 0
    if getattr(method, "classes", 0) and "labels" in signature(method.decode).parameters:
        classes = numbers(options.classes) if options.classes is not None else list(range(method.classes))
        given["labels"] = [classes[row % len(classes)] for row in range(rows) for _ in range(steps)]
    z = spherical(method.latents(rows), method.latents(rows), steps)
    starts = range(0, len(z), BLOCK)
    return torch.cat([method.decode(z[i : i + BLOCK], **part(given, i)) for i in starts])


def animation(method: Any, options: Sample) -> list[Any]:
    """Batches of images, one per frame: walks, there and back, or the way from noise to images."""
    if options.interpolate is not None:
        frames = list(walks(method, options, options.n).unflatten(0, (options.n, options.interpolate)).unbind(1))
        return [*frames, *frames[-2:0:-1]]
    frames_of = getattr(method, "frames", None)
    if frames_of is None:
        raise ValueError(f"--gif: a {type(method).__name__} draws images at once: use --interpolate for a walk")
    given = taken(frames_of, method, options)
    if options.classes is not None:
        classes = numbers(options.classes)
        given["labels"] = [classes[i * len(classes) // options.n] for i in range(options.n)]
    frames = frames_of(method.latents(options.n), **given)
    return [*frames, *[frames[-1]] * 5]  # a rest on the result


def taken(draw: Any, method: Any, options: Sample) -> dict[str, Any]:
    """The options of sampling that are set, by the parameters of `draw`.

    Raises:
        ValueError: the method has no such option.
    """
    known = signature(draw).parameters
    found = {name: getattr(options, name) for name in ("temperature", "steps", "guidance")}
    found = {name: value for name, value in found.items() if value is not None}
    for name, value in found.items():
        if name not in known:
            raise ValueError(f"--{name} {value}: a {type(method).__name__} has no {name}")
    if options.classes is not None and "labels" not in known:
        raise ValueError(f"--classes {options.classes}: a {type(method).__name__} does not draw images of a class")
    return found


def numbers(classes: str) -> list[int]:
    """ "3,7" -> [3, 7]."""
    words = classes.split(",")
    if not all(word.strip().isdecimal() and len(word) < 10 for word in words):
        raise ValueError(f"--classes must be numbers as in 3,7, got {classes!r}")
    return [int(word) for word in words]


def in_blocks(draw: Any, n: int, given: dict[str, Any]) -> Any:
    import torch

    return torch.cat([draw(min(BLOCK, n - i), **part(given, i)) for i in range(0, n, BLOCK)])


def part(given: dict[str, Any], start: int) -> dict[str, Any]:
    """The options of the block of images from `start` on: its part of the labels."""
    labels = given.get("labels")
    return given if labels is None else {**given, "labels": labels[start : start + BLOCK]}
