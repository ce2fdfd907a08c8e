"""Handles SIGINT and SIGTERM as a flag that the training loop reads between steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Training was interrupted by a signal, after a checkpoint in its run, if it has one; `signal` is its number."""

    def __init__(self, message: str, signal: int):
        super().__init__(message)
        self.signal = signal


class Interrupt:
    """Within the context, the first SIGINT or SIGTERM only sets `signal`; a second one has its usual effect."""

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal: int | None = None
        self.previous: dict[int, Any] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():  # Python sets handlers only there
            self.previous = {number: signal.signal(number, self._note) for number in self.signals}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def reraise(self, stop: int, images: int, saved: bool) -> None:
        """Raises Interrupted if `stop` (the same on all ranks) is a signal number; `saved`: with a checkpoint."""
        if stop in self.signals:
            what = "and saved after {} images; the same command resumes" if saved else "after {} images, not saved"
            raise Interrupted(f"stopped {what.format(f'{images:,}')}", stop)
