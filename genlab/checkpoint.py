"""Checkpoints that are whole or absent: atomic, hashed, two generations.

A folder holds `step-00001200.pt` (what torch.save wrote) beside `step-00001200.pt.sha256` (what `sha256sum -c` reads).
The hash is written last, so a file without one is an interrupted save and is ignored; a file that no longer fits its
hash is named, refused, and the generation before it takes its place.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch


class CheckpointError(ValueError):
    """No checkpoint in the folder can be trusted."""


def write_atomically(path: Path, content: bytes) -> None:
    """Puts `content` at `path` all at once: a reader, or a restart after a kill, sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with naming(path):
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)  # half of it is of no use, and the disk may be full
            raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the system name `path`: a full disk does not say of itself which file it could not take."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


class Checkpoints:
    """The last two checkpoints of a run, in `folder`."""

    generations = 2

    def __init__(self, folder: Path):
        self.folder = folder

    def _steps(self) -> list[Path]:
        """Completed checkpoints, newest first."""
        return sorted((p.with_suffix("") for p in self.folder.glob("step-*.pt.sha256")), reverse=True)

    def save(self, state: dict[str, Any], step: int) -> Path:
        """Writes `state` (tensors and plain values) as the newest generation and drops the third."""
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        path = self.folder / f"step-{step:010d}.pt"
        manifest = path.with_name(path.name + ".sha256")
        manifest.unlink(missing_ok=True)  # while the file changes, no hash may vouch for it
        write_atomically(path, content)
        write_atomically(manifest, f"{hashlib.sha256(content).hexdigest()}  {path.name}\n".encode())
        keep = set(self._steps()[: self.generations])
        for stale in self.folder.glob("step-*.pt*"):
            if stale.with_name(stale.name.split(".pt")[0] + ".pt") not in keep:
                stale.unlink(missing_ok=True)
        return path

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint that fits its hash, on the CPU; None if none was ever completed.

        Raises:
            CheckpointError: checkpoints exist and every one of them is damaged; the message names them.
        """
        damaged: list[Path] = []
        for path in self._steps():
            try:
                content = path.read_bytes()
                expected = path.with_name(path.name + ".sha256").read_text(errors="replace").split()[:1]
                if [hashlib.sha256(content).hexdigest()] == expected:
                    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                    if damaged:
                        warnings.warn(
                            f"damaged checkpoint {damaged[0].name} does not fit its SHA-256; going back to {path.name}",
                            stacklevel=2,
                        )
                    return state
            except OSError:
                pass
            damaged.append(path)
        if damaged:
            raise CheckpointError(
                f"every checkpoint in {self.folder} is damaged (SHA-256 does not fit): "
                + ", ".join(p.name for p in damaged)
            )
        return None
