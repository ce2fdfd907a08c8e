"""Things by name: import paths, and what to say when a name is not known. Imports nothing heavy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from operator import attrgetter
from typing import Any


def resolve(path: str) -> Any:
    """ "package.module:name" -> the object, imported now."""
    module, _, name = path.partition(":")
    return attrgetter(name)(import_module(module))


def held(path: str) -> Any:
    """What "package.module:name" is in this process, without importing or calling anything; None if it is not here."""
    module, _, names = path.partition(":")
    found: Any = sys.modules.get(module)
    for name in names.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """The sentence for a name that is none of `known`, with the nearest of them."""
    near = get_close_matches(name, known := list(known), 1)
    hint = f": did you mean {near[0]!r}?" if near else ";"
    return f"unknown {what} {name!r}{hint} known: {', '.join(known)}"


def choose(name: str, known: Iterable[str], what: str) -> str:
    """`name` if it is one of `known`, else a ValueError that suggests the nearest."""
    if name not in (known := list(known)):
        raise ValueError(unknown(name, known, what))
    return name


def lazily(package: str, home: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` (PEP 562) of a package whose public names load on first use; `home`: name -> its submodule."""

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
