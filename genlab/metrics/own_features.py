"""Features by their names on the command line: pixels, inception:FILE, those of plugins, or the user's own
file.py:function."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from genlab.core.registry import resolve as resolve_path
from genlab.core.registry import unknown
from genlab.core.resolve import fingerprint, is_reference, resolve
from genlab.core.text import one_line
from genlab.metrics.features import Features, NamedFeatures, PixelFeatures
from genlab.plugins import gather

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
SIDE = 299  # of the images that Inception v3 takes


def named_features(name: str, device: torch.device | str) -> Features:
    """The features `name`: pixels, inception:FILE, those of a plugin, or file.py:function.

    file.py:function is a map from images (N, C, H, W) in [0, 1] to features (N, d).

    Raises:
        ValueError: there are no such features, or their file is no such network.
    """
    check_features(name)
    if name == PixelFeatures.name:
        return PixelFeatures()
    if name.startswith("inception:"):
        return Inception(Path(name.partition(":")[2]).expanduser(), device)
    if is_reference(name):
        return OwnFeatures(name)
    return NamedFeatures(name, resolve_path(gather("FEATURES", {})[name][0]))


def check_features(name: str) -> None:
    """
    Raises:
        ValueError: `named_features` knows no features of this name.
    """
    known = [PixelFeatures.name, *gather("FEATURES", {})]
    if name not in known and not name.startswith("inception:") and not is_reference(name):
        kinds = ["classifier", *known, "inception:FILE", "file.py:function"]
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
        except Exception as error:
            raise ValueError(f"{self.text} fails: {type(error).__name__}: {one_line(error, 300)}") from error


class Inception:
    """The 2048 pooled features of Inception v3 (Szegedy et al. 2016, arXiv:1512.00567) of torchvision.

    x (N, 1 or 3, H, W) in [0, 1] is resized to 299x299 and normalised as ImageNet. The name carries a hash of the
    weights, since features of other weights cannot be compared.

    file: a state_dict of `torchvision.models.inception_v3`.
    """

    def __init__(self, file: Path, device: torch.device | str) -> None:
        from torchvision.models import inception_v3

        if not file.is_file():
            raise ValueError(f"--features inception: there is no file {str(file)!r}")
        try:
            state: Any = torch.load(file, map_location="cpu", weights_only=True)
            net = inception_v3(weights=None, init_weights=False, aux_logits=False)
            net.fc = nn.Identity()
            net.load_state_dict({k: v for k, v in state.items() if not k.startswith(("AuxLogits.", "fc."))})
        except Exception as error:
            raise ValueError(
                f"--features inception: {file} holds no weights of torchvision's inception_v3: {one_line(error, 200)}"
            ) from None
        self.net = net.to(device).eval().requires_grad_(False)
        self.mean, self.std = (torch.tensor(each, device=device).view(3, 1, 1) for each in (MEAN, STD))
        self.name = f"inception-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}"

    def __call__(self, x: Tensor) -> Tensor:
        x = interpolate(x.expand(-1, 3, -1, -1), (SIDE, SIDE), mode="bilinear", antialias=True).clamp(0, 1)
        return self.net((x - self.mean) / self.std)
