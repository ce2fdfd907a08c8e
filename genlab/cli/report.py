"""`genlab report RUN`: writes the HTML report of a run again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from genlab.cli.options import parse
from genlab.core.text import one_line


@dataclass(frozen=True)
class MakeReport:
    """Writes the HTML report of a run from its files."""

    run: tyro.conf.Positional[Path]
    """run directory"""


def report(arguments: list[str]) -> None:
    options = parse(MakeReport, "report", arguments)
    from genlab.reporting.report import Report
    from genlab.run import Run

    run = Run(options.run)
    with run.results_lock():
        print(one_line(Report(run.path.name).run(run).save(run.file("report.html"))))
