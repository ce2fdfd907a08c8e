"""Finds the modules that a callable uses, so that a function wrapped around a model is treated like the model."""

from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType
from typing import Any

from torch import nn

NO_MODULE_FOUND = (
    "no torch module was found in this callable, so its training mode is not changed: put the modules it calls into "
    "eval mode, or BatchNorm statistics may change and dropout may distort the gradient"
)


def networks(model: object) -> list[nn.Module]:
    """A module and its submodules; for a method, partial, function or callable object, the modules it refers to.

    Attributes, closures, defaults and global names are searched, and functions of the same file recursively. Modules
    that a callable reaches in any other way are not found.
    """
    found: list[nn.Module] = []
    known, todo = set[int](), [model]
    while todo:
        one = todo.pop()
        if id(one) not in known:
            known.add(id(one))
            if isinstance(one, nn.Module):
                found.append(one)
                todo += one.children()
            else:
                todo += _held(one)
    return found


def _held(one: Any) -> list[Any]:
    """Objects referred to by `one` that may be or contain a module."""
    if isinstance(one, list | tuple):
        return list(one)
    if isinstance(one, dict):
        return list(one.values())
    if isinstance(one, partial):
        return [one.func, *one.args, *one.keywords.values()]
    if isinstance(one, MethodType):
        owner = one.__self__
        return [one.__func__, *([owner] if isinstance(owner, nn.Module) else getattr(owner, "__dict__", {}).values())]
    if isinstance(one, FunctionType):
        return [*_cells(one), *_globals(one), *(one.__defaults__ or ())]
    if callable(one) and not isinstance(one, type):
        return [type(one).__call__, *getattr(one, "__dict__", {}).values()]
    return []


def _cells(function: FunctionType) -> list[Any]:
    """The values of its closure; a cell may still be empty."""
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            continue
    return found


def _globals(function: FunctionType) -> list[Any]:
    """Global modules and functions of the same file that its code names."""
    named = (function.__globals__.get(name) for name in function.__code__.co_names)
    return [
        one
        for one in named
        if isinstance(one, nn.Module | list | tuple | dict)
        or (isinstance(one, FunctionType) and one.__globals__ is function.__globals__)
    ]
