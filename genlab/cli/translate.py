"""`genlab translate RUN --images FOLDER --out FOLDER`: translates a folder of images to another domain.

Every translation is written atomically under the name of its image, so an interrupted command leaves complete files
only. The last file, `side-by-side.png`, shows the first images: the network's input, its translation, and the
translation back (cycle). Imports torch only when it runs.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

if TYPE_CHECKING:
    from torch import Tensor

GRID = "side-by-side.png"
SHOWN = 16  # images in the grid
BATCH = 64


@dataclass(frozen=True)
class Translate:
    """Translates every image of a folder with a trained run; images are cropped square and resized to its size."""

    run: tyro.conf.Positional[Path]
    """run directory of a translation method: cyclegan, stargan, ..."""
    images: Path
    """folder of images"""
    out: Path
    """folder for the translations and a grid of inputs and outputs"""
    to: str | None = None
    """target domain, by name or by number from 0; none: the second"""
    back: bool = False
    """translate to the first domain"""


def main(arguments: list[str]) -> None:
    from genlab.cli.options import parse

    options: Translate = parse(Translate, "translate", arguments)
    if options.back and options.to is not None:
        raise ValueError(f"--back and --to {options.to} both set the target domain: give one of them")
    import torch

    from genlab.core.files import write_atomically
    from genlab.core.outputs import check_folder
    from genlab.core.text import one_line
    from genlab.data.decode import ImageDecoder, Unreadable
    from genlab.data.domains import names
    from genlab.data.images import to_float
    from genlab.data.listing import scan
    from genlab.data.skipped import Skipped
    from genlab.loading import data_of, load, shape_of
    from genlab.reporting.labelled import labelled_grid_png
    from genlab.run import Run
    from genlab.training.progress import Progress

    if not options.images.is_dir():
        raise ValueError(f"--images {options.images} is not a folder of images")
    check_folder(options.out)
    if options.out.exists() and options.out.samefile(options.images):
        raise ValueError(f"--out {options.out} must be a separate folder, not the folder of the images")
    passed = Skipped(options.images)
    files, folders = scan(options.images, passed)
    passed.add("folders", *folders)
    if not files:
        raise ValueError(f"--images {options.images} holds no images{f'; not used: {passed}' if len(passed) else ''}")
    run = Run(options.run)
    method = load(run)
    translate: Any = getattr(method, "translate", None)
    if translate is None:
        raise ValueError(f"{run.path} holds a {type(method).__name__}, which does not translate images")
    to = 0 if options.back else number(options.to, names(data_of(run).data))
    channels, size, _ = shape_of(run)
    called, skipped = targets(files), 0
    decode = ImageDecoder(str(options.images), options.images, files, size, channels)
    shown: list[torch.Tensor] = []
    with torch.no_grad(), Progress(f"translating {options.images}", len(files)) as progress:
        for start in range(0, len(files), BATCH):
            read = {}
            for file in files[start : start + BATCH]:
                try:
                    read[file] = decode(file)
                except Unreadable as reason:
                    skipped += 1
                    print(one_line(f"skipped {str(file)!r}: {reason}"))
            if read:
                x = to_float(torch.stack(list(read.values())).permute(0, 3, 1, 2)).to(method.device)
                y = translate(x, to=to)
                options.out.mkdir(parents=True, exist_ok=True)
                for file, picture in zip(read, y):
                    write_atomically(options.out / called[file], png(picture))
                if (room := SHOWN - sum(map(len, shown))) > 0:
                    shown.append(torch.stack([x[:room], y[:room], *again(translate, y[:room], to)], 1))
            progress.advance(min(start + BATCH, len(files)))
    if decode.wide:
        print("images are centre-cropped to squares, and some lose more than a third by it")
    if len(passed):
        print(one_line(f"not used: {passed}"))
    if not shown:
        raise ValueError(f"--images {options.images} holds no readable image")
    sides = torch.cat(shown)
    heads = ("original", "translated", "and back")[: sides.shape[1]]
    write_atomically(options.out / GRID, labelled_grid_png(sides.flatten(0, 1), 2 * len(heads), heads=2 * heads))
    done = f"{len(files) - skipped} images in {options.out}, {options.out / GRID} shows {len(sides)} of them"
    print(one_line(done))


def again(translate: Any, y: Tensor, to: int) -> list[Tensor]:
    """Translations y in domain `to`, translated back: to the first domain (or the second, if `to` is the first);
    empty if the method learns one direction only."""
    try:
        return [translate(y, to=0 if to else 1)]
    except ValueError:
        return []


def number(to: str | None, domains: Sequence[str]) -> int:
    """The index of a domain given by number or name; none: 1."""
    if to is None:
        return 1
    if to in domains:
        return domains.index(to)
    most = max(len(domains), 2)
    if not to.isdecimal() or int(to) >= most:
        raise ValueError(f"--to takes the name of a domain ({', '.join(domains)}) or 0 to {most - 1}, got {to!r}")
    return int(to)


def targets(files: Sequence[Path]) -> dict[Path, str]:
    """The file name of each translation: the stem with .png, or the whole name with .png where stems are not unique."""
    stems = Counter([Path(GRID).stem, *(file.stem for file in files)])
    return {file: f"{file.stem if stems[file.stem] == 1 else file.name}.png" for file in files}


def png(picture: Tensor) -> bytes:
    """The PNG file of an image (C, H, W) in [0, 1]."""
    from torchvision.transforms.functional import to_pil_image

    file = io.BytesIO()
    to_pil_image((picture.cpu() * 255).round().byte()).save(file, format="PNG")
    return file.getvalue()
