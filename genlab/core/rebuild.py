"""Restores a dataclass from JSON values: lists become tuples, strings paths, and every field is validated."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_type_hints

from genlab.core.files import FileError
from genlab.core.ranges import short, should_be
from genlab.core.text import one_line

T = TypeVar("T")


def rebuild(kind: type[T], values: Any, where: str) -> T:
    """An instance of dataclass `kind` with the fields `values`, untrusted JSON values.

    Raises:
        FileError: a field is unknown, missing or invalid; the message begins with `where`.
    """
    if not isinstance(values, dict):
        raise FileError(f"{where} must be an object, got {short(values)}")
    names, hints = [field.name for field in fields(cast(Any, kind)) if field.init], get_type_hints(kind)
    for name in [*values, *names]:
        if name not in names or name not in values:
            raise FileError(f"{where}: {name!r} is {'not an option here' if name in values else 'missing'}")
    found = {name: _restored(values[name], hints[name], f"{where}.{name}") for name in names}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name in found and (fault := should_be(found[name], hint)):
            raise FileError(f"{where}: {name} must be {fault}, got {short(values[name])}")
    try:
        return kind(**found)
    except ValueError as error:
        raise FileError(f"{where}: {one_line(error)}") from None


def _restored(value: Any, hint: Any, where: str) -> Any:
    parts = get_args(hint)
    if is_dataclass(hint):
        return rebuild(cast(type, hint), value, where)
    if isinstance(value, list):
        return tuple(_restored(each, parts[0] if parts else None, where) for each in value)
    return Path(value) if isinstance(value, str) and Path in (hint, *parts) else value
