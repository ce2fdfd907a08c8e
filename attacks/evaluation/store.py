"""Keeps what `evaluate` has measured, so that an interrupted evaluation can be resumed."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attacks.core.model import Attack
from attacks.core.rate import Rate
from attacks.evaluation.crafting import Passes
from attacks.evaluation.results import Example, Row, Sizes
from genlab.core.files import read, write_in_turn


@dataclass(frozen=True)
class Outcome:
    """prediction (N,): classes of the adversarial examples; fooled (N,) bool: of the attacked ones; nan (N,) bool."""

    prediction: Tensor
    fooled: Tensor
    nan: Tensor

    def to(self, device: torch.device | str) -> Outcome:
        return Outcome(self.prediction.to(device), self.fooled.to(device), self.nan.to(device))


@dataclass(frozen=True)
class Cell:
    """One attack on one model. Of an attack that failed, only the row."""

    row: Row
    outcome: Outcome | None = None
    example: Example | None = None
    passes: Passes | None = None


class Store:
    """Cells as files in `folder`, beside options.json with `options`. Damaged files count as missing.

    If a file cannot be written, a warning says so once, and the evaluation goes on.
    """

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self.folder, self.options, self.works = folder, options, True

    def get(self, model: str, label: str, attack: Attack) -> Cell | None:
        try:
            found = _read(self._path(model, label, attack))
            row = found["row"]
            sizes = {name: Sizes(**row[name]) for name in ("linf", "l2", "relative")}
            rates = {name: row[name] and Rate(**row[name]) for name in ("success", "rounded")}
            parts = {"outcome": Outcome, "example": Example, "passes": Passes}
            rest = {name: found[name] and kind(**found[name]) for name, kind in parts.items()}
            return Cell(Row(**row | sizes | rates), **rest)
        except Exception:  # of the file system, zipfile, pickle or a field: it is measured again
            return None

    def add(self, model: str, label: str, attack: Attack, cell: Cell) -> None:
        path = self._path(model, label, attack)
        self.write(path, _plain(cell))
        with suppress(OSError):
            for part in self.folder.glob(f"{path.stem}-*.pt"):
                part.unlink()

    def shelf(self, model: str, label: str, attack: Attack) -> Shelf:
        """For parts of this cell, which `add` removes."""
        return Shelf(self, self._path(model, label, attack))

    def write(self, path: Path, content: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        try:
            if self.works:
                about = json.dumps(self.options, indent=1).encode()
                write_in_turn({self.folder / "options.json": about, path: buffer.getvalue()})
        except OSError as error:
            self.works = False
            warnings.warn(f"this evaluation could not be resumed if it were interrupted: {error}", stacklevel=2)

    def _path(self, model: str, label: str, attack: Attack) -> Path:
        key = hashlib.sha256(repr((model, label, repr(attack))).encode()).hexdigest()
        return self.folder / f"{key[:32]}.pt"


@dataclass(frozen=True)
class Shelf:
    """Parts of the cell at `path`, as dictionaries of tensors and plain values, by name."""

    store: Store
    path: Path

    def get(self, part: str) -> dict[str, Any] | None:
        try:
            return _read(self._path(part))
        except Exception:  # of the file system, zipfile or pickle: it is done again
            return None

    def add(self, part: str, content: dict[str, Any]) -> None:
        self.store.write(self._path(part), content)

    def _path(self, part: str) -> Path:
        return self.path.with_name(f"{self.path.stem}-{hashlib.sha256(part.encode()).hexdigest()[:16]}.pt")


def _read(path: Path) -> dict[str, Any]:
    return torch.load(io.BytesIO(read(path)), weights_only=True)


def _plain(cell: Cell) -> dict[str, Any]:
    """As dictionaries of tensors on the CPU and plain values."""
    tensors = {name: None if part is None else vars(part) for name, part in vars(cell).items() if name != "row"}
    moved = {
        name: part and {key: v.cpu() if isinstance(v, Tensor) else v for key, v in part.items()}
        for name, part in tensors.items()
    }
    return {"row": asdict(cell.row), **moved}
