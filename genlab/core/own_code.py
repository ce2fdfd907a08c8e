"""Which files of code a run may name: those that this user has named on this machine, unchanged since.

A run directory can come from anybody. If it names code, as one that was trained with --net file.py:build does, loading
it executes that code. So the SHA-256 of every file that the user names is kept in the cache folder, and code that a run
names is executed only if its hash is among them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

TRUST = "GENLAB_TRUST_CODE"  # environment variable: execute what a run names, whatever it is


def cache_folder() -> Path:
    """$GENLAB_CACHE, else ~/.cache/genlab."""
    return Path(os.environ.get("GENLAB_CACHE") or "~/.cache/genlab").expanduser()


def trusted(fingerprint: str) -> bool:
    """Has the user named this code, or said to trust any?"""
    if os.environ.get(TRUST):
        return True
    try:
        return fingerprint in _book().read_text().split()
    except (OSError, UnicodeDecodeError):
        return False


def remember(fingerprints: Iterable[str]) -> None:
    """Keeps the hashes of code that the user has named; where they cannot be written, runs must be trusted by TRUST."""
    new = [each for each in fingerprints if not trusted(each)]
    if new:
        try:
            _book().parent.mkdir(parents=True, exist_ok=True)
            with _book().open("a") as book:
                book.writelines(f"{each}\n" for each in new)
        except OSError:
            pass


def _book() -> Path:
    return cache_folder() / "own-code"
