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

`{data}` is the folder of the downloaded data sets, `{out}` a folder for this claim and seed. A command is one of
genlab's or a recipe.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from genlab.core.files import FileError, read, read_json
from genlab.core.ranges import Range, Seeds, check
from genlab.core.text import one_line
from genlab.reporting.report import spread

TABLE = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end of results -->)", re.DOTALL)
COMMAND = re.compile(r"genlab [a-z]+ .+|recipes/\w+\.py( .+)?")
STORED = {"commands": list[str], "seeds": list[int], "runs": list[dict], "figures": dict}


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
        file, *steps = self.read
        try:
            found = json.loads(read(folder / file))
        except (OSError, ValueError) as error:
            raise ClaimError(f"the figure {self.name!r} cannot be read: {one_line(error)}") from None
        for step in steps:
            try:
                found = _row(found, step) if isinstance(step, dict) else found[step]
            except (LookupError, TypeError):
                raise ClaimError(f"{folder / file} has no {step!r} for the figure {self.name!r}") from None
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise ClaimError(f"{folder / file}: the figure {self.name!r} must be a number, got {one_line(found, 50)!r}")
        return found


def _row(rows: list[dict[str, Any]], values: dict[str, Any]) -> dict[str, Any]:
    """The only row that has these values."""
    found = [row for row in rows if all(row.get(key) == value for key, value in values.items())]
    if len(found) != 1:
        raise LookupError
    return found[0]


@dataclass(frozen=True)
class Claim:
    """Commands, and the figures that they measure."""

    name: str
    source: str
    commands: list[str]
    seeds: Seeds
    minutes: Annotated[float, Range(0, 1e6)]
    figure: tuple[Figure, ...]
    gpu_minutes: Annotated[float, Range(0, 1e6)] = 0.0

    def __post_init__(self) -> None:
        check(self)
        if not re.fullmatch(r"[a-z0-9-]+", self.name):
            raise ClaimError(f"names have small letters, digits and hyphens, got {self.name!r}")
        for command in self.commands:
            if not COMMAND.fullmatch(command):
                raise ClaimError(f"{self.name}: a command must be of genlab or recipes/NAME.py, got {command!r}")
        if not self.commands or not self.figure:
            raise ClaimError(f"{self.name} needs commands and figures")

    def words(self, command: str, seed: int, data: str, out: Path) -> list[str]:
        """The words of one of the commands, its places filled."""
        places = {"{seed}": str(seed), "{data}": data, "{out}": str(out)}
        return [re.sub(r"\{\w+\}", lambda found: places.get(found[0], found[0]), word) for word in command.split()]


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
    for i, entry in enumerate(tree.get("claim", [])):
        try:
            figures = tuple(_made(Figure, each) for each in entry.get("figure", ()))
            claim = _made(Claim, {**entry, "figure": figures})
        except ValueError as error:
            raise ClaimError(f"{path}, claim {entry.get('name', i)!r}: {error}") from None
        if claim.name in found:
            raise ClaimError(f"{path} has two claims of the name {claim.name!r}")
        found[claim.name] = claim
    return found


def _made(kind: type[Any], entry: dict[str, Any]) -> Any:
    known = {field.name for field in fields(kind)}
    if unknown := sorted(entry.keys() - known):
        raise ClaimError(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
    if missing := [f.name for f in fields(kind) if f.default is MISSING and f.name not in entry]:
        raise ClaimError(f"has no {missing[0]!r}")
    return kind(**entry)


def summary(values: list[float]) -> dict[str, Any]:
    """What is stored of one figure: the values of the seeds, their mean, standard deviation (n - 1) and number."""
    mean, deviation = spread(values)
    return {"values": values, "mean": mean, "sd": deviation, "n": len(values)}


def read_result(path: Path) -> dict[str, Any]:
    """A stored result.

    Raises:
        ClaimError: names the file and what is wrong with it.
    """
    try:
        return read_json(path, STORED)
    except (FileError, OSError) as error:
        raise ClaimError(str(error)) from None


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
    return found


def rendered(claim: Claim, result: Mapping[str, Any]) -> str:
    """The stored figures as a Markdown table, with source, seeds and commit."""
    lines = ["| figure | paper | measured | claimed |", "|---|---|---|---|"]
    for figure in claim.figure:
        stored = result["figures"][figure.name]
        value = f"{stored['mean']:.4g}" + (f" ± {stored['sd']:.2g}" if stored["n"] > 1 else "")
        note = f" ({figure.note})" if figure.note else ""
        lines.append(f"| {figure.name}{note} | {figure.paper} | {value} | {figure.claim} |")
    commits = ", ".join(sorted({(run["commit"] or "unknown")[:7] for run in result["runs"]}))
    seeds = f"{len(claim.seeds)} seeds" if len(claim.seeds) > 1 else "one seed"
    minutes = sum(run["minutes"] for run in result["runs"])
    lines += ["", f"{claim.source}. `{claim.name}`, {seeds}, {minutes:.0f} CPU minutes, recorded at {commits}."]
    return "\n".join(lines) + "\n"


def filled(text: str, claims: Mapping[str, Claim], results: Path) -> str:
    """Markdown `text`, every table between `<!-- results: NAME -->` and `<!-- end of results -->` made of NAME.json.

    Raises:
        ClaimError: there is no claim of that name, or no result is stored for it.
    """

    def table(found: re.Match[str]) -> str:
        if found[2] not in claims:
            raise ClaimError(f"a table of results is named {found[2]!r}, which no claim is")
        return found[1] + rendered(claims[found[2]], read_result(results / f"{found[2]}.json")) + found[3]

    return TABLE.sub(table, text)
