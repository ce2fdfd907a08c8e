"""Escapes untrusted text (names of files, options, classes) for terminal and HTML.

A terminal interprets control characters, rich brackets as markup, HTML `<` as tags; lone surrogates, by which Python
represents file names that are not UTF-8, cannot be encoded.
"""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any

import rich.console
from rich.text import Text

# C0 and C1 controls (without the newline), line and paragraph separators, bidirectional controls, lone surrogates
_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    """`text` with control characters and lone surrogates escaped: a byte 0xff of a path as \\xff."""
    return _STEERING.sub(_escaped, str(text))


def one_line(text: object, most: int = 5000) -> str:
    """`printable` on one line, truncated to `most` characters."""
    line = " ".join(printable(text).split("\n"))
    return line if len(line) <= most else line[:most] + " ..."


def escaped(text: object) -> str:
    """`printable`, escaped for HTML text and attributes."""
    return html.escape(printable(text))


def counted(things: Sized | float, noun: str = "seed") -> str:
    """ "1 seed", "3 seeds": the number of the things, rounded, and the noun, which takes an s except after 1."""
    number = round(things) if isinstance(things, float | int) else len(things)
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(figures: Mapping[str, float], form: str) -> str:
    """ "a 12%, b 7%": names and figures, in a format such as ".0%"; semicolons where a name has a comma."""
    separator = "; " if any("," in name for name in figures) else ", "
    return separator.join(f"{name} {value:{form}}" for name, value in figures.items())


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    code = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code  # a byte that was not UTF-8
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class Console(rich.console.Console):
    """A rich console that prints text literally, also within tables: no markup, no control characters."""

    def __init__(self, **how: Any):
        super().__init__(markup=False, emoji=False, **how)

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(printable(text), **how)

    def on_broken_pipe(self) -> None:
        raise  # BrokenPipeError, as `print` does; rich would exit


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Shows warnings as one sentence each, without source code."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"genlab: warning: {one_line(message)}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before
