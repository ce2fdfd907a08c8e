"""What the commands of a claim measure: numbers and tables, read from the JSON that they wrote, over seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genlab.core.files import read
from genlab.core.ranges import check
from genlab.core.text import one_line
from genlab.reporting.spread import spread, with_deviation


class ClaimError(ValueError):
    """A claim or a stored result is malformed."""


@dataclass(frozen=True)
class Figure:
    """One number that a claim's commands measure."""

    name: str
    read: list[Any]
    expected: float | None = None
    tolerance: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    paper: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        check(self)
        both = (self.expected is None) == (self.tolerance is None)
        if not both or not self.claim:
            raise ClaimError(f"{self.name!r} needs expected with tolerance, at_least or at_most")
        if self.tolerance is not None and not self.tolerance >= 0:
            raise ClaimError(f"{self.name!r}: tolerance must be at least 0, got {self.tolerance:g}")
        if not self.read or not isinstance(self.read[0], str):
            raise ClaimError(f"{self.name!r}: read must begin with the name of a file, got {self.read}")

    @property
    def claim(self) -> str:
        """What the mean should be, in words."""
        words = [] if self.expected is None else [f"{self.expected:g} ± {self.tolerance:g}"]
        words += [] if self.at_least is None else [f"≥ {self.at_least:g}"]
        words += [] if self.at_most is None else [f"≤ {self.at_most:g}"]
        return ", ".join(words)

    def holds(self, mean: float) -> bool:
        """Is the mean over the seeds as claimed?"""
        if self.expected is not None and self.tolerance is not None and not abs(mean - self.expected) <= self.tolerance:
            return False
        return (self.at_least is None or mean >= self.at_least) and (self.at_most is None or mean <= self.at_most)

    def measured(self, folder: Path) -> float:
        """The number that the commands wrote to `folder`.

        Raises:
            ClaimError: there is no such file, or no such number in it.
        """
        found = read_value(folder, self.read, f"the figure {self.name!r}")
        if isinstance(found, bool) or not isinstance(found, int | float):
            where = folder / self.read[0]
            raise ClaimError(f"{where}: the figure {self.name!r} must be a number, got {one_line(found, 50)!r}")
        return found


