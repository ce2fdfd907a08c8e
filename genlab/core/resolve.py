"""The user's own code, named by a text: `file.py:function` or `package.module:function`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from genlab.core.text import one_line


def is_reference(text: str) -> bool:
    """Whether `text` has the form `file.py:function` or `package.module:function`."""
    place, _, name = text.rpartition(":")
    return name.isidentifier() and (place.endswith(".py") or all(part.isidentifier() for part in place.split(".")))


def resolve(text: str) -> Callable[..., Any]:
    """The function (or class) that `text` names; runs its file or imports its module.

    Raises:
        ValueError: there is no such file, module or function, or the code fails; names `text` and the reason.
    """
    if not is_reference(text):
        raise ValueError(f"{text!r} names no code; that is file.py:function or package.module:function")
    place, _, name = text.rpartition(":")
    try:
        module = run_file(_file(text)) if place.endswith(".py") else import_module(place)
    except (Exception, SystemExit) as error:
        hint = _beside(text) if isinstance(error, ModuleNotFoundError) else ""
        told = f"{type(error).__name__}: {one_line(error, 300)}{hint}"
        raise ValueError(f"{text}: {place} cannot be loaded: {told}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise ValueError(f"{text}: {place} has no function {name!r}")
    return found


def _beside(text: str) -> str:
    """A hint if the module that `text` names is a file in the working folder, where modules are not searched."""
    place, _, name = text.rpartition(":")
    file = place.replace(".", "/") + ".py"
    return f"; the file here is {file}:{name}" if Path(file).is_file() else ""


def absolute(text: str) -> str:
    """`text` with the full path of its file, so that it means the same in every working folder."""
    place, _, name = text.rpartition(":")
    return f"{Path(place).expanduser().resolve()}:{name}" if place.endswith(".py") else text


def fingerprint(text: str) -> str:
    """SHA-256 of the file that `text` names; does not run it, but imports the packages around a module.

    Raises:
        ValueError: there is no such file or module.
    """
    return hashlib.sha256(_file(text).read_bytes()).hexdigest()


def _file(text: str) -> Path:
    place = text.rpartition(":")[0]
    if place.endswith(".py"):
        file = Path(place).expanduser()
    else:
        try:
            spec = find_spec(place)
        except (ImportError, ValueError):
            spec = None
        if spec is None or not spec.origin:
            raise ValueError(f"{text}: there is no module {place!r}{_beside(text)}")
        file = Path(spec.origin)
    if not file.is_file():
        raise ValueError(f"{text}: there is no file {str(file)!r}")
    return file


def run_file(file: Path, name: str = "") -> ModuleType:
    """The module of a file, run anew at every call; it may import files beside it. `name`: of the module."""
    name = name or f"user_code_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:16]}"
    spec = spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)  # dataclasses and pickle look modules up there
    if (folder := str(file.resolve().parent)) not in sys.path:
        sys.path.append(folder)  # last: the files of the user hide no package
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
