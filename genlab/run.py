"""A run directory: everything one experiment leaves behind, in files that other tools can read.

config.json     all options, versions, seed, git commit, command
metrics.jsonl   one line per logged moment of training
checkpoints/    two generations of the whole state
samples/        pictures, named by images seen
results.json    final figures
report.html     all of it on one self-contained page
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genlab.checkpoint import Checkpoints, naming, write_atomically


class RunError(ValueError):
    """A run directory is missing, is another experiment's, or was asked for a name outside itself."""


class Run:
    """The directory `path`; `create` starts or continues one, `Run(path)` opens an existing one."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not (self.path / "config.json").is_file():
            raise RunError(f"{self.path} is not a run: it has no config.json")
        try:
            self.config: dict[str, Any] = json.loads((self.path / "config.json").read_text())
            self.experiment: dict[str, Any] = self.config["experiment"]
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.path / 'config.json'} is not readable as a run's configuration: {error}") from None
        self.checkpoints = Checkpoints(self.path / "checkpoints")

    @classmethod
    def create(cls, path: str | Path, experiment: dict[str, Any], *, may_differ: tuple[str, ...] = ()) -> Run:
        """Starts a run, or opens it again for the same experiment.

        Args:
            experiment: plain values (JSON) that define what is done; compared when the run exists already.
            may_differ: dotted keys that may change between two calls (`training.images`: train for longer).

        Raises:
            RunError: the directory holds another experiment, or files that are no run.
        """
        path = Path(path)
        experiment = json.loads(json.dumps(experiment))
        if (path / "config.json").exists():
            old, new = flatten(cls(path).experiment), flatten(experiment)
            keys = sorted(old.keys() | new.keys(), key=lambda k: (k in FOLLOWS, k))
            other = next((k for k in keys if k not in may_differ and old.get(k) != new.get(k)), None)
            if other:
                option = f"--{other.rpartition('.')[2].replace('_', '-')}"
                again = f", or give {option} as it was to continue it" if "." in other else ""
                raise RunError(
                    f"{path} holds another run: {other} is {old.get(other)!r} there and {new.get(other)!r} here; "
                    f"choose another --out, or remove it{again}"
                )
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(f"{path} exists and is not a run; choose another --out")
        path.mkdir(parents=True, exist_ok=True)
        config = {
            "experiment": experiment,
            "command": sys.argv,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "git": git_commit(),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "versions": {name: version(name) for name in ("torch", "torchvision", "numpy")},
        }
        write_atomically(path / "config.json", json.dumps(config, indent=2).encode())
        return cls(path)

    def file(self, *names: str) -> Path:
        """The path of a file of this run, its folder made; refuses names that lead out of the run."""
        path = self.path.joinpath(*names)
        if not path.resolve().is_relative_to(self.path.resolve()) or path.resolve() == self.path.resolve():
            raise RunError(f"the name {'/'.join(names)!r} leads out of the run {self.path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, row: dict[str, Any]) -> None:
        """Appends a line to metrics.jsonl."""
        with naming(path := self.path / "metrics.jsonl"), open(path, "a") as file:
            file.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line that a kill cut short is left out."""
        path = self.path / "metrics.jsonl"
        rows = []
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def forget_after(self, images: int) -> None:
        """Drops the lines of metrics.jsonl that a resumed training will write again."""
        path = self.path / "metrics.jsonl"
        kept = "".join(json.dumps(row) + "\n" for row in self.metrics() if row.get("images", 0) <= images)
        if path.exists() and path.read_text() != kept:
            write_atomically(path, kept.encode())

    def results(self) -> dict[str, Any]:
        path = self.path / "results.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def add_results(self, **results: Any) -> None:
        """Merges figures into results.json."""
        write_atomically(self.path / "results.json", json.dumps(self.results() | results, indent=2).encode())

    def samples(self) -> list[Path]:
        """The pictures of this run, in the order of their names' numbers."""

        def number(path: Path) -> tuple[str, int]:
            digits = re.findall(r"\d+", path.stem)
            return re.sub(r"\d+", "", path.stem), int(digits[-1]) if digits else 0

        return sorted((self.path / "samples").glob("*.png"), key=number)


FOLLOWS = ("classes", "shape")  # from the data: named as the difference only if no option is


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}"""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def git_commit() -> str | None:
    """The commit of the lab's checkout, with `+` when files differ from it; None outside a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
