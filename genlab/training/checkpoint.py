"""Checkpoints that are whole or absent: atomic, hashed, two generations, each tied to its run.

A folder holds `step-0000001200.pt` (what torch.save wrote) beside `step-0000001200.pt.sha256` (what `sha256sum -c`
reads). The hash is written first, so an interrupted save leaves at most a hash without its file; a file without a hash,
or one that does not fit it, has been changed by someone else. It is named and kept, and the generation before it takes
its place.
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
from torch.optim import SGD, Adam, Optimizer

from genlab.core.files import FileError, Schema, leftovers, mismatch, read, write_in_turn
from genlab.core.ranges import Range
from genlab.core.text import one_line

COUNTS: Schema = dict.fromkeys(("step", "images", "lines"), Annotated[int, Range(0, 10**15)])  # how far training is


class CheckpointError(ValueError):
    """No checkpoint in the folder can be trusted, or one holds something else than it should."""


class Checkpoints:
    """The last two checkpoints of the run with this `identity`, in `folder`; each must hold the fields of `schema`."""

    generations = 2

    def __init__(self, folder: Path, identity: str = "", schema: Schema | None = None):
        self.folder, self.identity, self.schema = folder, identity, schema or {}

    def _steps(self) -> list[Path]:
        """Checkpoints of which the file or the hash is there, newest first."""
        names = {path.name.removesuffix(".sha256") for path in self.folder.glob("step-*.pt*")}
        steps = {name: int(found[1]) for name in names if (found := re.fullmatch(r"step-(\d+)\.pt", name))}
        return [self.folder / name for name in sorted(steps, key=lambda name: steps[name], reverse=True)]

    def save(self, state: Mapping[str, Any], step: int) -> Path:
        """Writes `state` (tensors and plain values) as the newest generation and drops the third."""
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
        """The newest checkpoint that fits its hash, on the CPU, and as "file" its path; None if none was completed.

        Args:
            set_aside: files that are passed over get `unusable-` before their names, so that no later save replaces or
                drops them: for who goes on from an older generation.

        Raises:
            CheckpointError: checkpoints exist and none of them fits its hash, or the newest that does holds no state
                of this run; the message names them.
        """
        refused: dict[Path, str] = {}
        for path in self._steps():
            try:
                content = self._vouched(path)
            except (FileError, OSError) as reason:
                refused[path] = str(reason)
                continue
            if refused:
                told = ", ".join(f"{bad.name} {reason}" for bad, reason in refused.items())
                warnings.warn(f"{told}; going back to {path.name} in {self.folder}", stacklevel=2)
            for bad in refused if set_aside else ():
                for file in (bad, _manifest(bad)):
                    if file.exists():
                        file.rename(file.with_name(f"unusable-{file.name}"))
            return self._state(path, content)
        if lost := {path: reason for path, reason in refused.items() if path.exists()}:
            raise CheckpointError(
                f"no checkpoint in {self.folder} can be trusted: {', '.join(path.name for path in lost)}; the newest "
                f"{next(iter(lost.values()))}. To begin anew, remove that folder; or choose another --out"
            )
        return None

    def _vouched(self, path: Path) -> bytes:
        """The content of `path`, if its hash fits; else raises, with a reason that goes on behind the file's name."""
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
            raise CheckpointError(f"{path} is damaged, or no checkpoint: it is no whole file of torch.save")
        try:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise CheckpointError(f"{path} is no checkpoint: it holds more than tensors and plain values") from error
        except Exception as error:  # anything may stand in such an archive
            raise CheckpointError(f"{path} is damaged, or no checkpoint: {one_line(error, 200)}") from error
        if not isinstance(state, dict) or "run" not in state:
            raise CheckpointError(f"{path} is no checkpoint of this lab: it holds no state of a run")
        if state["run"] != self.identity:
            raise CheckpointError(f"{path} belongs to another run: that one was configured otherwise")
        if fault := mismatch(state, self.schema):
            raise CheckpointError(f"{path} {fault}")
        if odd := next((name for name, value in _tensors(state) if value.layout != torch.strided), None):
            raise CheckpointError(f"{path} cannot be used: {one_line(odd, 100)} is no dense tensor")
        with reading(str(path)):
            bad = not_finite(state)
        if bad:
            raise CheckpointError(f"{path} cannot be used: {one_line(bad)} is not finite")
        return state | {"file": str(path)}


def _manifest(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def not_finite(state: Any) -> str:
    """The name of a tensor within `state` (nested dicts, lists, tuples) that holds NaN or infinity; empty if none does.

    Waits for each device once, if all is well.
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
    """Within, `what` was read from a file, and whatever it makes fail is a CheckpointError that names it."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{what} cannot be used: {type(error).__name__}: {one_line(error, 300)}") from error


def restore_module(module: nn.Module, state: Any, what: str) -> None:
    """Loads `state`, which may be anything, into `module`.

    Raises:
        CheckpointError: a tensor is missing, superfluous, or of another shape or type; the message begins with `what`.
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
    """Its state_dict, with an entry for every parameter: an empty one where there was no gradient yet."""
    state = optimizer.state_dict()
    return state | {"state": {key: state["state"].get(key, {}) for key in _keys(state)}}


def _keys(state: dict[str, Any]) -> list[int]:
    """The numbers of an optimizer's parameters."""
    return [key for group in state["param_groups"] for key in group["params"]]


def restore_optimizer(optimizer: Optimizer, state: Any, what: str) -> None:
    """Loads `state`, which may be anything, into `optimizer`; its learning rates stay as they are.

    Raises:
        CheckpointError: it is not what `optimizer_state` has made of such an optimizer; the message begins with `what`.
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
            raise CheckpointError(f"{what} does not fit: it keeps nothing there for parameter {lost[0]}")
        optimizer.load_state_dict(state)
        for group, mine in zip(optimizer.param_groups, here["param_groups"]):
            group.update({k: v for k, v in mine.items() if k != "params"})
            for parameter in group["params"]:
                if fault := _odd(optimizer, group, parameter.shape, optimizer.state.get(parameter, {})):
                    raise CheckpointError(f"{what} does not fit: {fault}")
                if isinstance(optimizer, SGD) and group["momentum"]:  # the fused kernel wants it of all or of none
                    optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))


def _odd(optimizer: Optimizer, group: dict[str, Any], shape: torch.Size, kept: Any) -> str:
    """What the optimizer could not go on from in `kept`, its state for a parameter of `shape`; empty if nothing."""
    shapes = {key: tuple(value.shape) for key, value in kept.items() if isinstance(value, Tensor)}
    wanted = shapes
    if isinstance(optimizer, Adam):
        moments = ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if group["amsgrad"] else [])]
        wanted = {"step": (), **dict.fromkeys(moments, tuple(shape))}
    elif isinstance(optimizer, SGD):
        wanted = {"momentum_buffer": tuple(shape)}
    fits = shapes == wanted and all(form in ((), tuple(shape)) for form in shapes.values())
    return "" if fits or not kept else f"it keeps {one_line(shapes, 200)} there for a parameter of {tuple(shape)}"
