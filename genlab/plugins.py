"""Plugins: modules that add to the tables of `genlab` without changes to it.

A plugin is an installed package's module, registered as an entry point in the group `genlab.plugins`, or a file given
by `genlab --plugin FILE`. It may define the tables in TABLES: name -> (object, description), where the object is also
written "module:attribute", so that the module need not import torch at its top.

METHODS   a Config class, for `genlab train`
DATA      a function split -> Images, for --data; split: "train" or "test"
FEATURES  a function of images (N, C, H, W) in [0, 1] -> features (N, d), for `genlab evaluate --features`
ATTACKS   an attack class (`attacks.Attack`), for --attacks
DEFENCES  a function (model, **options) -> model, for --defence
COMMANDS  a function of the arguments, for `genlab NAME`

In this way `attacks` adds `genlab attack`, and genlab does not import attacks. A plugin that fails is named in a
warning and skipped; a name that is taken is not replaced.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from genlab.core.ranges import short
from genlab.core.resolve import run_file
from genlab.core.text import one_line

TABLES = ("METHODS", "DATA", "FEATURES", "ATTACKS", "DEFENCES", "COMMANDS")
Table = dict[str, tuple[Any, str]]
_files: dict[str, ModuleType] = {}  # of --plugin


@contextmanager
def plugin_files(files: list[str]) -> Iterator[None]:
    """Runs `files` and uses them as plugins within the block.

    Raises:
        ValueError: one of them cannot be run, or its tables are not of the right form.
    """
    before = dict(_files)
    try:
        for file in files:
            _files[f"--plugin {file}"] = module = _module(file)
            for kind in TABLES:
                if fault := _fault(getattr(module, kind, {})):
                    raise ValueError(f"--plugin {file}: {kind} {fault}")
        yield
    finally:
        _files.clear()
        _files.update(before)


def gather(kind: str, own: Mapping[str, tuple[Any, str]]) -> Table:
    """The table `kind` of genlab, `own`, with the entries of all plugins."""
    table = dict(own)
    for plugin, module in (_installed() | _files).items():
        entries = getattr(module, kind, {})
        if fault := _fault(entries):
            warnings.warn(f"{kind} of the plugin {plugin} is skipped: it {fault}", stacklevel=2)
            continue
        for name, entry in entries.items():
            if table.setdefault(name, entry) != entry:
                warnings.warn(f"{name!r} of the plugin {plugin} is skipped: the name is taken", stacklevel=2)
    return table


def methods() -> Table:
    """name -> (Config class or its "module:class", description), of genlab and of all plugins."""
    from genlab.methods import METHODS

    return gather("METHODS", METHODS)


@cache
def _installed() -> dict[str, ModuleType]:
    """The modules of the entry points, by name; those of all installed packages are looked through only once."""
    entries = sorted(entry_points(group="genlab.plugins"), key=lambda entry: entry.name)
    loaded = {entry.name: _loaded(entry) for entry in entries}
    return {name: module for name, module in loaded.items() if module is not None}


def _loaded(entry: EntryPoint) -> ModuleType | None:
    """The module of an entry point; None if it fails."""
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        top = sys.modules.get(entry.module.partition(".")[0])
        file = None if top is None or hasattr(top, "__path__") else top.__file__
        hint = f"; {file} hides the package of that name: rename it" if file else ""
        reason = f"{type(error).__name__}: {one_line(error, 300)}{hint}"
        warnings.warn(f"the plugin {entry.name} ({entry.value}) is skipped: {reason}", stacklevel=2)
        return None


def _module(file: str) -> ModuleType:
    path = Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"--plugin {file}: there is no such file")
    name = f"genlab_plugin_{path.stem}"  # a run names its method by it
    if name in sys.modules and sys.modules[name].__file__ == str(path):
        return sys.modules[name]
    try:
        return run_file(path, name)
    except (Exception, SystemExit) as error:
        raise ValueError(f"--plugin {file} fails: {type(error).__name__}: {one_line(error, 300)}") from error


def _fault(table: Any) -> str:
    """What is wrong with a plugin's table, to follow its name in a sentence; empty if nothing is."""
    if not isinstance(table, dict):
        return f"must be a dict of name -> (object, description), got {short(table)}"
    for name, entry in table.items():
        pair = isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], str)
        if not isinstance(name, str) or not pair or not (isinstance(entry[0], str) or callable(entry[0])):
            return f"must map names to (object, description), got {short(name)}: {short(entry)}"
    return ""
