"""What a run holds: its trained method and the options it was trained with, read without trusting the files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import nn

from genlab.core import distributed
from genlab.core.files import FileError, Schema, mismatch
from genlab.core.own_code import TRUST, trusted
from genlab.core.ranges import Range, Side, short
from genlab.core.rebuild import rebuild
from genlab.core.registry import find_imported, resolve
from genlab.core.resolve import fingerprint, is_reference
from genlab.core.safetensors import read_safetensors
from genlab.core.text import one_line
from genlab.data.options import DataOptions
from genlab.nets.build import network
from genlab.plugins import methods
from genlab.run import Run, RunError
from genlab.training.checkpoint import CheckpointError, restore_module
from genlab.training.method import Config, Method, TrainOptions

WEIGHTS = "model.safetensors"  # of an exported run


def load(run: str | Path | Run, device: torch.device | str | None = None) -> Method:
    """The method that was trained in `run`, or exported to that folder, in eval mode, with requires_grad off.

    Its weights are the best ones of `best_by` if the run has them, else the EMA, else the last ones.

    device: none: a GPU if there is one, else the CPU.

    Raises:
        RunError: there is no run or no checkpoint yet, or config.json names an unknown method or invalid options.
        CheckpointError: no checkpoint is intact, or the newest does not fit the method.
    """
    run = run if isinstance(run, Run) else Run(run)
    with torch.device("cpu"):  # also inside a caller's `with torch.device(...)`
        method = _built(run)
    state = run.checkpoints.load()
    if state is None and (exported := run.path / WEIGHTS).is_file():
        state = {"method": read_safetensors(exported), "file": exported}
    if state is None:
        raise RunError(f"{run.path} has no checkpoint yet: train it first")
    best = state.get("best")
    if isinstance(best, dict) and best.get("weights"):
        part, weights = "best", best["weights"]
    else:
        part = "average" if "average" in state else "method"
        weights = state.get(part)
    if part == "average" and isinstance(weights, dict):
        weights = {str(name).removeprefix("method."): value for name, value in weights.items()}
    restore_module(method, weights, f"{part} in {state['file']}")
    return method.to(device or distributed.device()).eval().requires_grad_(False)


def load_classifier(
    option: str, source: str | Path, shape: tuple[int, int, int], classes: int | None = None
) -> nn.Module:
    """A trained classifier in eval mode, which is the value of `option` of another method: of the run directory
    `source`, or what file.py:function returns for (shape, classes).

    shape, classes: of that method's images; classes: none: any, and `source` must be a run.

    Raises:
        RunError: it holds no classifier of such images; names the option, the value and what is allowed.
        ValueError: the code fails.
    """
    if classes is not None and is_reference(str(source)):
        return network(str(source), shape, classes).to(distributed.device()).eval().requires_grad_(False)
    try:
        found = Run(Path(source))
        method, there = load(found), (shape_of(found), _about(found, "classes"))
        fault = ""
        if type(method).forward is nn.Module.forward:
            fault = f"it holds a {type(method).__name__}"
        elif there[0] != shape or classes not in (None, there[1]):
            fault = f"it was trained on images {there[0]} in {there[1]} classes"
    except (RunError, CheckpointError) as error:
        fault = str(error)
    if fault:
        among = "" if classes is None else f" in {classes} classes"
        wanted = f"the run directory of a classifier of images {shape}{among}"
        raise RunError(f"--{option} must name {wanted}, got {str(source)!r}: {fault}")
    return method


def config_of(run: Run) -> Config:
    """The options of the method of `run`.

    For safety, the class is only looked up among the methods of `genlab list` and the modules that are already
    imported, and the user's own code must be that whose hash was stored when the run was made: a config.json cannot
    import or run anything else.

    Raises:
        RunError: there is no such class, the options are invalid, or the user's own code has changed since.
    """
    name = _about(run, "method")
    kind = resolve(name) if name in [path for path, _ in methods().values()] else find_imported(name)
    if not (isinstance(kind, type) and issubclass(kind, Config) and kind.build is not Config.build):
        raise RunError(
            f"{run.config_file} names {short(name)} as its method, which is neither in `genlab list` nor a "
            "Config class that this program has imported; --plugin FILE adds those of a file"
        )
    config = _rebuilt(run, kind, "options")
    _check_code(run, config)
    return config


def _check_code(run: Run, config: Config) -> None:
    stored = run.experiment.get("code") or {}
    for text in config.own_code():
        try:
            now = fingerprint(text)
        except ValueError as error:
            raise RunError(f"{run.config_file} names code that is missing: {error}") from None
        if stored.get(text) != now and not os.environ.get(TRUST):
            raise RunError(
                f"{text} is not the code of {run.config_file}: its file has changed; restore it, or set "
                f"{TRUST}=1 to use it as it is now"
            )
        if not trusted(now):
            raise RunError(
                f"{run.config_file} would execute {text}, which was never named on this machine; read it, then set "
                f"{TRUST}=1 to load the run"
            )


def data_of(run: Run) -> DataOptions:
    """The data options of `run`."""
    return _rebuilt(run, DataOptions, "data")


def training_of(run: Run, kind: type[TrainOptions]) -> TrainOptions:
    """The training options of `run`, which are of the class `kind`."""
    return _rebuilt(run, kind, "training")


def shape_of(run: Run) -> tuple[int, int, int]:
    """(C, H, W) of the images of `run`."""
    channels, height, width = _about(run, "shape")
    return channels, height, width


ABOUT: Schema = {  # the experiment in a config.json
    "method": str,
    "options": dict,
    "data": dict,
    "training": dict,
    "shape": tuple[Annotated[int, Range(1, 4)], Side, Side],
    "classes": Annotated[int, Range(0, 10**6)],
}
_building: set[Path] = set()  # runs whose methods are being built; a method may load another run


def _about(run: Run, name: str) -> Any:
    if fault := mismatch(run.experiment, {name: ABOUT[name]}):
        raise RunError(f"the experiment in {run.config_file} {fault}")
    return run.experiment[name]


def _rebuilt(run: Run, kind: type[Any], field: str) -> Any:
    try:
        return rebuild(kind, _about(run, field), f"{field} in {run.config_file}")
    except FileError as error:
        raise RunError(str(error)) from None


def _built(run: Run) -> Method:
    """The method of `run`, untrained."""
    config, path = config_of(run), run.path.resolve()
    if path in _building:
        raise RunError(f"{run.config_file} names a run that depends on this one")
    _building.add(path)
    try:
        return config.build(shape_of(run), _about(run, "classes"))
    except (RunError, CheckpointError):  # of a run that this one loads
        raise
    except Exception as error:
        raise RunError(f"cannot build the method of {run.config_file}: {one_line(error, 300)}") from error
    finally:
        _building.discard(path)
