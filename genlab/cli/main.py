"""The command `genlab`: finds a command by name and imports only that one.

A command is a function `(arguments) -> None` named by its import path. Plugins (entry points `genlab.plugins`) are
light modules that may define COMMANDS, METHODS and LISTS of their own: so `genlab attack` exists without genlab
importing attacks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import fields
from errno import ENOSPC
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn, TextIO

from genlab.core.registry import choose, resolve
from genlab.plugins import gather

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("genlab.cli.train:train", "train a method, or continue a run"),
    "sample": ("genlab.cli.sample:sample", "draw images from a trained run into one grid"),
    "translate": ("genlab.cli.translate:main", "translate a folder of images by a trained run"),
    "evaluate": ("genlab.cli.evaluate:main", "measure the samples of a trained run: FID, precision, recall, ..."),
    "report": ("genlab.cli.report:report", "write the HTML report of a run again"),
    "list": ("genlab.cli.list:listing", "name methods, data and all that plugins add"),
}
LARGE = {  # the options of each command that decide how much memory it takes
    "train": "--batch, --width or --size",
    "sample": "--n",
    "evaluate": "--n",
    "attack": "--n",
}
SIZES = ("batch", "width", "hidden", "size", "n", "attacked", "samples")  # the same of a recipe
ALL_LARGE = "--batch, --width, --size or --n"
NO_MEMORY = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "bad_alloc",
    "ALLOC_FAILED",
    "size calculation overflowed",
    "multiplication overflow",
)


def usage(commands: dict[str, tuple[str, str]]) -> str:
    width = max(map(len, commands))
    lines = "\n".join(f"  {name:{width}}  {text}" for name, (_, text) in commands.items())
    return f"usage: genlab COMMAND ...\n\n{lines}\n\n`genlab COMMAND --help` tells its options."


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 2 for bad input, 128 + signal when stopped."""
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = gather("COMMANDS", COMMANDS)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        return guarded(lambda: print(usage(commands)))
    if arguments[0] == "--version":
        from genlab import __version__

        return guarded(lambda: print(f"genlab {__version__}"))
    work = lambda: resolve(commands[choose(arguments[0], commands, "command")][0])(arguments[1:])
    return guarded(work, LARGE.get(arguments[0], ALL_LARGE))


def guarded(work: Callable[[], object], large: str = ALL_LARGE) -> int:
    """Calls `work` and turns what a user can mend into one sentence and an exit status.

    `large` names the options to make smaller when memory is short. GENLAB_TRACEBACK=1 shows where it came from.
    """
    from genlab.core.text import plain_warnings

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name without characters is no reason to stop
    try:
        try:
            with plain_warnings():
                work()
        finally:
            if sys.stdout:
                sys.stdout.flush()
        return 0
    except BrokenPipeError:  # who read the output has seen enough
        discard(sys.stdout)
        return 128 + 13
    except KeyboardInterrupt as error:
        tell(f"genlab: {error}" if str(error) else "genlab: stopped")
        return 128 + getattr(error, "signal", 2)
    except Exception as error:
        sentence = mendable(error, large)
        if sentence is None or os.environ.get("GENLAB_TRACEBACK"):
            raise
        tell(f"genlab: {sentence}")
        return 2


def mendable(error: Exception, large: str) -> str | None:
    """The sentence about an error that a user can mend; None for the others."""
    if out_of_memory(error):
        return f"out of memory: make {large} smaller"
    if isinstance(error, OSError) and error.errno == ENOSPC and error.filename is None:  # files have a name
        discard(sys.stdout)
        return f"standard output: {error.strerror}"
    return str(error) if isinstance(error, ValueError | ArithmeticError | OSError | RecursionError) else None


def out_of_memory(error: Exception) -> bool:
    """Also by the words of torch, whose own kinds of errors need not be imported here."""
    torchs = isinstance(error, RuntimeError | OSError) and any(word in str(error) for word in NO_MEMORY)
    return isinstance(error, MemoryError) or torchs


def tell(sentence: str) -> None:
    """Prints to the standard error, if that takes anything."""
    from genlab.core.text import one_line

    try:
        print(one_line(sentence), file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Sends nowhere what is left in a stream that takes no more, so that Python does not complain when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def start(main: Callable[[Any], None], config: type) -> NoReturn:
    """Runs a recipe: `main` with the options of dataclass `config` from the command line; exits as `genlab` does."""
    from genlab.cli.options import parse
    from genlab.core.outputs import check_folder

    def work() -> None:
        options = parse(config, None, sys.argv[1:])
        if isinstance(out := getattr(options, "out", None), Path):
            check_folder(out)
        main(options)

    own = [f"--{f.name.replace('_', '-')}" for f in fields(config) if f.name in SIZES]
    sys.exit(guarded(work, " or ".join(own) or ALL_LARGE))
