"""SIGINT and SIGTERM as a flag that long work reads between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop, and stopped after saving; `signal` is the signal's number."""

    def __init__(self, message: str, signal: int):
        super().__init__(message)
        self.signal = signal


class Interrupt:
    """While active, the first SIGINT or SIGTERM only raises a flag; a second one acts as it always did."""

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
        if threading.current_thread() is threading.main_thread():  # only there may handlers be set
            self.previous = {number: signal.signal(number, self._note) for number in self.signals}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def reraise(self, stop: int, images: int) -> None:
        """Ends the work that was saved after `images` images, if `stop` (agreed by all ranks) is a signal's number."""
        if stop in self.signals:
            raise Interrupted(f"stopped and saved after {images} images; the same command continues", stop)
