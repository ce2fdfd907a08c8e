"""Checkpoints: written atomically, hashed, the last two kept, each tied to its run.

A folder holds `step-0000001200.pt` (of torch.save) and `step-0000001200.pt.sha256` (for `sha256sum -c`). The hash is
written first, so an interrupted save leaves at most a hash without its file; a file whose hash is missing or wrong was
modified or damaged. Such a file is reported and kept, and the previous checkpoint is used.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, Optimizer

from genlab.core.files import FileError, Schema, leftovers, mismatch, read, write_in_turn
from genlab.core.ranges import Range
from genlab.core.text import one_line

COUNTS: Schema = dict.fromkeys(("step", "images", "lines"), Annotated[int, Range(0, 10**15)])  # progress of training


class CheckpointError(ValueError):
    """No checkpoint in the folder is intact, or a checkpoint has unexpected content."""


class Checkpoints:
    """The last two checkpoints of the run with this `identity`, in `folder`; `schema`: their required fields."""

    generations = 2

    def __init__(self, folder: Path, identity: str = "", schema: Schema | None = None):
        self.folder, self.identity, self.schema = folder, identity, schema or {}

    def _steps(self) -> list[Path]:
        """Checkpoints whose file or hash exists, newest first."""
        names = {path.name.removesuffix(".sha256") for path in self.folder.glob("step-*.pt*")}
        steps = {name: int(found[1]) for name in names if (found := re.fullmatch(r"step-(\d+)\.pt", name))}
        return [self.folder / name for name in sorted(steps, key=lambda name: steps[name], reverse=True)]

    def save(self, state: Mapping[str, Any], step: int) -> Path:
        """Writes `state` (tensors and plain values) as the newest checkpoint and deletes the third newest."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in leftovers(self.folder):
            file.unlink()
        buffer = io.BytesIO()
        torch.save({**state, "run": self.identity}, buffer)
        content = buffer.getvalue()
        path = self.folder / f"step-{step:010d}.pt"
        line = f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
        write_in_turn({_manifest(path): line.encode(), path: content})
        for stale in self._steps()[self.generations :]:
            stale.unlink(missing_ok=True)
            _manifest(stale).unlink(missing_ok=True)
        return path

    def load(self, *, set_aside: bool = False) -> dict[str, Any] | None:
        """The newest intact checkpoint, on the CPU, with its path as "file"; None if there is none.

        Args:
            set_aside: rename damaged newer files to `unusable-...`, so that a training resumed from an older
                checkpoint does not overwrite or delete them.

        Raises:
            CheckpointError: all checkpoints are damaged, or the newest intact one is not of this run; names them.
        """
        refused: dict[Path, str] = {}
        for path in self._steps():
            try:
                content = self._verified(path)
            except (FileError, OSError) as reason:
                refused[path] = str(reason)
                continue
            if refused:
                reasons = ", ".join(f"{bad.name} {reason}" for bad, reason in refused.items())
                warnings.warn(f"{reasons}; going back to {path.name} in {self.folder}", stacklevel=2)
            for bad in refused if set_aside else ():
                for file in (bad, _manifest(bad)):
                    if file.exists():
                        file.rename(file.with_name(f"unusable-{file.name}"))
            return self._state(path, content)
        if lost := {path: reason for path, reason in refused.items() if path.exists()}:
            raise CheckpointError(
                f"no checkpoint in {self.folder} is intact: {', '.join(path.name for path in lost)}; the newest "
                f"{next(iter(lost.values()))}. To start again, remove that folder, or choose another --out"
            )
        return None

    def _verified(self, path: Path) -> bytes:
        """The content of `path` if its hash is right; else raises FileError with the rest of a sentence about it."""
        if not path.exists():
            raise FileError("is missing")
        if not _manifest(path).exists():
            raise FileError("has no SHA-256 beside it")
        content, expected = read(path), read(_manifest(path), 4096).split()[:1]
        if [hashlib.sha256(content).hexdigest().encode()] != expected:
            raise FileError("does not fit its SHA-256")
        return content

    def _state(self, path: Path, content: bytes) -> dict[str, Any]:
        if not (content.startswith(b"PK\3\4") and zipfile.is_zipfile(io.BytesIO(content))):
            raise CheckpointError(f"{path} is damaged or not a checkpoint: it is not a complete file of torch.save")
        try:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise CheckpointError(f"{path} is not a checkpoint: it holds more than tensors and plain values") from error
        except Exception as error:  # the archive may contain anything
            raise CheckpointError(f"{path} is damaged or not a checkpoint: {one_line(error, 200)}") from error
        if not isinstance(state, dict) or "run" not in state:
            raise CheckpointError(f"{path} is not a checkpoint of genlab: it holds no state of a run")
        if state["run"] != self.identity:
            raise CheckpointError(f"{path} belongs to another run, with other options")
        if fault := mismatch(state, self.schema):
            raise CheckpointError(f"{path} {fault}")
        if odd := next((name for name, value in _tensors(state) if value.layout != torch.strided), None):
            raise CheckpointError(f"{path} cannot be used: {one_line(odd, 100)} is not a dense tensor")
        with reading(str(path)):
            bad = not_finite(state)
        if bad:
            raise CheckpointError(f"{path} cannot be used: {one_line(bad)} is not finite")
        return state | {"file": str(path)}


