"""The last step of every recipe, which prints tables and saves results and report, and the check of its folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import rich.table

from genlab.core.files import read_json, write_all, write_atomically
from genlab.core.text import Console
from genlab.reporting.report import Report, Table
from genlab.run import command_line, provenance

MADE = "recipe.json"  # by which command, when and by which code the results were made


def check_own(out: Path) -> None:
    """Checks that the folder `out` is free for the results of the recipe that runs.

    Raises:
        ValueError: it is that of a run, or holds the results of another recipe.
    """
    if (out / "config.json").exists():
        raise ValueError(f"--out {out} is the folder of a run; choose another --out")
    if (out / MADE).exists():
        before, now = read_json(out / MADE, {"command": list[str]})["command"], command_line()
        if before[:1] != now[:1]:
            raise ValueError(f"--out {out} holds the results of {' '.join(before[:1])}; choose another --out")


def finish(out: Path, report: Report, results: Any) -> None:
    """Prints the tables and warnings of `report`, writes results.json, report.html and recipe.json, and prints the
    paths of the first two.

    Args:
        out: the folder of the files.
        results: JSON values.

    Raises:
        OSError: a file could not be written (names it); the tables have been printed.
    """
    console = Console()
    for table in report.tables:
        console.print(table.terminal or _for_terminal(table))
    for sentence in report.warned:
        console.print(f"warning: {sentence}", highlight=False)
    content = json.dumps(results, indent=1).encode()
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / MADE, json.dumps({"command": command_line(), **provenance()}, indent=1).encode())
    write_all(
        {
            out / "results.json": lambda path: write_atomically(path, content),
            out / "report.html": report.save,
        }
    )


def records(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries, for results.json."""
    return [dict(zip(header, row, strict=True)) for row in rows]


def _for_terminal(table: Table) -> rich.table.Table:
    """Numbers are aligned right; what is too long for its column goes on in the next line."""
    found = rich.table.Table(title=table.title or None, title_justify="left")
    for i, name in enumerate(table.header):
        numeric = all(isinstance(row[i], int | float) for row in table.rows)
        found.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in table.rows:
        found.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row))
    return found
