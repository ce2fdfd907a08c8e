"""Allowed ranges of options, declared as annotations: `width: Annotated[int, Range(1, 4096)] = 64`.

`check` validates the fields of a dataclass, `checked` the arguments of a function. Configs, attacks, defences and the
command line all use them, so error messages are the same everywhere. Constraints between several options are checked by
the method `check_relations` of their class, if it has one; it raises a ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import cache, wraps
from inspect import Parameter, signature
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from genlab.core.resolve import is_reference

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`; `above` excludes `low`, `below` excludes `high`.

    odd: odd numbers only.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    odd: bool = False

    def __contains__(self, value: float) -> bool:
        return (
            (self.low < value if self.above else self.low <= value)
            and (value < self.high if self.below else value <= self.high)
            and (value % 2 == 1 if self.odd else True)
        )

    def __str__(self) -> str:
        low = "" if self.low == -math.inf else f"{'above' if self.above else 'at least'} {_plain(self.low)}"
        high = "" if self.high == math.inf else f"{'below' if self.below else 'at most'} {_plain(self.high)}"
        limits = " and ".join(filter(None, (low, high))) or "a finite number"
        return f"odd, {limits}" if self.odd else limits

    def described(self, value: object) -> str:
        """The allowed values, for the error message about `value`."""
        return str(self)


@dataclass(frozen=True)
class PixelRange(Range):
    """A size in units of pixel values in [0, 1]; the message suggests value/255 for larger values."""

    def described(self, value: object) -> str:
        number = isinstance(value, int | float) and 1 < value <= 255
        return f"{self} (pixels are in [0, 1]; did you mean {value:g}/255?)" if number else str(self)


class AtLeastOne:
    """At least one element."""

    def __contains__(self, values: tuple[Any, ...] | list[Any]) -> bool:
        return len(values) > 0

    def __str__(self) -> str:
        return "at least one value"

    def described(self, value: object) -> str:
        return str(self)


@dataclass(frozen=True)
class Distinct(AtLeastOne):
    """At least one element, each only once; `none`: or no element."""

    none: bool = False

    def __contains__(self, values: tuple[Any, ...] | list[Any]) -> bool:
        return (self.none or len(values) > 0) and len(set(values)) == len(values)

    def __str__(self) -> str:
        return "values, each only once" if self.none else "at least one value, each only once"


@dataclass(frozen=True)
class NameOrCode:
    """One of `names`, or the user's own code as file.py:function."""

    names: tuple[str, ...]

    def __contains__(self, value: str) -> bool:
        return value in self.names or is_reference(value)

    def described(self, value: object) -> str:
        near = get_close_matches(str(value), self.names, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"one of {', '.join(self.names)}, or file.py:function{hint}"

    def __str__(self) -> str:
        return self.described("")


def _plain(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:g}"


Count = Annotated[int, Range(1, 10**12)]  # of images, pixels, queries
Length = Annotated[int, Range(1, 10**10)]  # of training, in images
Steps = Annotated[int, Range(1, 10**6)]  # of a loop within one step or one attack
Width = Annotated[int, Range(1, 2**16)]  # channels or units of a layer, dimensions of a code
Layers = Annotated[int, Range(1, 1000)]
Halvings = Annotated[int, Range(0, 12)]  # downsamplings of an image by 2
Units = Annotated[int, Range(0, 2**16)]  # of an optional layer; 0: no such layer
Side = Annotated[int, Range(1, 2**13)]  # of an image or a part of it, in pixels
Repeats = Annotated[int, Range(1, 1000)]  # of a whole training or measurement
Threads = Annotated[int, Range(1, 1024)]
Seed = Annotated[int, Range(0, 2**63 - 1)]
Positive = Annotated[float, Range(0, 1e9, above=True)]
Weight = Annotated[float, Range(0, 1e9)]  # of a term of a loss
Share = Annotated[float, Range(0, 1)]
Fraction = Annotated[float, Range(0, 1, below=True)]  # less than 1
OpenShare = Annotated[float, Range(0, 1, above=True, below=True)]  # neither 0 nor 1
Eps = Annotated[float, PixelRange(0, 1)]  # L-infinity norm of a perturbation, pixels in [0, 1]
LearningRate = Annotated[float, Range(0, 1e4, above=True)]


T = TypeVar("T")
NonEmpty = Annotated[tuple[T, ...], Distinct()]  # NonEmpty[Share]: one or more, for a row of a table each
Several = Annotated[tuple[T, ...], Distinct(none=True)]  # Several[str]: the same, or none
Seeds = Annotated[tuple[Seed, ...], Distinct()]  # of repetitions


class OutOfRange(ValueError):
    """An option has an invalid value; `option` is its name, `text` the rest of the message."""

    def __init__(self, option: str, text: str):
        super().__init__(f"{option} {text}")
        self.option, self.text = option, text


_deferred = False


@contextmanager
def deferred() -> Iterator[None]:
    """Disables `check` within the block, for callers that collect all values first and check them afterwards."""
    global _deferred
    _deferred = True
    try:
        yield
    finally:
        _deferred = False


def check(options: Any) -> None:
    """Validates every field of the dataclass instance `options`, and of nested dataclasses, against its annotation.

    Raises:
        OutOfRange: a value is not of the annotated type, not in its Range, or NaN or infinite.
        ValueError: `check_relations` found an invalid combination.
    """
    if _deferred:
        return
    hints = _hints(options.__class__)
    for field in fields(options):
        value = getattr(options, field.name)
        _hold(field.name, value, hints[field.name])
        if is_dataclass(value) and not isinstance(value, type):
            check(value)
    getattr(options, "check_relations", lambda: None)()


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator that validates the arguments of a function at every call; it then raises OutOfRange as `check`."""
    taken = signature(function)

    @wraps(function)
    def held(*args: P.args, **kwargs: P.kwargs) -> R:
        hints = _hints(function)
        for name, value in taken.bind(*args, **kwargs).arguments.items():
            kind = taken.parameters[name].kind
            if name in hints and kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
                _hold(name, value, hints[name])
        return function(*args, **kwargs)

    return held


def _hold(name: str, value: Any, hint: Any) -> None:
    if wrong := should_be(value, hint):
        raise OutOfRange(name, f"must be {wrong}, got {short(value)}")


def short(value: Any) -> str:
    """repr(value), truncated for use in a message; of a tuple of words, which an option takes, the words."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    words = isinstance(value, tuple) and all(isinstance(each, str) for each in value)
    text = (", ".join(value) or "none") if words else repr(value)
    return text if len(text := text.replace("\n", " ")) <= 200 else text[:200] + " ..."


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def should_be(value: Any, hint: Any) -> str:
    """What `value` should be according to the annotation `hint`; empty if it is valid, or cannot be checked."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        wrong = should_be(value, parts[0])
        allowed = next((part for part in parts[1:] if isinstance(part, Range | AtLeastOne | NameOrCode)), None)
        if allowed is None or (not wrong and value in allowed):
            return wrong
        return f"{wrong}, {allowed}" if wrong else allowed.described(value)
    if origin in (Union, UnionType):
        found = [should_be(value, part) for part in parts if part is not NoneType or value is None]
        return "" if "" in found else " or ".join(dict.fromkeys(found))
    if origin is Literal:
        return "" if value in parts else f"one of {', '.join(map(repr, parts))}"
    if origin is tuple:
        if not isinstance(value, tuple | list):
            return "a tuple"
        kinds = [parts[0]] * len(value) if parts[1:] == (...,) else parts
        if len(kinds) != len(value):
            return f"a tuple of {len(kinds)}"
        return next((f"a tuple of numbers, each {wrong}" for wrong in map(should_be, value, kinds) if wrong), "")
    if origin is list:
        if not isinstance(value, list):
            return "a list"
        return next((f"a list, each {wrong}" for wrong in (should_be(each, parts[0]) for each in value) if wrong), "")
    if origin is Callable:
        return "" if callable(value) else "callable"
    if hint is dict:
        return "" if isinstance(value, dict) else "an object"
    if hint is bool:
        return "" if isinstance(value, bool) else "True or False"
    if hint is int:
        return "" if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if number and abs(value) < math.inf else "a finite number"
    if hint is str:
        return "" if isinstance(value, str) else "text"
    if hint is Path:
        return "" if isinstance(value, str | Path) else "a path"  # text in a config.json
    if is_dataclass(hint) and isinstance(hint, type):
        return "" if isinstance(value, hint) else f"of class {hint.__name__}"
    return ""
