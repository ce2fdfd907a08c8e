"""Measures the claims in recipes/results/claims.toml, most of them figures of papers, and stores the results.

python recipes/reproduce.py --list
python recipes/reproduce.py --only distillation --data-root DIR      # stored as recipes/results/distillation.json
python recipes/reproduce.py --within 30min --data-root DIR
python recipes/reproduce.py --check                                  # stored results and tables against the claims
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.table import Table

from genlab.cli.main import start
from genlab.core.files import read_json, write_atomically
from genlab.core.ranges import Several
from genlab.core.registry import choose
from genlab.core.text import Console
from genlab.reporting.claims import Claim, faults, filled, read_claims, read_result
from genlab.reporting.measured import summary
from genlab.run import git_commit

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "recipes" / "results"


@dataclass(frozen=True)
class Config:
    """Measures claims and stores the results; finished seeds are not measured again."""

    list: bool = False
    """lists the claims, their cost, and whether their stored results hold; measures nothing"""
    check: bool = False
    """compares the stored results with the claims, and the tables of the Markdown files with both; measures nothing"""
    render: bool = False
    """writes the tables of the Markdown files from the stored results; measures nothing"""
    only: Several[str] = ()
    """names of claims; none: all"""
    within: str = ""
    """only claims that take no longer, all seeds together: 10min or 2h of one CPU core"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    out: Path = Path("runs/reproduce")
    """folder of the runs"""
    results: Path = RESULTS
    """folder of claims.toml, the stored results and the Markdown files"""


def main(config: Config) -> None:
    if not (config.results / "claims.toml").is_file():
        raise ValueError(f"--results must be a folder with claims.toml, got {config.results}")
    every = read_claims(config.results / "claims.toml")
    claims = chosen(every, config)
    if config.check:
        check(claims, config.results)
        check_tables(every, config.results)
    elif config.render:
        for page in sorted(config.results.glob("*.md")):
            write_atomically(page, filled(text_of(page), every, config.results).encode())
    else:
        for claim in () if config.list else claims.values():
            measure(claim, config)
        Console().print(listing(claims, config.results))


def chosen(claims: dict[str, Claim], config: Config) -> dict[str, Claim]:
    """The claims that the options ask for."""
    if config.only:
        claims = {choose(name, claims, "claim"): claims[name] for name in config.only}
    if config.within:
        most = minutes(config.within)
        claims = {name: claim for name, claim in claims.items() if claim.minutes * len(claim.seeds) <= most}
    return claims


def minutes(text: str) -> float:
    """90min and 1.5h are 90."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(min|h)", text)
    if not found:
        raise ValueError(f"--within must be a time such as 10min or 2h, got {text!r}")
    return float(found[1]) * (60 if found[2] == "h" else 1)


def measure(claim: Claim, config: Config) -> None:
    """Measures the seeds that are missing, and stores the figures of all."""
    if config.data_root is None and any("{data}" in command for command in claim.commands):
        raise ValueError(f"{claim.name} needs downloaded data: --data-root must be their folder")
    runs = [measured(claim, seed, config) for seed in claim.seeds]
    folders = [config.out / claim.name / str(seed) for seed in claim.seeds]
    result = {
        "commands": claim.commands,
        "seeds": claim.seeds,
        "figures": {f.name: summary([f.measured(folder) for folder in folders]) for f in claim.figure},
        "tables": {t.name: t.summary([t.measured(folder) for folder in folders]) for t in claim.table},
        "runs": [{key: value for key, value in run.items() if key != "commands"} for run in runs],
    }
    write_atomically(config.results / f"{claim.name}.json", (json.dumps(result, indent=1) + "\n").encode())


def measured(claim: Claim, seed: int, config: Config) -> dict[str, Any]:
    """Where the figures of one seed come from; kept beside the run when its commands have ended."""
    folder = (config.out / claim.name / str(seed)).resolve()
    done = folder.with_suffix(".json")
    if done.exists():
        run = read_json(done, {"commands": list[str], "minutes": float})
        if run["commands"] == claim.commands:
            return run
    began = cpu_minutes()
    for command in claim.commands:
        program, *words = claim.words(command, seed, str((config.data_root or Path()).resolve()), folder)
        start = ["-m", "genlab"] if program == "genlab" else [str(ROOT / program)]
        if status := subprocess.run([sys.executable, *start, *words]).returncode:
            raise ValueError(f"{claim.name}, seed {seed}: exit status {status} of {' '.join([program, *words])}")
    run = {
        "seed": seed,
        "commands": claim.commands,
        "minutes": round(cpu_minutes() - began, 2),
        "commit": git_commit(),
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "torch": version("torch"),
        "processor": processor(),
    }
    write_atomically(done, json.dumps(run, indent=1).encode())
    return run


def cpu_minutes() -> float:
    """CPU minutes of the commands that have ended: other work on the machine does not change it, unlike the clock."""
    spent = os.times()
    return (spent.children_user + spent.children_system) / 60


def processor() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def listing(claims: dict[str, Claim], results: Path) -> Table:
    table = Table("claim", "result", "CPU minutes", "seeds", "source", box=None)
    table.columns[0].no_wrap = True
    table.columns[-1].overflow = "fold"  # cuts no name
    for claim in claims.values():
        path = results / f"{claim.name}.json"
        state = "none" if not path.exists() else "differs" if faults(claim, read_result(path)) else "holds"
        seeds = len(claim.seeds)
        cost = f"{claim.minutes * seeds:g}" + (f" + {claim.gpu_minutes * seeds:g} GPU" if claim.gpu_minutes else "")
        table.add_row(claim.name, state, cost, str(seeds), claim.source)
    return table


def check(claims: dict[str, Claim], results: Path) -> None:
    """Raises ValueError if a stored result is not what is claimed; prints how many hold, and which are not measured."""
    stored = {name: path for name in claims if (path := results / f"{name}.json").exists()}
    if wrong := [fault for name, path in stored.items() for fault in faults(claims[name], read_result(path))]:
        raise ValueError("; ".join(wrong))
    print(f"{len(stored)} stored results are as claimed")
    if missing := claims.keys() - stored.keys():
        print(f"not measured yet: {', '.join(sorted(missing))}")


def text_of(page: Path) -> str:
    """The Markdown file; ValueError names it if it is not UTF-8."""
    try:
        return page.read_bytes().decode()
    except UnicodeDecodeError:
        raise ValueError(f"{page} is not UTF-8") from None


def check_tables(claims: dict[str, Claim], results: Path) -> None:
    """Raises ValueError if a table of a Markdown file is not that of its stored result."""
    for page in sorted(results.glob("*.md")):
        text = text_of(page)
        if filled(text, claims, results) != text:
            raise ValueError(f"{page.name}: a table differs from its stored result; --render writes it again")


if __name__ == "__main__":
    start(main, Config)
