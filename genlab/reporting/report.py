"""Self-contained HTML reports: sections with text, tables and embedded images."""

from __future__ import annotations

import base64
import shlex
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genlab.core.files import read, write_atomically
from genlab.core.text import escaped
from genlab.reporting.plots import metric_curves
from genlab.reporting.spread import with_deviation
from genlab.run import REAL, Run, command_line, flatten, git_commit

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#222}
h1{font-size:1.6em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ddd}
.table{overflow-x:auto}table{border-collapse:collapse;font-size:.9em;margin:.7em 0}
td,th{padding:.25em .7em;border-bottom:1px solid #e5e5e5}
th{text-align:left;background:#f6f6f6}td.n{text-align:right;font-variant-numeric:tabular-nums}
td.n,td.short{white-space:nowrap}
figure{display:inline-block;margin:.5em 1em .5em 0;vertical-align:top;max-width:100%}
figcaption,.facts{font-size:.85em;color:#666}.facts b{color:#222;font-weight:600}.facts span{margin-right:1.2em}
img{max-width:100%;cursor:zoom-in}img.large{position:fixed;inset:0;margin:auto;width:100vw;height:100vh;max-width:none;
object-fit:contain;background:#fffe;cursor:zoom-out;image-rendering:pixelated;z-index:1}
.warning{background:#fff4d6;padding:.4em .8em;margin:.4em 0}"""
SHORT = 20  # letters of a cell that is not broken into lines
ENLARGE = "onclick=\"this.classList.toggle('large')\""  # of an image: to the size of the window, and back


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
        self.title = title
        self.parts: list[str] = []
        self.tables: list[Table] = []
        self.warned: list[str] = []
        self.heading = ""  # of the current section

    def facts(self, **facts: object) -> Report:
        """A line of names and values, such as model, data set and clean accuracy."""
        spans = "".join(
            f"<span>{escaped(name.replace('_', ' '))} <b>{escaped(each)}</b></span>" for name, each in facts.items()
        )
        self.parts.append(f'<p class="facts">{spans}</p>')
        return self

    def section(self, title: str, text: str = "") -> Report:
        self.heading = title
        self.parts.append(f"<h2>{escaped(title)}</h2>")
        return self.text(text) if text else self

    def text(self, text: str) -> Report:
        self.parts.append(f"<p>{escaped(text)}</p>")
        return self

    def opening(self, text: str, png: bytes | None = None) -> Report:
        """Puts the message of the page, and a picture that shows it, above all else."""
        parts, self.parts = self.parts, []
        self.text(text)
        if png is not None:
            self.picture(png)
        self.parts += parts
        return self

    def warnings(self, sentences: Iterable[str]) -> Report:
        sentences = list(sentences)
        self.warned += sentences
        self.parts += [f'<p class="warning">{escaped(sentence)}</p>' for sentence in sentences]
        return self

    def table(self, header: Sequence[str], rows: Iterable[Iterable[Any]], terminal: Any = None) -> Report:
        """Numbers are aligned right; floats are shown with four significant digits, None as a dash. A column whose name
        ends in (sd) has the standard deviations of the one before it, and is shown there as mean ± deviation.

        terminal: what a terminal shows in its place, where this one is too wide: anything that rich prints.
        """
        header, joined = _joined(header, [tuple(row) for row in rows])
        cells = [tuple("–" if value is None else value for value in row) for row in joined]
        self.tables.append(Table(self.heading, header, cells, terminal))
        body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in cells)
        head = "".join(f"<th>{escaped(name)}</th>" for name in header)
        self.parts.append(f'<div class="table"><table><tr>{head}</tr>{body}</table></div>')
        return self

    def picture(self, png: bytes | str | Path, caption: str = "") -> Report:
        """Embeds a PNG or GIF, given as bytes or path."""
        content = png if isinstance(png, bytes) else read(Path(png))
        kind = "gif" if content[:3] == b"GIF" else "png"
        data = base64.b64encode(content).decode()
        self.parts.append(
            f'<figure><img {ENLARGE} src="data:image/{kind};base64,{data}" alt="{escaped(caption)}">'
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
        if grids := _grids(run):
            self.section("Pictures", "By the number of training images seen.")
            for path in grids:
                self.picture(path, caption(path))
        curves = metric_curves(run.metrics())
        if curves:
            self.section("Training")
            for name, png in curves.items():
                self.picture(png, name)
        self.section("Options").table(["option", "value"], flatten(run.experiment).items())
        versions = "  ".join(f"{name} {number}" for name, number in (run.config.get("versions") or {}).items())
        return self.text(
            f"trained {run.config.get('time')}  ·  git {run.config.get('git')}  ·  {versions}  ·  "
            f"{'; '.join(map(shlex.join, run.config.get('commands') or []))}"
        )

    def html(self) -> str:
        """Title and sections, without the page around them."""
        return f"<h1>{escaped(self.title)}</h1>" + "".join(self.parts)

    def _repr_html_(self) -> str:  # for notebooks
        return f"<style>{STYLE}</style>{self.html()}"

    def save(self, path: str | Path) -> Path:
        """Writes the page, with the date, the command and the commit at its end."""
        origin = f"page of {time.strftime('%Y-%m-%d %H:%M')} · git {git_commit()} · {shlex.join(command_line())}"
        page = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escaped(self.title)}</title>'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f'<style>{STYLE}</style><body>{self.html()}<p class="facts">{escaped(origin)}</p></body></html>'
        )
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page.encode())
        return path


def _grids(run: Run, most: int = 4) -> list[Path]:
    """The sample grids to show: of every kind the last; of the samples, up to `most` over the training."""
    kinds: dict[str, list[Path]] = {}
    for path in run.samples():
        kinds.setdefault(path.stem.rstrip("0123456789-"), []).append(path)
    found = [real] if (real := run.path / REAL).is_file() else []
    for kind, paths in kinds.items():
        several = min(most, len(paths)) if kind == "samples" else 1
        found += [paths[-1 - i * (len(paths) - 1) // max(1, several - 1)] for i in reversed(range(several))]
    return found


def caption(grid: Path) -> str:
    """Of a run's picture: samples-000064000 is "samples after 64,000 images"."""
    if grid.name == REAL:
        return "real images, held out"
    kind, _, images = grid.stem.rpartition("-")
    return f"{kind.replace('_', ' ')} after {int(images):,} images" if kind and images.isdigit() else grid.stem


def _joined(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> tuple[list[str], list[list[Any]]]:
    """The table with every standard deviation, a column "... (sd)", in the cells of the column before it."""
    deviations = {i for i, name in enumerate(header) if i and name.rstrip().endswith("(sd)")}

    def joined(row: Sequence[Any]) -> list[Any]:
        kept = [i for i in range(len(row)) if i not in deviations]
        numbers = [i + 1 in deviations and all(isinstance(row[j], int | float) for j in (i, i + 1)) for i in kept]
        return [with_deviation(row[i], row[i + 1]) if both else row[i] for i, both in zip(kept, numbers)]

    return [name for i, name in enumerate(header) if i not in deviations], [joined(row) for row in rows]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'<td class="n">{value:.4g}</td>'
    number = isinstance(value, int) and not isinstance(value, bool)
    kind = ' class="n"' if number else ' class="short"' if len(str(value)) <= SHORT else ""
    return f"<td{kind}>{escaped(value)}</td>"
