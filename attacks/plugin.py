"""The plugin of `genlab`: a command and names with one line each, without importing torch; and two builders."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from genlab.names import choose, resolve

if TYPE_CHECKING:
    from torch import nn

    from attacks.model import Attack

COMMANDS = {"attack": ("attacks.cli:main", "attack a trained classifier: success rates, with and without defences")}

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

LISTS = {
    "attacks": {k: text for k, (_, text) in ATTACKS.items()},
    "defences": {k: text for k, (_, text) in DEFENCES.items()},
}


def attack(name: str, eps: float, norm: str = "linf", **options: Any) -> Attack:
    """Attack `name` at eps pixels in `norm`; options are the fields of its dataclass."""
    build = resolve(ATTACKS[choose(name, ATTACKS, "attack")][0])
    ball = resolve(BALLS[choose(norm, BALLS, "norm")][0])(eps)
    fields = {f.name for f in dataclasses.fields(build) if f.init}
    for option in options:
        choose(option, sorted(fields - {"ball"}), f"option of {name}")
    return build(**({"ball": ball} if "ball" in fields else {}), **options)


def defence(name: str, model: nn.Module, **options: Any) -> nn.Module:
    """The model behind defence `name`."""
    return resolve(DEFENCES[choose(name, DEFENCES, "defence")][0])(model, **options)


def undefended(model: nn.Module) -> nn.Module:
    return model
