"""Plugins: modules registered as entry points in the group `genlab.plugins`.

A plugin may define METHODS, COMMANDS and LISTS; it should not import torch at its top. In this way `attacks` adds
`genlab attack`, and genlab does not import attacks.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from types import ModuleType
from typing import Any


def plugins() -> list[ModuleType]:
    return [entry.load() for entry in sorted(entry_points(group="genlab.plugins"), key=lambda e: e.name)]


def gather(kind: str, own: dict[str, Any]) -> dict[str, Any]:
    """`own` merged with the dictionaries of that name, `kind`, of all plugins."""
    for plugin in plugins():
        own = own | getattr(plugin, kind, {})
    return own


def methods() -> dict[str, tuple[str, str]]:
    """name -> ("module:class" of its Config, description), of genlab and of all plugins."""
    from genlab.methods import METHODS

    return gather("METHODS", METHODS)
