"""Reads weights into a network: `.pt` or `.pth` of torch.save, or `.safetensors`. Nothing in the file is executed."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genlab.core.files import refuse_irregular
from genlab.core.safetensors import read_safetensors
from genlab.core.text import one_line

KEYS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights", "params", "ema")
NAMED = 3  # differences that are named in a message


def load_weights(net: nn.Module, path: Path) -> None:
    """Loads the weights in the file `path` into `net`.

    The file holds a state dict, or a dict with one under one of KEYS. If the names of all weights of the network have
    a common prefix in the file, such as "module." of DataParallel, it is removed.

    Raises:
        ValueError: there is no such file, it holds no weights, or they do not fit; names what does not.
    """
    fit_weights(net, read_weights(path), str(path))


def fit_weights(net: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """As `load_weights`, of weights that were read already; `origin` names them in messages."""
    state = _under_prefix(state, set(net.state_dict()))
    if fault := _difference(state, net.state_dict()):
        raise ValueError(f"{origin} does not fit the model: {fault}")
    net.load_state_dict(state, strict=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU.

    Raises:
        ValueError: see `load_weights`.
    """
    if not path.exists():
        raise ValueError(f"there is no file {str(path)!r} with weights")
    refuse_irregular(path)
    content = read_safetensors(path) if path.suffix == ".safetensors" else _saved(path)
    for _ in range(2):  # {"model": {"state_dict": ...}}
        if isinstance(content, Mapping) and (key := next((k for k in KEYS if isinstance(content.get(k), Mapping)), "")):
            content = content[key]
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds {type(content).__name__}, not weights by name")
    found = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if sparse := [name for name, value in found.items() if value.layout is not torch.strided]:
        raise ValueError(f"{path} holds sparse weights ({some(sparse)}); save them dense")
    if not found:
        keys = one_line(", ".join(map(str, content)), 200)
        raise ValueError(f"{path} holds no weights: it has the keys {keys or '(none)'}")
    return found


def _saved(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of zipfile, pickle or torch, depending on the damage
        if "TorchScript" in str(error):
            raise ValueError(f"{path} is a TorchScript model: give it as --model, without --weights") from None
        if zipfile.is_zipfile(path) or path.open("rb").read(1) == b"\x80":  # as pickles begin
            raise ValueError(
                f"{path} holds more than weights, which is not loaded because it could execute code: save "
                "model.state_dict() instead of the model"
            ) from None
        raise ValueError(f"{path} is not a file of torch.save, or it is damaged") from None


def _under_prefix(state: dict[str, Tensor], names: set[str]) -> dict[str, Tensor]:
    """`state` without the prefix that its names have in front of `names`."""
    if names & state.keys():
        return state
    prefixes = dict.fromkeys(name[: i + 1] for name in state for i, letter in enumerate(name) if letter == ".")
    best = max(prefixes, key=lambda prefix: sum(prefix + name in state for name in names), default="")
    kept = {name.removeprefix(best): value for name, value in state.items() if name.startswith(best)}
    return kept if names & kept.keys() else state


def _difference(state: Mapping[str, Tensor], own: Mapping[str, Any]) -> str:
    """What does not fit, in words; empty if all fits. The counters of BatchNorm may be missing."""
    missing = [n for n in own if n not in state and not n.endswith("num_batches_tracked")]
    foreign = [name for name in state if name not in own]
    shapes = [
        f"{name} is {tuple(value.shape)} there and {tuple(own[name].shape)} here"
        for name, value in state.items()
        if name in own and isinstance(own[name], Tensor) and value.shape != own[name].shape
    ]
    kinds = [
        f"{name} is {value.dtype} there and {own[name].dtype} here".replace("torch.", "")
        for name, value in state.items()
        if name in own and isinstance(own[name], Tensor) and kind_of(value) != kind_of(own[name])
    ]
    parts = [some(shapes), some(kinds), f"it lacks {some(missing)}" if missing else "",
             f"the model has no {some(foreign)}" if foreign else ""]  # fmt: skip
    return one_line("; ".join(filter(None, parts)))


def kind_of(x: Tensor) -> tuple[bool, bool]:
    return x.is_floating_point(), x.is_complex()


def some(names: list[str]) -> str:
    """The first of `names`, and the number of the others."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
