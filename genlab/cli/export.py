"""`genlab export RUN`: the trained network as a file for other programs, with a model card. Imports torch only when it
runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from genlab.cli.options import parse
from genlab.core.outputs import check_folder
from genlab.core.text import one_line


@dataclass(frozen=True)
class Export:
    """Writes the trained network of a run as a file for other programs, and a model card README.md.

    safetensors: all weights; the folder can be used in place of the run. torchscript and onnx: the map images -> logits
    of a classifier, images -> images of a translation, or latents -> images of a GAN. The file is read again and
    compared.
    """

    run: tyro.conf.Positional[Path]
    """run directory"""
    to: Literal["safetensors", "torchscript", "onnx"] = "safetensors"
    """format; onnx needs the extra genlab[onnx]"""
    out: Path | None = None
    """folder of the files; none: export/ in the run"""


def export(arguments: list[str]) -> None:
    options = parse(Export, "export", arguments)
    if options.out is not None:
        check_folder(options.out)
    from genlab.core.files import write_in_turn
    from genlab.export import CARD, FILES, exported, model_card
    from genlab.loading import load
    from genlab.run import Run

    run = Run(options.run)
    out = options.out or run.path / "export"
    if out.resolve() == run.path.resolve():
        raise ValueError(f"--out {out} is the run itself: choose another folder")
    method = load(run, "cpu")
    content = exported(method, run, options.to)
    card = model_card(run, method, options.to, content)
    files = {out / FILES[options.to]: content, out / "README.md": card.encode()}
    if options.to == "safetensors":
        files[out / "config.json"] = (run.path / "config.json").read_bytes()
    card_there = out / "README.md"
    if not (card_there.is_file() and CARD in card_there.read_text(errors="replace")):
        if there := next((path for path in files if path.exists()), None):
            raise ValueError(f"{there} exists and is not of an export: choose another --out")
    write_in_turn(files)
    print("\n".join(one_line(path) for path in files))
