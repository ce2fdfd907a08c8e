"""Writes adversarial examples as 8-bit PNG files."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from PIL import Image
from torch import Tensor

from attacks.evaluation.results import Row
from genlab.core.files import write_atomically


class SavedImages:
    """`save` of `evaluate`: a PNG file per image in FOLDER/original/ and FOLDER/MODEL/ATTACK-EPS/.

    A file is named by the number of the image, its class and, if adversarial, the predicted class;
    FOLDER/MODEL/ATTACK-EPS/images.csv lists them.

    x (N, C, H, W) in [0, 1] and y (N,): the images and their classes. classes: names; (): numbers are used. After an
    OSError nothing more is written; it is kept in `error`.
    """

    def __init__(self, folder: Path, x: Tensor, y: Tensor, classes: tuple[str, ...] = ()) -> None:
        self.folder, self.x, self.y, self.classes = folder, x, y, classes
        self.error: OSError | None = None
        self.originals = False

    def __call__(self, row: Row, x: Tensor, predicted: Tensor) -> None:
        try:
            if self.error is None and not self.originals:
                self._write(self.folder / "original", self.x, [self._name(k) for k in self.y.tolist()])
                self.originals = True
            if self.error is None:
                self._adversarial(row, x, predicted.tolist())
        except OSError as error:
            self.error = error

    def _adversarial(self, row: Row, x: Tensor, predicted: list[int]) -> None:
        attack = row.attack if row.eps is None else f"{row.attack}-{row.eps:g}"
        folder = self.folder / _plain(row.model) / _plain(attack)
        true = self.y.tolist()
        names = self._write(folder, x, [f"{self._name(a)}-{self._name(b)}" for a, b in zip(true, predicted)])
        table = io.StringIO()
        lines = csv.writer(table, lineterminator="\n")
        lines.writerow(["file", "class", "predicted class"])
        lines.writerows(zip(names, map(self._name, true), map(self._name, predicted), strict=True))
        write_atomically(folder / "images.csv", table.getvalue().encode())

    def _write(self, folder: Path, x: Tensor, names: list[str]) -> list[str]:
        files = [f"{i:05d}-{_plain(name)}.png" for i, name in enumerate(names)]
        for file, image in zip(files, x.mul(255).round().byte().cpu(), strict=True):
            pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
            buffer = io.BytesIO()
            Image.fromarray(pixels.contiguous().numpy()).save(buffer, format="PNG")
            write_atomically(folder / file, buffer.getvalue())
        return files

    def _name(self, k: int) -> str:
        return "nan" if k < 0 else self.classes[k] if self.classes else str(k)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name)[:60].strip("-.") or "x"
