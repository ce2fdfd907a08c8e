"""What every recipe does at its end: tables on the terminal, results and report in its folder."""

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
    """Prints the tables of `report`, writes `results` (plain values, as JSON has them) to results.json and the report
    to report.html in the folder `out`, and prints their paths.

    Raises:
        OSError: naming what could not be written; the tables were printed before.
    """
    console = Console()
    for title, header, rows in report.tables:
        table = Table(title=title or None, title_justify="left")
        cells = [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row] for row in rows]
        for i, name in enumerate(header):
            numeric = all(isinstance(row[i], int | float) for row in rows)
            words = " ".join([name, *(row[i] for row in cells)]).split()
            table.add_column(name, justify="right" if numeric else "left", min_width=max(map(len, words), default=0))
        for row in cells:
            table.add_row(*row)
        console.print(table, crop=False)  # no word is cut, however narrow the terminal is
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
