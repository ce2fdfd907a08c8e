"""A folder that one thread at a time may write to; the system lets go of it when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_held: set[tuple[int, int, int, int]] = set()  # by threads of this process; a forked one has another number


class Locked(ValueError):
    """Another process holds the folder."""


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Makes `folder` if need be and holds it until the block ends; blocks of one thread may lie within one another.

    Args:
        wait: for the process that holds it, instead of raising Locked.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} exists and is not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    about = folder.stat()
    key = os.getpid(), threading.get_ident(), about.st_dev, about.st_ino
    if key in _held:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Locked(f"another process is training in {folder}: wait for it, or choose another --out") from None
        except OSError:
            pass  # a file system without locks
        _held.add(key)
        yield
    finally:
        _held.discard(key)
        os.close(handle)