def _manifest(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def not_finite(state: Any) -> str:
    """The name of a tensor within `state` (nested dicts, lists, tuples) that holds NaN or infinity; empty if none does.

    Synchronises with each device once, if all are finite.
    """
    found = {name: value for name, value in _tensors(state) if value.is_floating_point() or value.is_complex()}
    verdicts: dict[torch.device, list[Tensor]] = {}
    for value in found.values():
        verdicts.setdefault(value.device, []).append(value.detach().isfinite().all())
    if all(bool(torch.stack(each).all()) for each in verdicts.values()):
        return ""
    return next(name for name, value in found.items() if not value.isfinite().all())


def _tensors(tree: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(tree, Tensor):
        yield name, tree
    elif isinstance(tree, Mapping | list | tuple):
        for key, value in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
            yield from _tensors(value, f"{name} {key}".strip())


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns any exception in the block into a CheckpointError that names `what`, which was read from a file."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{what} cannot be used: {type(error).__name__}: {one_line(error, 300)}") from error


def restore_module(module: nn.Module, state: Any, what: str) -> None:
    """Loads `state`, an untrusted state_dict, into `module`.

    Raises:
        CheckpointError: a tensor is missing, unexpected, or of another shape or dtype; the message begins with `what`.
    """
    expected = module.state_dict()
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{what} holds {type(state).__name__}, not tensors by name")
    for name in dict.fromkeys([*expected, *state]):
        here, there = (_form(tree[name]) if name in tree else "missing" for tree in (expected, state))
        if here != there:
            raise CheckpointError(f"{what} does not fit: {one_line(name, 100)} is {there} there and {here} here")
    module.load_state_dict(state)


def _form(value: Any) -> str:
    if not isinstance(value, Tensor) or value.layout != torch.strided:
        return type(value).__name__
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """The optimizer's state_dict, with an entry for every parameter (empty for those without a gradient yet)."""
    state = optimizer.state_dict()
    return state | {"state": {key: state["state"].get(key, {}) for key in _keys(state)}}


def _keys(state: dict[str, Any]) -> list[int]:
    """The indices of an optimizer's parameters."""
    return [key for group in state["param_groups"] for key in group["params"]]


def restore_optimizer(optimizer: Optimizer, state: Any, what: str) -> None:
    """Loads `state`, an untrusted result of `optimizer_state`, into `optimizer`; keeps its current learning rates.

    Raises:
        CheckpointError: it is not the state of such an optimizer; the message begins with `what`.
    """
    if fault := mismatch(state, {"state": dict, "param_groups": list[dict]}):
        raise CheckpointError(f"{what} {fault}")
    with reading(what):
        here = optimizer.state_dict()
        for group, mine in zip(state["param_groups"], here["param_groups"], strict=True):
            other = [k for k, v in mine.items() if k != "lr" and (k not in group or repr(group[k]) != repr(v))]
            if other:
                raise CheckpointError(f"{what} does not fit: {other[0]} is not {mine[other[0]]!r} there")
        if lost := [key for key in _keys(here) if key not in state["state"]]:
            raise CheckpointError(f"{what} does not fit: it has no state there for parameter {lost[0]}")
        optimizer.load_state_dict(state)
        for group, mine in zip(optimizer.param_groups, here["param_groups"]):
            group.update({k: v for k, v in mine.items() if k != "params"})
            for parameter in group["params"]:
                if fault := _state_fault(optimizer, group, parameter.shape, optimizer.state.get(parameter, {})):
                    raise CheckpointError(f"{what} does not fit: {fault}")
                if isinstance(optimizer, SGD) and group["momentum"]:  # the fused kernel needs it for all or none
                    optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))


def _state_fault(optimizer: Optimizer, group: dict[str, Any], shape: torch.Size, kept: Any) -> str:
    """Why `kept` is not a valid optimizer state of a parameter of `shape`; empty if it is."""
    shapes = {key: tuple(value.shape) for key, value in kept.items() if isinstance(value, Tensor)}
    wanted = shapes
    if isinstance(optimizer, Adam):
        moments = ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if group["amsgrad"] else [])]
        wanted = {"step": (), **dict.fromkeys(moments, tuple(shape))}
    elif isinstance(optimizer, Adagrad):
        wanted = {"step": (), "sum": tuple(shape)}
    elif isinstance(optimizer, SGD):
        wanted = {"momentum_buffer": tuple(shape)}
    fits = shapes == wanted and all(form in ((), tuple(shape)) for form in shapes.values())
    return "" if fits or not kept else f"it has state {one_line(shapes, 200)} there for a parameter of {tuple(shape)}"