@dataclass(frozen=True)
class Rows:
    """A list of rows that a claim's commands measure: words that name a row, and its numbers.

    where: the rows of these values alone. A column with dots, such as success.value, lies deeper in the row.
    """

    name: str
    read: list[Any]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    across: str = ""
    where: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)
        if not self.read or not self.rows or not self.columns:
            raise ClaimError(f"the table {self.name!r} needs read, rows and columns")
        if self.across and (self.across not in self.rows or len(self.rows) == 1 or len(self.columns) > 1):
            raise ClaimError(f"across of the table {self.name!r} must be one of several rows, beside a single column")

    def measured(self, folder: Path) -> list[dict[str, Any]]:
        """The rows that the commands wrote to `folder`; a number that a row has not is None.

        Raises:
            ClaimError: there is no such list, a word is missing, or a column is empty or has other things than numbers.
        """
        found, where = read_value(folder, self.read, f"the table {self.name!r}"), f"{self.name!r} in {self.read[0]}"
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise ClaimError(f"{where} must be a list of rows")
        found = [row for row in found if all(row.get(key) == value for key, value in self.where.items())]
        for row in found:
            if missing := [word for word in self.rows if word not in row]:
                raise ClaimError(f"{where}: a row has no {missing[0]!r}")
        for column in self.columns:
            values = [_deep(row, column) for row in found]
            wrong = any(isinstance(value, str | bool | dict | list) for value in values)
            if wrong or all(value is None for value in values):
                raise ClaimError(f"{where}: {column!r} must be numbers, got {one_line(values, 50)!r}")
        words = [{name: row[name] for name in self.rows} for row in found]
        return [each | {name: _deep(row, name) for name in self.columns} for each, row in zip(words, found)]

    def summary(self, runs: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """The measured rows of all seeds as one list: {words, column: `summary` of its values, None where there are
        none}; in the order of the first seed.

        Raises:
            ClaimError: the seeds have different rows, or two rows have the same words.
        """
        seeds = [{tuple(row[name] for name in self.rows): row for row in run} for run in runs]
        if any(seed.keys() != seeds[0].keys() or len(seed) < len(run) for seed, run in zip(seeds, runs)):
            raise ClaimError(f"the table {self.name!r}: the seeds have other rows, or a row occurs twice")
        table = []
        for words in seeds[0]:
            cells = {column: [seed[words][column] for seed in seeds] for column in self.columns}
            numbers = {column: None if None in values else summary(values) for column, values in cells.items()}
            table.append({**dict(zip(self.rows, words)), **numbers})
        return table

    def rendered(self, table: list[dict[str, Any]]) -> list[str]:
        """The lines of the Markdown table of a `summary`."""
        names, columns = list(self.rows), list(self.columns)
        cells = {tuple(row[name] for name in names): {c: row[c] for c in columns} for row in table}
        if self.across:
            at, column = names.index(self.across), columns[0]
            names.remove(self.across)
            columns = list(dict.fromkeys(words[at] for words in cells))
            wide: dict[tuple[Any, ...], dict[Any, Any]] = {}
            for words, values in cells.items():
                wide.setdefault(words[:at] + words[at + 1 :], {})[words[at]] = values[column]
            cells = wide
        heads = [*names, *(_head(c) if isinstance(c, str) else f"{self.across} {_word(c)}" for c in columns)]
        lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        for words, values in cells.items():
            lines.append(f"| {' | '.join([*map(_word, words), *(value_cell(values.get(c)) for c in columns)])} |")
        return lines


def read_value(folder: Path, way: list[Any], name: str) -> Any:
    """What lies in the file of `folder` that `way` begins with, at the keys, indices or values of rows that follow."""
    file, *steps = way
    try:
        found = json.loads(read(folder / file))
    except (OSError, ValueError) as error:
        raise ClaimError(f"{name} cannot be read: {one_line(error)}") from None
    for step in steps:
        try:
            found = _row(found, step) if isinstance(step, dict) else found[step]
        except (LookupError, TypeError):
            raise ClaimError(f"{folder / file} has no {step!r} for {name}") from None
    return found


def value_cell(stored: Mapping[str, Any] | None) -> str:
    """Mean ± standard deviation of a `summary`, for a table: two digits of the deviation, the mean to the same one."""
    if stored is None:
        return "–"
    certain = " ± 0" if stored["n"] > 1 and not 0 < stored["sd"] < math.inf else ""
    return with_deviation(stored["mean"], stored["sd"]) + certain


def _deep(row: dict[str, Any], column: str) -> Any:
    """The row's value at `column`, or at its parts, one in the other; None where there is none."""
    if column in row:
        return row[column]
    found: Any = row
    for part in column.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _head(column: str) -> str:
    return column.removesuffix(".value").replace(".", ", ")


def _word(word: Any) -> str:
    """A value that names a row or a column."""
    return "–" if word is None else f"{word:.4g}" if isinstance(word, float) else str(word)


def _row(rows: list[dict[str, Any]], values: dict[str, Any]) -> dict[str, Any]:
    """The only row that has these values."""
    found = [row for row in rows if all(row.get(key) == value for key, value in values.items())]
    if len(found) != 1:
        raise LookupError
    return found[0]


def summary(values: list[float]) -> dict[str, Any]:
    """What is stored of one figure: the values of the seeds, their mean, standard deviation (n - 1) and number."""
    mean, deviation = spread(values)
    return {"values": values, "mean": mean, "sd": deviation, "n": len(values)}


def is_summary(stored: Any) -> bool:
    """Has it the form of a `summary`?"""
    number = lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(stored, dict) or stored.keys() != {"values", "mean", "sd", "n"}:
        return False
    values = stored["values"]
    return isinstance(values, list) and bool(values) and all(map(number, [*values, *list(stored.values())[1:]]))
