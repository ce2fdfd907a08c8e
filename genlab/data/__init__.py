"""Data sets and the stream of training batches: x is float32 in [0, 1], (N, C, H, W), channels last.

Names load on first use: importing this package does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genlab.core.registry import lazy_attributes

if TYPE_CHECKING:
    from genlab.data.augment import Augment
    from genlab.data.catalogue import SOURCES, DataError
    from genlab.data.folder import Folder
    from genlab.data.images import Images, Pair
    from genlab.data.sources import load
    from genlab.data.stream import Stream, batches

_HOME = {
    "Augment": "augment",
    "DataError": "catalogue",
    "Folder": "folder",
    "Images": "images",
    "Pair": "images",
    "SOURCES": "catalogue",
    "Stream": "stream",
    "batches": "stream",
    "load": "sources",
}
__all__ = ["SOURCES", "Augment", "DataError", "Folder", "Images", "Pair", "Stream", "batches", "load"]

__getattr__ = lazy_attributes(__name__, _HOME)
