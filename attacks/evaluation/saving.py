"""Writes adversarial examples as 8-bit PNG files."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from PIL import Image
from torch import Tensor

from attacks.evaluation.results import Row, eps_text
from genlab.core.files import write_atomically

LIST = "images.csv"


class SavedImages:
    """`save` of `evaluate`: a PNG file per image in FOLDER/original/ and FOLDER/MODEL/ATTACK-EPS/.

    A file is named by the number of the image, its class and, if adversarial, the predicted class;
    images.csv beside them lists them. Files of an earlier evaluation in the folder, as far as they are listed, are
    removed before the first one is written, unless `resumed`.

    x (N, C, H, W) in [0, 1] and y (N,): the images and their classes. classes: names; (): numbers are used. After an
    OSError nothing more is written; it is kept in `error`.
    """

    def __init__(
        self, folder: Path, x: Tensor, y: Tensor, classes: tuple[str, ...] = (), targets: Tensor | None = None,
        resumed: bool = False,
    ) -> None:  # fmt: skip
        self.folder, self.x, self.y, self.classes, self.targets = folder, x, y, classes, targets
        self.resumed = resumed
        self.error: OSError | None = None
        self.originals = False

    def __call__(self, row: Row, x: Tensor, predicted: Tensor) -> None:
        try:
            if self.error is None and not self.originals:
                if not self.resumed:
                    self._remove_earlier()
                self._write(self.folder / "original", self.x, {"class": self.y})
                self.originals = True
            if self.error is None:
                self._adversarial(row, x, predicted)
        except OSError as error:
            self.error = error

    def _adversarial(self, row: Row, x: Tensor, predicted: Tensor) -> None:
        attack = row.attack if row.eps is None else f"{row.attack}-{eps_text(row.eps)}"
        targets = {} if self.targets is None else {"target class": self.targets}
        classes = {"class": self.y, "predicted class": predicted, **targets}
        self._write(self.folder / _plain(row.model) / _plain(attack), x, classes)

    def _write(self, folder: Path, x: Tensor, classes: dict[str, Tensor]) -> None:
        """x (N, C, H, W) as files, named by the first two of `classes`, (N,) each; LIST has all of them."""
        names = [[self._name(k) for k in column.tolist()] for column in classes.values()]
        files = [f"{i:05d}-{_plain('-'.join(row[:2]))}.png" for i, row in enumerate(zip(*names))]
        table = io.StringIO()
        lines = csv.writer(table, lineterminator="\n")
        lines.writerow(["file", *classes])
        lines.writerows(zip(files, *names, strict=True))
        write_atomically(folder / LIST, table.getvalue().encode())
        for file, image in zip(files, x.mul(255).round().byte().cpu(), strict=True):
            pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
            buffer = io.BytesIO()
            Image.fromarray(pixels.contiguous().numpy()).save(buffer, format="PNG")
            write_atomically(folder / file, buffer.getvalue())

    def _remove_earlier(self) -> None:
        for listed in [*self.folder.glob(f"*/{LIST}"), *self.folder.glob(f"*/*/{LIST}")]:
            rows = list(csv.reader(listed.read_text().splitlines()))
            for name in (row[0] for row in rows[1:] if row and re.fullmatch(r"\d{5}-[\w.-]+\.png", row[0])):
                (listed.parent / name).unlink(missing_ok=True)
            listed.unlink()
            for folder in (listed.parent, listed.parent.parent):
                if folder != self.folder and not any(folder.iterdir()):
                    folder.rmdir()

    def _name(self, k: int) -> str:
        return "nan" if k < 0 else self.classes[k] if self.classes else str(k)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name)[:60].strip("-.") or "x"
