"""Files that someone or something may have changed: written whole, read only if regular, JSON held against a schema."""

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

MOST = 1 << 24  # bytes of a JSON text
DEEPEST = 16  # levels within one
LARGEST = 1e300  # number within one: it must fit a float

Schema = Mapping[str, Any]  # field -> annotation, as the fields of a dataclass have them; `| None`: may be missing


class FileError(ValueError):
    """A file is not what it should be; the message names it."""


def write_atomically(path: Path, content: bytes) -> None:
    """Puts `content` at `path` all at once: a reader, or a restart after a kill, sees the old file or the new one."""
    write_in_turn({path: content})


def write_in_turn(files: Mapping[Path, bytes]) -> None:
    """As `write_atomically`, one after the other; nothing but a moment, and no work, lies between them."""
    ready: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            refuse_irregular(path)
            with naming(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_name(f".{threading.get_native_id()}-{len(ready)}.tmp")  # nobody else's
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
                temporary.unlink(missing_ok=True)  # half of it is of no use, and the disk may be full
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the system name `path`: a full disk does not say of itself which file it could not take."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def leftovers(folder: Path) -> list[Path]:
    """Temporary files in `folder`, which a kill left there if nobody writes now."""
    return [path for path in folder.glob(".*.tmp") if re.fullmatch(r"\.\d+-\d+\.tmp", path.name)]


def write_all(files: Mapping[Path, Callable[[Path], object]]) -> None:
    """Calls every `write(path)`, whatever becomes of the others, and prints the paths of what was written.

    Raises:
        OSError: some could not be written; it names them, and why the first could not.
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
    """Raises FileError if there is a folder, or a pipe or device, which might never end, at `path`."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise FileError(f"{path} is not a regular file")


def read(path: Path, most: int | None = None) -> bytes:
    """The content of a regular file of at most so many bytes.

    Raises:
        FileError: it is something else, or larger.
        OSError: it cannot be read.
    """
    refuse_irregular(path)
    with open(path, "rb") as file:
        content = file.read() if most is None else file.read(most + 1)
    if most is not None and len(content) > most:
        raise FileError(f"{path} is larger than {most:,} bytes")
    return content


def read_json(path: Path, schema: Schema) -> dict[str, Any]:
    """The JSON object in a file, held against `schema`; other fields may be there too.

    Raises:
        FileError: with the file's name and the field's.
    """
    return parse(read(path, MOST), str(path), schema)


def parse(content: bytes, where: str, schema: Schema) -> dict[str, Any]:
    """The JSON object that `content` is; `where` begins the sentence of a FileError."""
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
    """What keeps `tree` from being an object with the fields of `schema`, after its name; empty if nothing does."""
    if not isinstance(tree, dict):
        return f"must hold an object, got {short(tree)}"
    for name, hint in schema.items():
        if fault := should_be(tree.get(name), hint):
            return f"has {name} = {short(tree[name])}, which must be {fault}" if name in tree else f"has no {name!r}"
    return ""


def _wild(value: Any, levels: int) -> str:
    """Is there a level or a number in `value` that later work could not bear?"""
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"holds a number of more than {len(str(int(LARGEST))) - 1} digits"
    inner: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if levels < 0:
        return "is nested too deeply"
    return next(filter(None, (_wild(each, levels - 1) for each in inner)), "")
