"""Output paths: checked before any work is done, and cleaned up after a failure."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def check_folder(path: Path, option: str = "--out") -> None:
    """Checks that the folder of `option` can be created and written to.

    Raises:
        ValueError: it cannot; names the path and the reason.
    """
    if path == Path():
        raise ValueError(f"{option} must name a folder, got '' or '.', which is the working folder itself")
    with _naming(path, option):
        if path.exists() and not path.is_dir():
            raise ValueError(f"{option} {path} must be a folder, but it is a file")
        _try(path, option)


def check_file(path: Path, option: str = "--out") -> None:
    """Checks that the file of `option` can be written.

    Raises:
        ValueError: it cannot; names the path and the reason.
    """
    with _naming(path, option):
        if path.is_dir():
            raise ValueError(f"{option} {path} must be a file, but it is a folder")
        if path.exists() and not path.is_file():
            raise ValueError(f"{option} {path} must be a file, but it is a pipe or a device")
        _try(path, option)


@contextmanager
def _naming(path: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(f"{option} {path} cannot be written: {error.strerror}") from None


def _try(path: Path, option: str) -> None:
    """Creates and removes a temporary folder at `path`: permission bits do not cover /proc or full disks."""
    nearest = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if nearest != path and not nearest.is_dir():
        raise ValueError(f"{option} {path} cannot be created: {nearest} is not a folder")
    folder = nearest if nearest.is_dir() else nearest.parent
    try:
        os.rmdir(tempfile.mkdtemp(dir=folder))
    except OSError as error:
        raise ValueError(f"{option} {path} cannot be written: {folder} is not writable ({error.strerror})") from None


@contextmanager
def removed_on_failure(folder: Path, worth: Callable[[Path, Exception], bool]) -> Iterator[None]:
    """If the block raises, removes `folder` and the parents that it created, unless `worth(folder, error)` is true
    (there is something to keep). A folder that existed before is left as it is."""
    made = [path for path in (folder.absolute(), *folder.absolute().parents) if not path.exists()]
    try:
        yield
    except Exception as error:
        if made and not worth(folder, error):
            shutil.rmtree(folder, ignore_errors=True)
            for parent in made[1:]:
                with suppress(OSError):
                    parent.rmdir()  # unless there is something else in it by now
        raise
