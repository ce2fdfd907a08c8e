"""Plugins (entry points `genlab.plugins`): light modules that may define COMMANDS, METHODS and LISTS of their own.

So `genlab attack` exists without genlab importing attacks.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from types import ModuleType
from typing import Any


def plugins() -> list[ModuleType]:
    return [entry.load() for entry in sorted(entry_points(group="genlab.plugins"), key=lambda e: e.name)]


def gather(kind: str, own: dict[str, Any]) -> dict[str, Any]:
    """`own` and what every plugin adds to it under the name `kind`."""
    for plugin in plugins():
        own = own | getattr(plugin, kind, {})
    return own


def methods() -> dict[str, tuple[str, str]]:
    """name -> ("module:class" of its Config, one line), of the lab and of every plugin."""
    from genlab.methods import METHODS

    return gather("METHODS", METHODS)
