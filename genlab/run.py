"""A run directory: everything one experiment leaves behind, in files that other tools can read.

config.json     all options, versions, seed, git commit, command
metrics.jsonl   one line per logged moment of training
checkpoints/    two generations of the whole state
samples/        pictures, named by images seen
results.json    final figures
report.html     all of it on one self-contained page
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import time
import warnings
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from genlab.core.files import FileError, Schema, leftovers, naming, parse, read, read_json, write_atomically
from genlab.core.lock import locked
from genlab.core.ranges import Range, short
from genlab.training.checkpoint import COUNTS, Checkpoints

FREE = ("training.images", "training.save_every", "training.log_every", "data.data_root")  # may change on resume
CONFIG: Schema = {
    "experiment": dict,
    "command": list[str] | None,
    "time": str | None,
    "git": str | None,
    "versions": dict | None,
}
ROW: Schema = {"images": Annotated[int, Range(0, 10**15)]}


class RunError(ValueError):
    """A run directory is missing, is another experiment's, or was asked for a name outside itself."""


class Run:
    """The directory `path`; `create` starts or continues one, `Run(path)` opens an existing one."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        config = self.path / "config.json"
        if not os.path.lexists(config):
            raise RunError(f"{self.path} is not a run: it has no config.json")
        try:
            self.config: dict[str, Any] = read_json(config, CONFIG)
        except FileError as error:
            raise RunError(f"{error}; it should be a run's configuration") from None
        self.experiment: dict[str, Any] = self.config["experiment"]
        self.checkpoints = Checkpoints(self.path / "checkpoints", self.identity, COUNTS)

    @classmethod
    def create(cls, path: str | Path, experiment: dict[str, Any]) -> Run:
        """Starts a run, or opens it again for the same experiment, of which only the options in FREE may differ.

        Args:
            experiment: plain values (JSON) that define what is done; compared when the run exists already.

        Raises:
            RunError: the directory holds another experiment, or files that are no run.
        """
        path = Path(path)
        experiment = json.loads(json.dumps(experiment))
        if os.path.lexists(path / "config.json"):
            old, new = flatten(cls(path).experiment), flatten(experiment)
            keys = sorted(old.keys() | new.keys(), key=lambda k: (k in FOLLOWS, k))
            other = next((k for k in keys if k not in FREE and old.get(k) != new.get(k)), None)
            if other:
                option = f"--{other.rpartition('.')[2].replace('_', '-')}"
                again = f", or give {option} as it was to continue it" if "." in other else ""
                raise RunError(
                    f"{path} holds another run: {other} is {short(old.get(other))} there and "
                    f"{short(new.get(other))} here; choose another --out, or remove it{again}"
                )
        elif path.exists() and (not path.is_dir() or set(path.iterdir()) - set(leftovers(path))):
            raise RunError(f"{path} exists and is not a run, for it has no config.json; choose another --out")
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

    @property
    def identity(self) -> str:
        """A hash of all that defines the experiment: of every option but those in FREE."""
        fixed = {k: v for k, v in flatten(self.experiment).items() if k not in FREE and v is not None}
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()

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
        """The lines of metrics.jsonl; a last line that a kill cut short is left out.

        Raises:
            RunError: a line is no object with a number of images; it names the line.
        """
        where = self.path / "metrics.jsonl"
        try:
            return [parse(line, f"{where}, line {n},", ROW) for n, line in enumerate(self._lines(), 1)]
        except FileError as error:
            raise RunError(str(error)) from None

    def logged(self) -> int:
        """The number of lines of metrics.jsonl, all of which are on the disk when this returns."""
        lines = self._lines()
        if lines:
            with open(self.path / "metrics.jsonl", "rb") as file:
                os.fsync(file.fileno())
        return len(lines)

    def keep(self, lines: int) -> None:
        """Cuts metrics.jsonl back to its first lines: a resumed training writes those after them again."""
        path, found = self.path / "metrics.jsonl", self._lines()
        if len(found) < lines:
            warnings.warn(f"{path} has lost lines: {len(found)} of {lines} are left", stacklevel=2)
        kept = b"".join(line + b"\n" for line in found[:lines])
        if path.exists() and read(path) != kept:
            write_atomically(path, kept)

    def _lines(self) -> list[bytes]:
        """The lines of metrics.jsonl that are complete."""
        path = self.path / "metrics.jsonl"
        return read(path).split(b"\n")[:-1] if path.exists() else []

    def results(self) -> dict[str, Any]:
        path = self.path / "results.json"
        try:
            return read_json(path, {}) if path.exists() else {}
        except FileError as error:
            raise RunError(str(error)) from None

    def writing(self) -> AbstractContextManager[None]:
        """Within, nobody else writes results or what is made of them; waits for who does.

        What is held is a folder of its own, since a training holds that of the run from its beginning to its end.
        """
        return locked(self.checkpoints.folder, wait=True)

    def add_results(self, **results: Any) -> None:
        """Merges figures into results.json, whoever else does so at the same time."""
        with self.writing():
            write_atomically(self.path / "results.json", json.dumps(self.results() | results, indent=2).encode())

    def samples(self) -> list[Path]:
        """The pictures of this run, in the order of their names' numbers."""

        def number(path: Path) -> tuple[str, int]:
            digits = re.findall(r"\d+", path.stem)
            return re.sub(r"\d+", "", path.stem), int(digits[-1]) if digits else 0

        return sorted(filter(Path.is_file, (self.path / "samples").glob("*.png")), key=number)


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
