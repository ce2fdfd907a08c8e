"""Lookup by name: import paths, and error messages with suggestions. Imports nothing heavy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from operator import attrgetter
from typing import Any


def resolve(path: Any) -> Any:
    """ "package.module:name" -> the object, imported now; what is no text is returned as it is."""
    if not isinstance(path, str):
        return path
    module, _, name = path.partition(":")
    return attrgetter(name)(import_module(module))


def find_imported(path: str) -> Any:
    """The object "package.module:name" if its module is already imported, else None; imports and calls nothing."""
    module, _, names = path.partition(":")
    found: Any = sys.modules.get(module)
    for name in names.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """The error message for a name that is not in `known`, with the closest match."""
    near = get_close_matches(name, known := list(known), 1)
    hint = f": did you mean {near[0]!r}?" if near else ";"
    return f"unknown {what} {name!r}{hint} known: {', '.join(known)}"


def choose(name: str, known: Iterable[str], what: str) -> str:
    """Returns `name` if it is in `known`.

    Raises:
        ValueError: it is not; suggests the closest match.
    """
    if name not in (known := list(known)):
        raise ValueError(unknown(name, known, what))
    return name


def lazy_attributes(package: str, home: Mapping[str, str]) -> Callable[[str], Any]:
    """A module `__getattr__` (PEP 562) that imports public names on first use; `home`: name -> submodule."""

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
