"""Features by their names on the command line: pixels, those of a network trained on photographs, those of plugins, or
the user's own file.py:function."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from genlab.core.registry import resolve as resolve_path
from genlab.core.registry import unknown
from genlab.core.resolve import fingerprint, is_reference, resolve
from genlab.core.text import one_line
from genlab.metrics.features import Features, NamedFeatures, PixelFeatures
from genlab.metrics.networks import dinov2, efficientnet_lite0, inception
from genlab.plugins import gather

EFFICIENTNET = "efficientnet-lite0"
NETWORKS = {"inception": inception, "dinov2": dinov2}  # NAME:FILE


def named_features(name: str, device: torch.device | str) -> Features:
    """The features `name`: pixels, inception:FILE, dinov2:FILE, efficientnet-lite0, those of a plugin, or
    file.py:function.

    file.py:function is a map from images (N, C, H, W) in [0, 1] to features (N, d).

    Raises:
        ValueError: there are no such features, or their file is no such network.
    """
    check_features(name)
    if name == PixelFeatures.name:
        return PixelFeatures()
    if name == EFFICIENTNET:
        return efficientnet_lite0(device)
    kind, _, file = name.partition(":")
    if kind in NETWORKS:
        return NETWORKS[kind](Path(file).expanduser(), device)
    if is_reference(name):
        return OwnFeatures(name)
    return NamedFeatures(name, resolve_path(gather("FEATURES", {})[name][0]))


def check_features(name: str) -> None:
    """
    Raises:
        ValueError: `named_features` knows no features of this name.
    """
    known = [PixelFeatures.name, EFFICIENTNET, *gather("FEATURES", {})]
    kind, _, file = name.partition(":")
    if name not in known and not (kind in NETWORKS and file) and not is_reference(name):
        kinds = ["classifier", *known, *(f"{network}:FILE" for network in NETWORKS), "file.py:function"]
        raise ValueError(f"--features: {unknown(name, kinds, 'features')}")


class OwnFeatures(NamedFeatures):
    """The user's own function; its name carries a hash of its file."""

    def __init__(self, text: str) -> None:
        place, _, function = text.rpartition(":")
        super().__init__(f"{Path(place).stem}-{function}-{fingerprint(text)[:8]}", resolve(text))
        self.text = text

    def __call__(self, x: Tensor) -> Tensor:
        try:
            return super().__call__(x)
        except ValueError:
            raise
        except (Exception, SystemExit) as error:
            raise ValueError(f"{self.text} fails: {type(error).__name__}: {one_line(error, 300)}") from error
