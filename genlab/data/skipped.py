"""Records skipped files, for one warning."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

NAMED = 5  # maximal number of files named per reason, and of reasons
log = logging.getLogger("genlab.data")


class Skipped:
    """Unused files and folders under `base`, by reason; str() is "12 damaged (a.png, b.png, ...); 1 ..."."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.reasons: dict[str, list[Path]] = defaultdict(list)

    def add(self, reason: str, *paths: Path) -> None:
        if paths:
            self.reasons[reason].extend(paths)

    def __len__(self) -> int:
        return sum(map(len, self.reasons.values()))

    def __str__(self) -> str:
        most = sorted(self.reasons.items(), key=lambda item: -len(item[1]))
        told = [f"{len(paths)} {reason} ({self._names(paths)})" for reason, paths in most[:NAMED]]
        left = sum(len(paths) for _, paths in most[NAMED:])
        return "; ".join([*told, f"{left} for other reasons"] if left else told)

    def _names(self, paths: Iterable[Path]) -> str:
        names = [repr(str(p.relative_to(self.base)) if p.is_relative_to(self.base) else str(p)) for p in paths]
        return ", ".join(names[:NAMED] + ["..."] * (len(names) > NAMED))


@cache
def warn_once(text: str) -> None:
    """Logs a warning once per process."""
    log.warning(text)
