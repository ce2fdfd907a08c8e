"""A classifier named by a text: code, a published architecture, a run of the lab, or a saved program.

| text | model |
|---|---|
| `file.py:function`, `package.module:function` | what the function returns, or the module of that name |
| `torchvision:NAME`, `timm:NAME` | an architecture of these packages |
| a folder | a run of `genlab train` |
| a file | of `torch.jit.save`, or, if it may execute code, `torch.export.save` |

Options of a function or architecture follow it, as in `torchvision:resnet18:num_classes=10`.
"""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

import genlab
from attacks.plugin import read_value
from genlab.core.own_code import TRUST
from genlab.core.resolve import is_reference, resolve
from genlab.core.text import one_line
from genlab.core.weights import load_weights

PRETRAINED = "pretrained"  # in place of a file of weights: those that the package publishes


@dataclass(frozen=True)
class External:
    """A classifier, and the preprocessing it was published with: None where it is unknown.

    model: images -> output of any form. mean, std: of pixels in [0, 1]. size: the shorter side of the images before the
    centre of `crop` pixels is cut out. classes: their names, in the order of the outputs. trained: whether it has
    weights, rather than random ones.
    """

    model: Callable[..., Any]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: int | None = None
    crop: int | None = None
    channels: int | None = None
    classes: tuple[str, ...] = ()
    trained: bool = False


def load_model(text: str, weights: str | None = None) -> External:
    """The model that `text` names, on the CPU, in eval mode.

    weights: a file (`load_weights`), or "pretrained" for the published weights of a torchvision or timm architecture,
    which are downloaded at their first use; none: those the function returns, or random ones.

    Raises:
        ValueError: there is no such model, its code fails, or the weights do not fit.
    """
    name, options = split_options(text)
    kind, _, rest = name.partition(":")
    pretrained = weights == PRETRAINED
    if kind in ("torchvision", "timm") and rest:
        found = {"torchvision": _torchvision, "timm": _timm}[kind](text, rest, options, pretrained)
    elif pretrained:
        raise ValueError(f"--weights pretrained is for torchvision:NAME and timm:NAME, got --model {text}")
    elif Path(text).exists() and not text.endswith(".py"):
        if weights is not None:
            raise ValueError(f"{text} has its own weights: leave out --weights")
        return External(genlab.load(text, "cpu") if Path(text).is_dir() else _program(Path(text)), trained=True)
    elif is_reference(name):
        found = External(_built(text, resolve(name), options), trained=True)
    else:
        raise ValueError(_unclear(text))
    if weights is not None and not pretrained:
        if not isinstance(found.model, nn.Module):
            raise ValueError(f"{text} is a function, not a module, so --weights cannot be loaded into it")
        load_weights(found.model, Path(weights))
        found = replace(found, trained=True)
    if isinstance(found.model, nn.Module):
        found.model.eval().requires_grad_(False)
    return found


def split_options(text: str) -> tuple[str, dict[str, Any]]:
    """torchvision:resnet18:num_classes=10 -> ("torchvision:resnet18", {"num_classes": 10})."""
    words, options = text.split(":"), dict[str, Any]()
    while len(words) > 1 and re.fullmatch(r"\w+=.*", words[-1]):
        name, _, value = words.pop().partition("=")
        options[name] = read_value(value)
    return ":".join(words), options


def _unclear(text: str) -> str:
    if text.endswith(".py"):
        return f"--model {text} names a file: add the function that builds the network, as in {text}:build"
    if "." in text or "/" in text:
        return f"--model {text}: there is no such file or folder"
    return (
        f"--model {text} names no model; that is file.py:function, package.module:function, torchvision:NAME, "
        "timm:NAME, the folder of a run, or a file of torch.jit.save or torch.export.save"
    )


def _built(text: str, build: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """The model that `build` returns, or `build` itself if it is a module."""
    if isinstance(build, nn.Module):
        return build
    try:
        model = build(**options)
    except (Exception, SystemExit) as error:
        hint = ""
        if isinstance(error, TypeError) and "required positional" in str(error):
            hint = f"; --model calls it with the options alone, as in {text}:classes=10"
        raise ValueError(f"{text} failed: {type(error).__name__}: {one_line(error, 300)}{hint}") from error
    if not callable(model):
        raise ValueError(f"{text} must return a model, got {type(model).__name__}")
    return model


def _torchvision(text: str, name: str, options: dict[str, Any], pretrained: bool) -> External:
    from torchvision import models

    _known(name, models.list_models(module=models), "torchvision")
    published = getattr(models.get_model_weights(name), "DEFAULT", None)
    if pretrained and published is None:
        raise ValueError(f"torchvision has no weights of {name}")
    net = _made(text, lambda: models.get_model(name, weights=published if pretrained else None, **options))
    if published is None:
        return External(net, channels=3, trained=pretrained)
    how = published.transforms()
    return External(
        net,
        tuple(how.mean),
        tuple(how.std),
        how.resize_size[0],
        how.crop_size[0],
        3,
        tuple(published.meta["categories"]),
        pretrained,
    )


def _timm(text: str, name: str, options: dict[str, Any], pretrained: bool) -> External:
    try:
        import timm
    except ImportError:
        raise ValueError(f"--model {text} needs the package timm: pip install timm") from None
    _known(name, timm.list_models(), "timm")
    net = _made(text, lambda: timm.create_model(name, pretrained=pretrained, **options))
    how: Any = net.pretrained_cfg
    channels, crop, _ = how["input_size"]
    size = int(crop / how.get("crop_pct", 1.0))
    return External(
        net, tuple(how["mean"]), tuple(how["std"]), size, crop, options.get("in_chans", channels), (), pretrained
    )


def _made(text: str, make: Callable[[], nn.Module]) -> nn.Module:
    try:
        return make()
    except Exception as error:  # an unknown option, a value that does not fit, no network
        hint = "; without network, give --weights FILE" if isinstance(error, OSError) else ""
        raise ValueError(f"{text} cannot be built: {type(error).__name__}: {one_line(error, 300)}{hint}") from error


def _known(name: str, known: Iterable[str], package: str) -> None:
    if name not in (known := list(known)):
        near = get_close_matches(name, known, 3)
        hint = f": did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"unknown {package} model {name!r}{hint}")


def _program(path: Path) -> nn.Module:
    """The model in a file of torch.jit.save or torch.export.save.

    The latter is executed only if the user trusts it: torch.export.load unpickles parts of it, evaluates expressions in
    it, and calls any function of torch that it names (torch 2.14, torch/_export/serde/serialize.py).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        names = []
    exported = any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names)
    if exported and not os.environ.get(TRUST):
        raise ValueError(
            f"{path} is a program of torch.export.save, which can execute any code when it is loaded: if you trust who "
            f"made it, set {TRUST}=1"
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            if any("/code/" in name for name in names):
                return torch.jit.load(path, map_location="cpu")
        if exported:
            return torch.export.load(path).module()
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded: {one_line(error, 300)}") from error
    raise ValueError(
        f"{path} is no model of torch.jit.save or torch.export.save; if it holds weights, give it as --weights, "
        "and the network as --model file.py:function"
    )
