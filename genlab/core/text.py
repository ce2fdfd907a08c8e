"""Text from outside (names of files, options, classes) made safe to show: the one place where it is escaped.

A terminal would obey control characters, rich would take brackets for markup, HTML would take them for tags, and no
encoding has bytes for lone surrogates, which is how Python keeps a file name that is not UTF-8.
"""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rich.console
from rich.text import Text

# C0 and C1 controls (without the newline), what ends a line or turns the direction of writing, lone surrogates
_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    """`text` with what is no character, or would steer a terminal, as an escape: a byte 0xff of a path as \\xff."""
    return _STEERING.sub(_escaped, str(text))


def one_line(text: object, most: int = 5000) -> str:
    """`printable`, without line breaks, and cut where it is long."""
    line = " ".join(printable(text).split("\n"))
    return line if len(line) <= most else line[:most] + " ..."


def escaped(text: object) -> str:
    """`printable` for HTML, also within attributes."""
    return html.escape(printable(text))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    code = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code  # a byte that was not UTF-8
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class Console(rich.console.Console):
    """The terminal; shows text, also within tables, as it is: nothing in it is markup, or steers the terminal."""

    def __init__(self, **how: Any):
        super().__init__(markup=False, emoji=False, **how)

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(printable(text), **how)

    def on_broken_pipe(self) -> None:
        raise  # the error itself, as `print` would, where rich would exit


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings are shown as one sentence each, without the line of code that they come from."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"genlab: warning: {one_line(message)}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before
