"""Safe file access: atomic writes, only regular files are read, JSON is validated against a schema."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from genlab.core.ranges import short, should_be
from genlab.core.text import one_line

MOST = 1 << 24  # bytes of a JSON file
DEEPEST = 16  # nesting levels in it
LARGEST = 1e300  # absolute value of a number in it: must fit a float

Schema = Mapping[str, Any]  # field -> type annotation; `| None`: the field may be missing


class FileError(ValueError):
    """A file is damaged or of the wrong kind; the message names it."""


def write_atomically(path: Path, content: bytes) -> None:
    """Writes `content` to `path` atomically: readers see the old file or the new one, also after a crash."""
    write_in_turn({path: content})


def write_in_turn(files: Mapping[Path, bytes]) -> None:
    """Writes several files: all contents first go to temporary files, which are then renamed one after the other."""
    ready: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            refuse_irregular(path)
            with naming(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_name(f".{threading.get_native_id()}-{len(ready)}.tmp")  # unique per thread
                ready[path] = temporary
                with open(temporary, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
        for path, temporary in ready.items():
            with naming(path):
                os.replace(temporary, path)
    except BaseException:
        for temporary in ready.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)  # incomplete, and the disk may be full
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Adds `path` to an OSError raised in the block (a full disk does not name the file)."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def leftovers(folder: Path) -> list[Path]:
    """Temporary files in `folder` that a killed process has left."""
    return [path for path in folder.glob(".*.tmp") if re.fullmatch(r"\.\d+-\d+\.tmp", path.name)]


def write_all(files: Mapping[Path, Callable[[Path], object]]) -> None:
    """Calls `write(path)` for every file, even if others fail, and prints the paths of the written files.

    Raises:
        OSError: some could not be written; names them, and the reason of the first.
    """
    failed: dict[Path, Exception] = {}
    for path, write in files.items():
        try:
            write(path)
        except (OSError, ValueError) as error:
            failed[path] = error
        else:
            print(one_line(path))
    if failed:
        raise OSError(f"could not write {', '.join(map(str, failed))}: {next(iter(failed.values()))}")


def refuse_irregular(path: Path) -> None:
    """Raises FileError if `path` is a folder, pipe or device (reading these may never end)."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise FileError(f"{path} is not a regular file")


def read(path: Path, most: int | None = None) -> bytes:
    """The content of a regular file of at most `most` bytes; none: of any size.

    Raises:
        FileError: it is not a regular file, or larger.
        OSError: it cannot be read.
    """
    refuse_irregular(path)
    with open(path, "rb") as file:
        content = file.read() if most is None else file.read(most + 1)
    if most is not None and len(content) > most:
        raise FileError(f"{path} is larger than {most:,} bytes")
    return content


def read_json(path: Path, schema: Schema) -> dict[str, Any]:
    """The JSON object in a file, validated against `schema`; additional fields are allowed.

    Raises:
        FileError: it is not valid; names the file and the field.
    """
    return parse(read(path, MOST), str(path), schema)


def parse(content: bytes, where: str, schema: Schema) -> dict[str, Any]:
    """The JSON object in `content`, validated against `schema`; `where` begins the message of a FileError."""
    try:
        tree = json.loads(content.decode())
    except RecursionError:
        raise FileError(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise FileError(f"{where} is not readable as JSON: {one_line(error)}") from None
    if fault := _wild(tree, DEEPEST) or mismatch(tree, schema):
        raise FileError(f"{where} {fault}")
    return tree


def mismatch(tree: Any, schema: Schema) -> str:
    """Why `tree` is not an object with the fields of `schema`, to follow its name in a sentence; empty if it is."""
    if not isinstance(tree, dict):
        return f"must hold an object, got {short(tree)}"
    for name, hint in schema.items():
        if fault := should_be(tree.get(name), hint):
            return f"has {name} = {short(tree[name])}, which must be {fault}" if name in tree else f"has no {name!r}"
    return ""


def _wild(value: Any, levels: int) -> str:
    """The fault of a value that is nested more than `levels` deep or has a number above LARGEST; empty if none."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"holds a number of more than {len(str(int(LARGEST))) - 1} digits"
    inner: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if levels < 0:
        return "is nested too deeply"
    return next(filter(None, (_wild(each, levels - 1) for each in inner)), "")
