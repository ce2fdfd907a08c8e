"""The run directory: all files of one experiment.

config.json     all options, versions, seed, git commit, command
metrics.jsonl   training metrics, one JSON object per line
checkpoints/    the last two checkpoints of the whole training state
samples/        sample images, named by the number of training images seen
real.png        test images, to compare the samples with
results.json    final metrics
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
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from genlab.core.files import (
    FileError,
    Schema,
    leftovers,
    naming,
    parse,
    read,
    read_json,
    refuse_irregular,
    write_atomically,
)
from genlab.core.lock import locked
from genlab.core.own_code import TRUST
from genlab.core.ranges import Range, checked, short
from genlab.core.text import escaped
from genlab.training.checkpoint import COUNTS, Checkpoints

LENGTH = "training.images"
MAY_CHANGE = (LENGTH, "training.save_every", "training.log_every", "data.data_root")  # may change on resume
REAL = "real.png"
CODE = "code."  # the hashes of the user's own code
CONFIG: Schema = {
    "experiment": dict,
    "commands": list[list[str]] | None,
    "time": str | None,
    "git": str | None,
    "versions": dict | None,
}
ROW: Schema = {"images": Annotated[int, Range(0, 10**15)]}


class RunError(ValueError):
    """A run directory is missing or damaged or holds another experiment, or a file name leads outside of it."""


class Run:
    """The directory `path`; `create` starts or continues one, `Run(path)` opens an existing one.

    config_name: of the configuration file.
    """

    @checked
    def __init__(self, path: str | Path, config_name: str = "config.json"):
        self.path = Path(path)
        self.config_file = config = self.path / config_name
        if not os.path.lexists(config):
            raise RunError(f"{self.path} is not a run: it has no {config_name}")
        try:
            self.config: dict[str, Any] = read_json(config, CONFIG)
        except FileError as error:
            raise RunError(f"{error}; expected the configuration of a run") from None
        self.experiment: dict[str, Any] = self.config["experiment"]
        self.checkpoints = Checkpoints(self.path / "checkpoints", self.identity, COUNTS)

    @classmethod
    @checked
    def create(cls, path: str | Path, experiment: dict[str, Any]) -> Run:
        """Creates a run, or opens an existing one of the same experiment, in which only the options in MAY_CHANGE may
        differ; a finished training does not become shorter.

        Args:
            experiment: JSON values that define the experiment; compared with those of an existing run.

        Raises:
            RunError: the directory holds another experiment, a longer training, or other files.
        """
        path = Path(path)
        experiment, commands = json.loads(json.dumps(experiment)), [command_line()]
        if os.path.lexists(path / "config.json"):
            before = cls(path)
            old, new = flatten(before.experiment), flatten(experiment)
            if known := before.config.get("commands"):
                commands = [*known, *(each for each in commands if each != known[-1])]
            keys = sorted(old.keys() | new.keys(), key=lambda k: (k in DERIVED, k.startswith(CODE), k))
            other = next((k for k in keys if not may_change(k) and old.get(k) != new.get(k)), None)
            if other and other.startswith(CODE):
                changed = other.removeprefix(CODE)
                raise RunError(
                    f"{path} was begun with other code: the file of {changed} has changed; restore it, "
                    f"choose another --out, or set {TRUST}=1 to go on with it as it is now"
                )
            if other:
                option = f"--{other.rpartition('.')[2].replace('_', '-')}"
                again = f", or resume it with the old {option}" if "." in other else ""
                raise RunError(
                    f"{path} holds another run: {other} is {short(old.get(other))} there and "
                    f"{short(new.get(other))} here; choose another --out, or remove it{again}"
                )
            length, asked = old.get(LENGTH), new.get(LENGTH)
            if isinstance(length, int) and asked is not None and asked < length:
                before._check_shorter(asked, length)
        elif path.exists() and (not path.is_dir() or set(path.iterdir()) - set(leftovers(path))):
            raise RunError(f"{path} exists and is not a run: it has no config.json; choose another --out")
        cls._check_files(path)
        path.mkdir(parents=True, exist_ok=True)
        config = {
            "experiment": experiment,
            "commands": commands,
            **provenance(),
        }
        write_atomically(path / "config.json", json.dumps(config, indent=2).encode())
        return cls(path)

    def _check_shorter(self, asked: int, length: int) -> None:
        """Raises RunError if the training of `length` images, finished or not, has seen more than `asked`."""
        trained = length if (self.path / "results.json").exists() else self.seen()
        if asked < trained:
            raise RunError(
                f"{self.path} was trained for {trained:,} images, more than the {asked:,} of --images; "
                "choose another --out, or remove it"
            )

    def seen(self) -> int:
        """The training images that the newest checkpoint has seen; 0 without a checkpoint."""
        return (self.checkpoints.load() or {"images": 0})["images"]

    @staticmethod
    def _check_files(path: Path) -> None:
        """Refuses a run of which a file could not be written or read at the end of the training.

        Raises:
            RunError: a folder is in the place of a file, a file in that of a folder, or results.json is damaged.
        """
        try:
            for name in ("metrics.jsonl", "report.html", REAL):
                refuse_irregular(path / name)
            if (results := path / "results.json").exists():
                read_json(results, {})
        except FileError as error:
            raise RunError(str(error)) from None
        for name in ("checkpoints", "samples"):
            if (path / name).exists() and not (path / name).is_dir():
                raise RunError(f"{path / name} is not a folder")

    @property
    def identity(self) -> str:
        """A hash of the experiment: of all options except those in MAY_CHANGE, and without the user's own code."""
        fixed = {
            k: v
            for k, v in flatten(self.experiment).items()
            if k not in MAY_CHANGE and not k.startswith(CODE) and v is not None
        }
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()

    def file(self, *names: str) -> Path:
        """The path of a file of this run; creates its folder.

        Raises:
            RunError: the name leads outside of the run directory.
        """
        path = self.path.joinpath(*names)
        if not path.resolve().is_relative_to(self.path.resolve()) or path.resolve() == self.path.resolve():
            raise RunError(f"the name {'/'.join(names)!r} leads outside of the run {self.path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, row: dict[str, Any]) -> None:
        """Appends a line to metrics.jsonl."""
        with naming(path := self.path / "metrics.jsonl"), open(path, "a") as file:
            file.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, without an incomplete last line (of a killed process).

        Raises:
            RunError: a line is not a JSON object with the integer "images"; names the line.
        """
        where = self.path / "metrics.jsonl"
        try:
            return [parse(line, f"{where}, line {n},", ROW) for n, line in enumerate(self._lines(), 1)]
        except FileError as error:
            raise RunError(str(error)) from None

    def sync_log(self) -> int:
        """Flushes metrics.jsonl to disk (fsync); returns its number of lines."""
        lines = self._lines()
        if lines:
            with open(self.path / "metrics.jsonl", "rb") as file:
                os.fsync(file.fileno())
        return len(lines)

    def truncate_log(self, lines: int) -> None:
        """Keeps the first `lines` lines of metrics.jsonl, for a resumed training, which logs the later ones again."""
        path, found = self.path / "metrics.jsonl", self._lines()
        if len(found) < lines:
            warnings.warn(f"{path} has lost lines: {len(found)} of {lines} are left", stacklevel=2)
        kept = b"".join(line + b"\n" for line in found[:lines])
        if path.exists() and read(path) != kept:
            write_atomically(path, kept)

    def _lines(self) -> list[bytes]:
        """The complete lines of metrics.jsonl."""
        path = self.path / "metrics.jsonl"
        return read(path).split(b"\n")[:-1] if path.exists() else []

    def results(self) -> dict[str, Any]:
        path = self.path / "results.json"
        try:
            return read_json(path, {}) if path.exists() else {}
        except FileError as error:
            raise RunError(str(error)) from None

    def results_lock(self) -> AbstractContextManager[None]:
        """A lock on results.json and report.html; waits while another process holds it.

        It locks the folder of the checkpoints, because a training locks that of the run from start to end.
        """
        return locked(self.checkpoints.folder, wait=True)

    def add_results(self, **results: Any) -> None:
        """Merges values into results.json; safe against concurrent writers."""
        with self.results_lock():
            write_atomically(self.path / "results.json", json.dumps(self.results() | results, indent=2).encode())

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:  # for notebooks
        page = self.path / "report.html"
        if not page.is_file():
            return f"run {escaped(self.path)}, without a report yet"
        return f'<iframe srcdoc="{escaped(read(page).decode())}" style="width:100%;height:600px;border:0"></iframe>'

    def samples(self) -> list[Path]:
        """The sample images of this run, sorted by name and number."""

        def number(path: Path) -> tuple[str, int]:
            digits = re.findall(r"\d+", path.stem)
            return re.sub(r"\d+", "", path.stem), int(digits[-1]) if digits else 0

        return sorted(filter(Path.is_file, (self.path / "samples").glob("*.png")), key=number)


DERIVED = ("classes", "shape")  # follow from the data: reported as the difference only if no option differs


def may_change(option: str) -> bool:
    """Whether `option` may differ when a run is resumed."""
    return option in MAY_CHANGE or (option.startswith(CODE) and bool(os.environ.get(TRUST)))


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}"""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def command_line() -> list[str]:
    """The words of the command that runs, without the folder of its program."""
    program = Path(sys.argv[0])
    return [program.parent.name if program.name == "__main__.py" else program.name, *sys.argv[1:]]


def provenance() -> dict[str, Any]:
    """When, by which code and where something is made: JSON values."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "git": git_commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("torch", "torchvision", "numpy")},
    }


@cache
def git_commit() -> str | None:
    """The git commit of genlab's checkout when this process first asked, with `+` if there were uncommitted changes;
    None outside a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
