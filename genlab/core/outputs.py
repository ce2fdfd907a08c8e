"""Where results go, looked at before any work is done."""

from __future__ import annotations

import os
from pathlib import Path


def check_folder(path: Path) -> None:
    """Refuses a folder that cannot be made, or written into.

    Raises:
        ValueError: naming the path and what is in the way.
    """
    if path == Path():
        raise ValueError("--out must name a folder, got '' or '.', which is the working folder itself")
    if path.exists() and not path.is_dir():
        raise ValueError(f"--out {path} must be a folder, but it is a file")
    _writable(path)


def check_file(path: Path) -> None:
    """Refuses a file that cannot be written.

    Raises:
        ValueError: naming the path and what is in the way.
    """
    if path.is_dir():
        raise ValueError(f"--out {path} must be a file, but it is a folder")
    if path.exists() and not path.is_file():
        raise ValueError(f"--out {path} must be a file, but it is a pipe or a device")
    _writable(path)


def _writable(path: Path) -> None:
    nearest = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if nearest != path and not nearest.is_dir():
        raise ValueError(f"--out {path} cannot be made: {nearest} is not a folder")
    if not os.access(nearest, os.W_OK):
        raise ValueError(f"--out {path} cannot be written: {nearest} allows no writing")
