"""The last step of every recipe: prints tables, saves results and report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from genlab.core.files import write_all, write_atomically
from genlab.core.text import Console
from genlab.reporting.report import Report


def finish(out: Path, report: Report, results: Any) -> None:
    """Prints the tables of `report`, writes `results` (JSON values) to results.json and the report to report.html in
    the folder `out`, and prints their paths.

    Raises:
        OSError: a file could not be written (names it); the tables have been printed.
    """
    console = Console()
    for title, header, rows in report.tables:
        table = Table(title=title or None, title_justify="left")
        for i, name in enumerate(header):
            numeric = all(isinstance(row[i], int | float) for row in rows)
            table.add_column(name, justify="right" if numeric else "left")
        for row in rows:
            table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row))
        console.print(table)
    content = json.dumps(results, indent=1).encode()
    out.mkdir(parents=True, exist_ok=True)
    write_all(
        {
            out / "results.json": lambda path: write_atomically(path, content),
            out / "report.html": report.save,
        }
    )


def records(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries, for results.json."""
    return [dict(zip(header, row, strict=True)) for row in rows]
