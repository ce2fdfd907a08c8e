"""Parses the command-line options of a command or a recipe."""

from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

import tyro
from rich.table import Table
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from genlab.core.ranges import OutOfRange, check, deferred
from genlab.core.text import printable

NUMBERS = ConstructorRegistry()


@NUMBERS.primitive_rule
def _number(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Keeps a word that is not a number as it is: `check` then reports it together with the option's range."""
    if info.type not in (int, float):
        return None

    def read(words: list[str]) -> Any:
        try:
            return info.type(words[0])
        except ValueError:
            return words[0]

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=info.type.__name__.upper(),
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, int | float),
        str_from_instance=lambda value: [str(value)],
    )


def parse(kind: Any, command: str | None, arguments: list[str]) -> Any:
    """An instance of dataclass `kind` from the command line; tyro prints help and suggestions, and exits with status 2.

    command: the command of `genlab`; none: a script.

    Raises:
        ValueError: a value is empty or out of range, or values contradict each other.
    """
    for before, word in zip(["", *arguments], arguments):
        if not word or (word.startswith("--") and word.endswith("=")):
            option = word.rstrip("=") or (before if before.startswith("--") else "an argument")
            raise ValueError(f"{option} must not be empty")
    name = None if command is None else f"genlab {command}"
    read = partial(tyro.cli, kind, prog=name, registry=NUMBERS)
    shown = (tyro.conf.OmitArgPrefixes,)
    silent = (*shown, tyro.conf.HelptextFromCommentsOff)  # to look for comments takes longer than all else
    with deferred():
        try:
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                options = read(args=arguments, config=silent)
        except SystemExit:
            read(args=list(map(printable, arguments)), config=shown)  # prints the reason in plain characters, and exits
            raise
    try:
        check(options)
    except OutOfRange as error:
        raise ValueError(f"--{error.option.replace('_', '-')} {error.text}") from None
    return options


def value_of(option: str, arguments: list[str]) -> str | None:
    """The value of `option` in `arguments`, as in `--images 5` or `--images=5`, the last one if there are several; None
    if it is not there."""
    found = None
    for word, following in zip(arguments, [*arguments[1:], ""]):
        if word == option:
            found = following
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
    return found


def names(title: str, entries: dict[str, str]) -> Table:
    """A table of names and descriptions, one per line."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    for name, text in entries.items():
        table.add_row(name, text)
    return table
