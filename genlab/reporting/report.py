"""Self-contained HTML reports: sections with text, tables and embedded images."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from genlab.core.files import read, write_atomically
from genlab.core.text import escaped
from genlab.reporting.plots import metric_curves
from genlab.run import Run, flatten

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#222}
h1{font-size:1.6em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ddd}
table{border-collapse:collapse;font-size:.9em;margin:.7em 0}td,th{padding:.25em .7em;border-bottom:1px solid #e5e5e5}
th{text-align:left;background:#f6f6f6}td.n{text-align:right;font-variant-numeric:tabular-nums}
figure{display:inline-block;margin:.5em 1em .5em 0;vertical-align:top}figcaption{font-size:.85em;color:#666}
img{max-width:100%}.warning{background:#fff4d6;padding:.4em .8em;margin:.4em 0}"""


@dataclass(frozen=True)
class Table:
    """A table of a report, under the title of its section; `terminal` as in `Report.table`."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    terminal: Any = None


class Report:
    """Collects sections and writes them as one page; methods return the report, for chaining."""

    def __init__(self, title: str):
        self.title, self.parts = title, [f"<h1>{escaped(title)}</h1>"]
        self.tables: list[Table] = []
        self.warned: list[str] = []
        self.heading = ""  # of the current section

    def section(self, title: str, text: str = "") -> Report:
        self.heading = title
        self.parts.append(f"<h2>{escaped(title)}</h2>")
        return self.text(text) if text else self

    def text(self, text: str) -> Report:
        self.parts.append(f"<p>{escaped(text)}</p>")
        return self

    def warnings(self, sentences: Iterable[str]) -> Report:
        sentences = list(sentences)
        self.warned += sentences
        self.parts += [f'<p class="warning">{escaped(sentence)}</p>' for sentence in sentences]
        return self

    def table(self, header: Sequence[str], rows: Iterable[Iterable[Any]], terminal: Any = None) -> Report:
        """Numbers are aligned right; floats are shown with four significant digits, None as a dash.

        terminal: what a terminal shows in its place, where this one is too wide: anything that rich prints.
        """
        cells = [tuple("–" if value is None else value for value in row) for row in rows]
        self.tables.append(Table(self.heading, header, cells, terminal))
        body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in cells)
        head = "".join(f"<th>{escaped(name)}</th>" for name in header)
        self.parts.append(f"<table><tr>{head}</tr>{body}</table>")
        return self

    def picture(self, png: bytes | str | Path, caption: str = "") -> Report:
        """Embeds a PNG or GIF, given as bytes or path."""
        content = png if isinstance(png, bytes) else read(Path(png))
        kind = "gif" if content[:3] == b"GIF" else "png"
        data = base64.b64encode(content).decode()
        self.parts.append(
            f'<figure><img src="data:image/{kind};base64,{data}" alt="{escaped(caption)}">'
            f"<figcaption>{escaped(caption)}</figcaption></figure>"
        )
        return self

    def run(self, run: Run) -> Report:
        """Adds the content of a run directory: results, the latest images, training curves, options."""
        figures = {
            name: value for name, value in flatten(run.results()).items() if isinstance(value, int | float | str)
        }
        if figures:
            self.section("Results").table(["metric", "value"], figures.items())
        samples = run.samples()
        if samples:
            self.section("Pictures")
            for path in {name.stem.rstrip("0123456789-"): name for name in samples}.values():
                self.picture(path, path.stem)
        curves = metric_curves(run.metrics())
        if curves:
            self.section("Training")
            for name, png in curves.items():
                self.picture(png, name)
        self.section("Options").table(["option", "value"], flatten(run.experiment).items())
        versions = "  ".join(f"{name} {number}" for name, number in (run.config.get("versions") or {}).items())
        return self.text(
            f"git {run.config.get('git')}  ·  {run.config.get('time')}  ·  {versions}  ·  "
            f"{' '.join(run.config.get('command') or [])}"
        )

    def save(self, path: str | Path) -> Path:
        page = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escaped(self.title)}</title>'
            f"<style>{STYLE}</style><body>{''.join(self.parts)}</body></html>"
        )
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page.encode())
        return path


def spread(values: Iterable[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1) of at least one value, such as over seeds; 0 for a single value."""
    values = list(values)
    return mean(values), stdev(values) if len(values) > 1 else 0.0


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'<td class="n">{value:.4g}</td>'
    kind = ' class="n"' if isinstance(value, int) and not isinstance(value, bool) else ""
    return f"<td{kind}>{escaped(value)}</td>"
