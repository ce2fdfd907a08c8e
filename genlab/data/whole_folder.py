"""All images of a folder and of the folders in it, without classes and splits, for comparisons."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from genlab.data.catalogue import DataError
from genlab.data.decode import ImageDecoder
from genlab.data.folder import RESIDENT, Folder, opened
from genlab.data.images import Images
from genlab.data.listing import scan
from genlab.data.skipped import Skipped, warn_once


def whole_folder(
    path: str | Path, *, size: int, channels: int = 3, device: torch.device | str = "cpu", resident: int = RESIDENT
) -> Images | Folder:
    """Every image below PATH, in one class.

    Raises:
        DataError: there is no such folder, or no readable image in it.
    """
    base = Path(os.path.expanduser(path))
    name = f"folder:{path}"
    if not base.is_dir():
        raise DataError(f"{str(path)!r} is not a folder of images")
    passed, files, left = Skipped(base), list[Path](), [base]
    while left:
        images, folders = scan(left.pop(), passed)
        files += images
        left += folders
    files.sort()
    decoder = ImageDecoder(name, base, files, size, channels)
    found = opened(files, [0] * len(files), ("images",), name, decoder, resident) if files else None
    if found is None:
        raise DataError(f"{str(path)!r} holds no readable image{f'; not used: {passed}' if len(passed) else ''}")
    if len(passed):
        warn_once(f"{name}: not used: {passed}")
    return found.to(device)
