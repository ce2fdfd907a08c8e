"""Lookup by name: import paths, and error messages with suggestions. Imports nothing heavy."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from operator import attrgetter
from typing import Any


def resolve(path: Any) -> Any:
    """ "package.module:name" -> the object, imported now; what is no text is returned as it is."""
    if not isinstance(path, str):
        return path
    module, _, name = path.partition(":")
    return attrgetter(name)(import_module(module))


def find_imported(path: str) -> Any:
    """The object "package.module:name" if its module is already imported, else None; imports and calls nothing."""
    module, _, names = path.partition(":")
    found: Any = sys.modules.get(module)
    for name in names.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found


OTHER_NAMES = {  # other names in the literature -> names here
    **{"aa": "auto", "autoattack": "auto", "autopgd": "apgd", "bim": "ifgsm", "cw": "cw-l2", "carliniwagner": "cw-l2"},
    **{"stadv": "spatial", "uap": "universal", "hsja": "hopskipjump", "boundary": "hopskipjump", "dcgan": "gan"},
    **{"cgan": "conditional-gan", "acgan": "conditional-gan", "lsgan": "gan", "sngan": "gan", "wgangp": "wgan-gp"},
    **{
        "nice": "flow",
        "realnvp": "flow",
        "glow": "flow",
        "ae": "autoencoder",
        "vqvae": "vq-vae",
        "dim": "deep-infomax",
    },
    **{"trades": "adversarial-training", "ibp": "interval-training", "fashionmnist": "fashion", "cifar": "cifar10"},
    **{"cnn": "classifier", "resnet": "classifier", "blur": "gaussian", "randomizedsmoothing": "smoothed"},
}


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """The error message for a name that is not in `known`, with the closest match."""
    known = list(known)
    plain = {_plain(each): each for each in known}
    near = get_close_matches(_plain(name), plain, 1)
    other = OTHER_NAMES.get(_plain(name), "")
    found = plain.get(_plain(name)) or (other if other in known else plain[near[0]] if near else "")
    hint = f": did you mean {found!r}?" if found else ";"
    names = (repr(each) if set(each) & {",", " "} else each for each in known)
    return f"unknown {what} {name!r}{hint} known: {', '.join(names)}"


def _plain(name: str) -> str:
    """Without capitals and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def choose(name: str, known: Iterable[str], what: str) -> str:
    """Returns `name` if it is in `known`.

    Raises:
        ValueError: it is not; suggests the closest match.
    """
    if name not in (known := list(known)):
        raise ValueError(unknown(name, known, what))
    return name


def lazy_attributes(package: str, home: Mapping[str, str]) -> Callable[[str], Any]:
    """A module `__getattr__` (PEP 562) that imports public names on first use; `home`: name -> submodule."""

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
