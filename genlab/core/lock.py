"""An exclusive lock on a folder, per thread; the system releases it when the process ends, also when it crashes."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_held: set[tuple[int, int, int, int]] = set()  # (pid, thread, device, inode); pid: forks inherit it


class Locked(ValueError):
    """Another process holds the lock."""


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Creates `folder` if necessary and locks it within the block; reentrant for one thread.

    Args:
        wait: wait for the lock instead of raising Locked.

    Raises:
        Locked: another process holds the lock.
        ValueError: `folder` exists and is not a folder.
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
            raise Locked(f"another process uses {folder}: wait for it, or choose another --out") from None
        except OSError:
            pass  # a file system without locks
        _held.add(key)
        yield
    finally:
        _held.discard(key)
        os.close(handle)
