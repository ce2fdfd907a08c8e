"""Progress display: a bar with rate and remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from genlab.core import distributed
from genlab.core.text import Console, one_line


class Progress:
    """Shows the progress from `done` to `total`, on rank 0 only.

    Plain lines are printed at most every `interval` seconds and at the end; with `brief`, only if the work takes longer
    than that. A Progress within another one is silent.
    """

    interval = 10.0
    shown = 0  # number of active instances

    def __init__(self, title: str, total: int, done: int = 0, unit: str = "images", *, brief: bool = False):
        self.title, self.total, self.unit = one_line(title), total, unit
        self.start = self.done = done
        self.console = Console(stderr=True)
        self.brief, self.silent = brief, distributed.rank() != 0 or Progress.shown > 0
        self.bar: Bar | None = None
        self.began = self.spoke = time.monotonic()
        self.values = ""

    def __enter__(self) -> Progress:
        Progress.shown += 1
        if (self.console.is_terminal or self.console.is_jupyter) and not self.silent:
            self.bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:3.0f} %"),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[values]}", markup=False),
                console=self.console,
            )
            self.bar.start()
            self.task = self.bar.add_task(self.title, total=self.total, completed=self.done, rate="", values="")
        return self

    def __exit__(self, *error: Any) -> None:
        Progress.shown -= 1
        if self.bar:
            self.bar.stop()
        elif error[0] is None and self.done > self.start and not (self.brief and not self.late):
            self._say()

    @property
    def late(self) -> bool:
        """Whether the last line was printed more than `interval` seconds ago."""
        return time.monotonic() - self.spoke > self.interval

    @property
    def rate(self) -> float:
        """Per second, since the start."""
        return (self.done - self.start) / max(time.monotonic() - self.began, 1e-9)

    @property
    def pace(self) -> str:
        return f"{self.rate:,.{0 if self.rate >= 10 else 1}f} {self.unit}/s"

    def advance(self, done: int, total: int | None = None) -> None:
        """Sets the number done, and the total if it has become known; the last step may go a little beyond it."""
        self.done, self.total = done, max(done, total or self.total)
        if self.bar:
            self.bar.update(
                self.task,
                completed=done,
                total=self.total,
                rate=self.pace,
                values=self.values,
            )
        elif done < self.total and self.late:
            self._say()

    def log(self, done: int, values: str, total: int | None = None) -> None:
        """As `advance`, and shows the text `values` beside it."""
        self.values = one_line(values)
        self.advance(done, total)

    def _say(self) -> None:
        if self.silent:
            return
        self.spoke = time.monotonic()
        left = max(self.total - self.done, 0) / max(self.rate, 1e-9)
        line = f"{self.title}  {self.done:,}/{self.total:,} {self.unit}  {self.pace}  {left:.0f} s left  {self.values}"
        try:
            print(line.rstrip(), file=sys.stderr, flush=True)
        except BrokenPipeError:
            raise
        except OSError:
            self.silent = True  # stderr on a full disk must not stop the work
