"""Published figures: what is claimed, by which commands it is measured, what was measured, and the tables made of it.

A TOML file lists the claims:

    [[claim]]
    name = "distillation"                     # of the stored result, NAME.json
    source = "Hinton et al. 2015, arXiv:1503.02531, section 3"
    commands = ["recipes/distillation.py --data mnist --data-root {data} --seeds {seed} --out {out}"]
    seeds = [0, 1, 2]
    minutes = 12                              # CPU minutes of one seed
    [[claim.figure]]
    name = "errors, student alone"
    read = ["results.json", {network = "student"}, "errors"]  # file, then keys, indices or the values of the row meant
    expected = 140                            # the mean over the seeds is within `tolerance` of it; or it is
    tolerance = 15                            # `at_least` or `at_most` a number
    paper = "146"                             # the source's figure; `note` says why ours differs
    [[claim.table]]                           # all numbers of a list of rows, rendered as a table; nothing is claimed
    name = "errors"
    read = ["results.json"]
    rows = ["network", "learns from"]         # the entries that name a row
    columns = ["errors", "bytes"]             # with dots where they lie deeper: "success.value"
    across = ""                               # of `rows`, if any: the one whose values stand side by side
    where = {network = "student"}             # the rows of these values alone

`{data}` is the folder of the downloaded data sets, `{out}` a folder for this claim and seed. A command is one of
genlab's or a recipe; a word with spaces stands in quotes.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any

from genlab.core.files import FileError, read, read_json
from genlab.core.ranges import Range, Seeds, check
from genlab.core.text import counted, one_line
from genlab.reporting.measured import ClaimError, Figure, Rows, is_summary, summary, value_cell

TABLE = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end of results -->)", re.DOTALL)
COMMAND = re.compile(r"genlab [a-z]+ .+|recipes/\w+\.py( .+)?")
STORED = {"commands": list[str], "seeds": list[int], "runs": list[dict], "figures": dict}


@dataclass(frozen=True)
class Claim:
    """Commands, and the figures that they measure."""

    name: str
    source: str
    commands: list[str]
    seeds: Seeds
    minutes: Annotated[float, Range(0, 1e6)]
    figure: tuple[Figure, ...] = ()
    table: tuple[Rows, ...] = ()
    gpu_minutes: Annotated[float, Range(0, 1e6)] = 0.0

    def __post_init__(self) -> None:
        check(self)
        if not re.fullmatch(r"[a-z0-9-]+", self.name):
            raise ClaimError(f"names have small letters, digits and hyphens, got {self.name!r}")
        for command in self.commands:
            if not COMMAND.fullmatch(command):
                raise ClaimError(f"{self.name}: a command must be of genlab or recipes/NAME.py, got {command!r}")
        if not self.commands or not self.figure + self.table:
            raise ClaimError(f"{self.name} needs commands, and figures or tables")

    def words(self, command: str, seed: int, data: str, out: Path) -> list[str]:
        """The words of one of the commands, its places filled."""
        places = {"{seed}": str(seed), "{data}": data, "{out}": str(out)}
        return [re.sub(r"\{\w+\}", lambda found: places.get(found[0], found[0]), word) for word in shlex.split(command)]


def read_claims(path: Path) -> dict[str, Claim]:
    """name -> claim of the TOML file `path`.

    Raises:
        ClaimError: names the claim and what is wrong with it.
    """
    try:
        tree = tomllib.loads(read(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClaimError(f"{path} is not readable as TOML: {one_line(error)}") from None
    found: dict[str, Claim] = {}
    for i, entry in enumerate(_tables(tree, "claim", str(path))):
        try:
            figures = tuple(_made(Figure, each) for each in _tables(entry, "figure", "it"))
            tables = tuple(_made(Rows, each) for each in _tables(entry, "table", "it"))
            claim = _made(Claim, {**entry, "figure": figures, "table": tables})
        except ValueError as error:
            raise ClaimError(f"{path}, claim {entry.get('name', i)!r}: {error}") from None
        if claim.name in found:
            raise ClaimError(f"{path} has two claims of the name {claim.name!r}")
        found[claim.name] = claim
    return found


def _tables(tree: dict[str, Any], key: str, owner: str) -> list[dict[str, Any]]:
    """The tables [[key]] of a TOML tree."""
    found = tree.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ClaimError(f"{owner}: {key} must be tables [[...{key}]], got {one_line(found, 50)!r}")
    return found


def _made(kind: type[Any], entry: dict[str, Any]) -> Any:
    known = {field.name for field in fields(kind)}
    if unknown := sorted(entry.keys() - known):
        raise ClaimError(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
    if missing := [f.name for f in fields(kind) if f.default is f.default_factory is MISSING and f.name not in entry]:
        raise ClaimError(f"has no {missing[0]!r}")
    return kind(**entry)


def read_result(path: Path) -> dict[str, Any]:
    """A stored result.

    Raises:
        ClaimError: names the file and what is wrong with it.
    """
    try:
        found: dict[str, Any] = read_json(path, STORED)
    except (FileError, OSError) as error:
        raise ClaimError(str(error)) from None
    tables = found.get("tables", {})
    for name, figure in found["figures"].items():
        if not is_summary(figure):
            raise ClaimError(f"{path}: {name!r} must have mean, sd and n of its values, got {one_line(figure, 50)!r}")
    if not isinstance(tables, dict) or not all(isinstance(rows, list) for rows in tables.values()):
        raise ClaimError(f"{path}: tables must be lists of rows")
    for name, rows in tables.items():
        if not all(isinstance(row, dict) for row in rows):
            raise ClaimError(f"{path}: the table {name!r} must be a list of rows")
    for run in found["runs"]:
        if not isinstance(run.get("minutes"), int | float) or not isinstance(run.get("commit"), str | None):
            raise ClaimError(f"{path}: a run must have minutes and a commit, got {one_line(run, 50)!r}")
    return found


def faults(claim: Claim, result: Mapping[str, Any]) -> list[str]:
    """Where a stored result is not what is claimed; empty if the claim holds."""
    found = []
    if result["commands"] != claim.commands or result["seeds"] != list(claim.seeds):
        found.append(f"{claim.name}: the stored result is of other commands or seeds")
    for figure in claim.figure:
        stored = result["figures"].get(figure.name)
        if stored is None:
            found.append(f"{claim.name}: no result is stored for {figure.name!r}")
        elif stored != summary(stored["values"]):
            found.append(f"{claim.name}: mean, sd and n of {figure.name!r} are not those of its values")
        elif not figure.holds(stored["mean"]):
            found.append(f"{claim.name}: {figure.name!r} is {stored['mean']:.5g}, claimed is {figure.claim}")
    for table in claim.table:
        rows = result.get("tables", {}).get(table.name, [])
        if not rows or any(row.keys() != {*table.rows, *table.columns} for row in rows):
            found.append(f"{claim.name}: no rows of these columns are stored for the table {table.name!r}")
        elif not all(cell is None or is_summary(cell) for row in rows for cell in map(row.get, table.columns)):
            found.append(f"{claim.name}: a cell of the table {table.name!r} has no mean, sd and n of its values")
        elif any(cell and cell != summary(cell["values"]) for row in rows for cell in map(row.get, table.columns)):
            found.append(f"{claim.name}: mean, sd and n in the table {table.name!r} are not those of its values")
    return found


def rendered(claim: Claim, result: Mapping[str, Any], table: str = "") -> str:
    """The stored figures, or one of the stored tables, as a Markdown table, with source, seeds and commit."""
    if table:
        known = {each.name: each for each in claim.table}
        if table not in known or table not in result.get("tables", {}):
            raise ClaimError(f"{claim.name} has no table {table!r}, or none is stored")
        lines = known[table].rendered(result["tables"][table])
    else:
        lines = ["| figure | paper | measured | claimed |", "|---|---|---|---|"]
        for figure in claim.figure:
            stored = result["figures"].get(figure.name)
            note = f" ({figure.note})" if figure.note else ""
            lines.append(f"| {figure.name}{note} | {figure.paper} | {value_cell(stored)} | {figure.claim} |")
    commits = ", ".join(sorted({(run["commit"] or "unknown")[:7] for run in result["runs"]}))
    minutes = counted(max(1, sum(run["minutes"] for run in result["runs"])), "CPU minute")
    origin = f"{claim.source}. `{claim.name}`, {counted(claim.seeds)}, {minutes}, recorded at {commits}."
    lines += ["", *wrap(origin, 120, break_on_hyphens=False, break_long_words=False)]
    return "\n".join(lines) + "\n"


def filled(text: str, claims: Mapping[str, Claim], results: Path) -> str:
    """Markdown `text`, every table between `<!-- results: NAME -->` and `<!-- end of results -->` made of NAME.json;
    NAME/TABLE is one of the tables of that claim.

    Raises:
        ClaimError: there is no claim of that name, or no result is stored for it.
    """

    def table(found: re.Match[str]) -> str:
        name, _, which = found[2].partition("/")
        if name not in claims:
            raise ClaimError(f"a table of results is named {name!r}, which no claim is")
        return found[1] + rendered(claims[name], read_result(results / f"{name}.json"), which) + found[3]

    return TABLE.sub(table, text)
