"""MNIST, Fashion-MNIST and CIFAR-10 as torchvision stores them under a root folder."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import torch

from genlab.core.outputs import removed_on_failure
from genlab.data.catalogue import DataError
from genlab.data.images import Images

KINDS = {"mnist": "MNIST", "fashion": "FashionMNIST", "cifar10": "CIFAR10"}


def default_root() -> Path:
    """$GENLAB_DATA, else ~/.cache/genlab."""
    return Path(os.path.expanduser(os.environ.get("GENLAB_DATA") or "~/.cache/genlab"))


def vision(name: str, split: str = "train", root: str | Path | None = None) -> Images:
    """Reads MNIST, Fashion-MNIST or CIFAR-10 from `root` (default $GENLAB_DATA or ~/.cache/genlab); downloads missing
    files.

    Raises:
        DataError: the files are missing or incomplete and cannot be downloaded.
    """
    folder = default_root() if root is None else Path(os.path.expanduser(root))
    data = _find(name, split == "train", folder)
    pixels = torch.as_tensor(data.data)
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    classes = tuple("0123456789") if name == "mnist" else tuple(data.classes)
    return Images(pixels, torch.as_tensor(data.targets).long(), classes, name)


def _find(name: str, train: bool, folder: Path) -> Any:
    from torchvision import datasets

    kind = getattr(datasets, KINDS[name])
    try:
        return kind(str(folder), train=train, download=False)
    except Exception:  # absent or incomplete: RuntimeError of torchvision, ValueError or EOFError
        pass
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        with removed_on_failure(folder, lambda made, error: any(map(Path.is_file, made.rglob("*")))):
            return kind(str(folder), train=train, download=True)
    except Exception as error:
        raise DataError(
            f"{name} was not found complete in {str(folder)!r} and could not be downloaded ({type(error).__name__}): "
            "give its folder with --data-root"
            + (", or use --data mnist-5k, which needs none" if name == "mnist" else "")
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
