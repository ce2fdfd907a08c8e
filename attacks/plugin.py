"""What a command line needs of this package, without importing torch: names, one line each, and two builders."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from attacks.model import Attack

# name -> ("module:attribute", one line). An attack is a dataclass; a defence is called as target(model, **options).
ATTACKS: dict[str, tuple[str, str]] = {
    "fgsm": ("attacks.pgd:FGSM", "one signed-gradient step of length eps"),
    "ifgsm": ("attacks.pgd:IFGSM", "many small steps from the clean image (BIM)"),
    "mifgsm": ("attacks.pgd:MIFGSM", "I-FGSM along a running sum of gradients"),
    "pgd": ("attacks.pgd:PGD", "projected gradient ascent from a random point"),
    "noise": ("attacks.control:Noise", "the control: random noise of the same size"),
}
BALLS: dict[str, tuple[str, str]] = {
    "linf": ("attacks.ball:Linf", "no pixel moves by more than eps"),
    "l2": ("attacks.ball:L2", "the Euclidean length of the change is at most eps"),
}
DEFENCES: dict[str, tuple[str, str]] = {
    "none": ("attacks.plugin:undefended", "the model itself"),
    "mean": ("attacks.defences.smoothing:Mean.defend", "k x k average, k=3"),
    "gaussian": ("attacks.defences.smoothing:Gaussian.defend", "Gaussian blur, sigma=1"),
    "median": ("attacks.defences.smoothing:Median.defend", "k x k median, k=3"),
    "bits": ("attacks.defences.smoothing:BitDepth.defend", "fewer grey levels, bits=3"),
}


def known(kind: str, name: str, names: Iterable[str]) -> str:
    """The name itself if it is one of `names`; otherwise a ValueError with the nearest one."""
    if name in (names := sorted(names)):
        return name
    near = get_close_matches(name, names, n=1, cutoff=0.0)
    hint = f"; did you mean {near[0]!r}?" if near else "; there is none."
    raise ValueError(f"unknown {kind} {name!r}{hint}")


def load(kind: str, name: str, table: dict[str, tuple[str, str]]) -> Any:
    module, _, attribute = table[known(kind, name, table)][0].partition(":")
    return attrgetter(attribute)(import_module(module))


def attack(name: str, eps: float, norm: str = "linf", **options: Any) -> Attack:
    """Attack `name` at eps pixels in `norm`; options are the fields of its dataclass."""
    build, ball = load("attack", name, ATTACKS), load("norm", norm, BALLS)(eps)
    fields = {f.name for f in dataclasses.fields(build) if f.init}
    for option in options:
        known(f"option of {name}", option, fields - {"ball"})
    return build(**({"ball": ball} if "ball" in fields else {}), **options)


def defence(name: str, model: nn.Module, **options: Any) -> nn.Module:
    """The model behind defence `name`."""
    return load("defence", name, DEFENCES)(model, **options)


def undefended(model: nn.Module) -> nn.Module:
    return model
