"""The command `genlab`: finds a command by name and imports only that one.

A command is a function `(arguments) -> None` named by its import path. Plugins (entry points `genlab.plugins`) are
light modules that may define COMMANDS, METHODS and LISTS of their own: so `genlab attack` exists without genlab
importing attacks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, NoReturn

from genlab.names import choose, resolve

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("genlab.commands:train", "train a method, or continue a run"),
    "sample": ("genlab.commands:sample", "draw images from a trained run into one grid"),
    "translate": ("genlab.translate:main", "translate a folder of images by a trained run"),
    "evaluate": ("genlab.metrics.command:main", "measure the samples of a trained run: FID, precision, recall, ..."),
    "report": ("genlab.commands:report", "write the HTML report of a run again"),
    "list": ("genlab.commands:listing", "name methods, data and all that plugins add"),
}


def plugins() -> list[ModuleType]:
    return [entry.load() for entry in sorted(entry_points(group="genlab.plugins"), key=lambda e: e.name)]


def gather(kind: str, own: dict[str, Any]) -> dict[str, Any]:
    """`own` and what every plugin adds to it under the name `kind`."""
    for plugin in plugins():
        own = own | getattr(plugin, kind, {})
    return own


def usage(commands: dict[str, tuple[str, str]]) -> str:
    width = max(map(len, commands))
    lines = "\n".join(f"  {name:{width}}  {text}" for name, (_, text) in commands.items())
    return f"usage: genlab COMMAND ...\n\n{lines}\n\n`genlab COMMAND --help` tells its options."


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 2 for bad input, 128 + signal when stopped."""
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = gather("COMMANDS", COMMANDS)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage(commands))
        return 0
    if arguments[0] == "--version":
        from genlab import __version__

        print(f"genlab {__version__}")
        return 0
    return guarded(lambda: resolve(commands[choose(arguments[0], commands, "command")][0])(arguments[1:]))


def guarded(work: Any) -> int:
    """Calls `work` and turns what a user can mend into one sentence and an exit status.

    GENLAB_TRACEBACK=1 shows where it came from.
    """
    try:
        work()
        return 0
    except (ValueError, ArithmeticError, OSError) as error:
        if os.environ.get("GENLAB_TRACEBACK"):
            raise
        print(f"genlab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"genlab: {error}" if str(error) else "genlab: stopped", file=sys.stderr)
        return 128 + getattr(error, "signal", 2)


def start(main: Callable[[Any], None], config: type) -> NoReturn:
    """Runs a recipe: `main` with the options of dataclass `config` from the command line; exits as `genlab` does."""
    from genlab.commands import parse

    sys.exit(guarded(lambda: main(parse(config, None, sys.argv[1:]))))
