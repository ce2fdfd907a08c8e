"""The command `genlab`: finds a command by name and imports only that one.

A command is a function `(arguments) -> None`, named by its import path; plugins add their own (see genlab.plugins).
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
from genlab.plugins import Table, gather, plugin_files

COMMANDS: Table = {
    "train": ("genlab.cli.train:train", "train a method, or resume a run"),
    "resume": ("genlab.cli.resume:resume", "go on with the training of a run"),
    "sample": ("genlab.cli.sample:sample", "sample images from a trained run into one grid"),
    "translate": ("genlab.cli.translate:main", "translate a folder of images with a trained run"),
    "evaluate": ("genlab.cli.evaluate:main", "evaluate the samples of a trained run: FID, precision, recall, ..."),
    "export": ("genlab.cli.export:export", "write a trained network as a file for other programs, with a model card"),
    "report": ("genlab.cli.report:report", "write the HTML report of a run again"),
    "list": ("genlab.cli.list:listing", "list methods, data sets, attacks and defences"),
    "completion": ("genlab.cli.completion:main", "print the shell completion of this command, for bash and zsh"),
}
MEMORY_OPTIONS = {  # the options of each command that determine its memory use
    "train": "--batch, --width or --size",
    "sample": "--n",
    "evaluate": "--n",
    "attack": "--batch or --n",
}
MEMORY_FIELDS = ("batch", "width", "hidden", "size", "n", "attacked", "samples")  # the same for recipes
ANY_MEMORY_OPTION = "--batch, --width, --size or --n"
NO_MEMORY = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "bad_alloc",
    "ALLOC_FAILED",
    "size calculation overflowed",
    "multiplication overflow",
)


def usage(commands: Table) -> str:
    width = max(map(len, commands))
    lines = "\n".join(f"  {name:{width}}  {text}" for name, (_, text) in commands.items())
    plugin = "`--plugin FILE` adds the methods, data, features, attacks and defences of a Python file."
    return f"usage: genlab COMMAND ...\n\n{lines}\n\n`genlab COMMAND --help` shows its options.\n{plugin}"


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 2 for bad input, 128 + signal when stopped."""
    words, files = without_plugins(sys.argv[1:] if arguments is None else arguments)
    large = MEMORY_OPTIONS.get(words[0], ANY_MEMORY_OPTION) if words else ANY_MEMORY_OPTION
    return guarded(lambda: command(words, files), large)


def command(words: list[str], files: list[str]) -> None:
    """Runs the command `words`, with the plugins `files`."""
    with plugin_files(files):
        commands = gather("COMMANDS", COMMANDS)
        if not words or words[0] in ("-h", "--help", "help"):
            print(usage(commands))
        elif words[0] == "--version":
            from genlab import __version__

            print(f"genlab {__version__}")
        else:
            resolve(commands[choose(words[0], commands, "command")][0])(words[1:])


def without_plugins(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments without `--plugin FILE`, wherever it is, and the files."""
    words, files = list[str](), list[str]()
    rest = iter(arguments)
    for word in rest:
        name, equals, value = word.partition("=")
        if name == "--plugin":
            files.append(value if equals else next(rest, ""))
        else:
            words.append(word)
    return words, files


def guarded(work: Callable[[], object], large: str = ANY_MEMORY_OPTION) -> int:
    """Calls `work`; reports errors that the user can fix in one sentence on stderr, and returns the exit status.

    `large` names the options to reduce when memory runs out. With GENLAB_TRACEBACK=1 errors are raised instead.
    """
    from genlab.core.text import plain_warnings

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # never fail on characters the terminal cannot encode
    try:
        try:
            with plain_warnings():
                work()
        finally:
            if sys.stdout:
                sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has closed it
        redirect_to_devnull(sys.stdout)
        return 128 + 13
    except KeyboardInterrupt as error:
        print_error(f"genlab: {error}" if str(error) else "genlab: stopped")
        return 128 + getattr(error, "signal", 2)
    except Exception as error:
        sentence = user_message(error, large)
        if sentence is None or os.environ.get("GENLAB_TRACEBACK"):
            raise
        print_error(f"genlab: {sentence}")
        return 2


def user_message(error: Exception, large: str) -> str | None:
    """The sentence about an error that the user can fix; None for others."""
    if out_of_memory(error):
        return f"out of memory: make {large} smaller"
    if isinstance(error, OSError) and error.errno == ENOSPC and error.filename is None:  # not a file: stdout
        redirect_to_devnull(sys.stdout)
        return f"standard output: {error.strerror}"
    return str(error) if isinstance(error, ValueError | ArithmeticError | OSError | RecursionError) else None


def out_of_memory(error: Exception) -> bool:
    """Recognises torch's errors by their messages, so that torch need not be imported here."""
    from_torch = isinstance(error, RuntimeError | OSError) and any(word in str(error) for word in NO_MEMORY)
    return isinstance(error, MemoryError) or from_torch


def print_error(sentence: str) -> None:
    """Prints to stderr, if it is writable."""
    from genlab.core.text import one_line

    try:
        print(one_line(sentence), file=sys.stderr, flush=True)
    except OSError:
        redirect_to_devnull(sys.stderr)


def redirect_to_devnull(stream: TextIO) -> None:
    """Redirects a broken output stream to /dev/null, so that Python's flush at exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def start(main: Callable[[Any], None], config: type) -> NoReturn:
    """Runs a recipe: calls `main` with the options (dataclass `config`) of the command line; exits as `genlab` does."""
    from genlab.cli.options import parse
    from genlab.core.outputs import check_folder
    from genlab.reporting.finish import check_own

    def work() -> None:
        options = parse(config, None, sys.argv[1:])
        if isinstance(out := getattr(options, "out", None), Path):
            check_folder(out)
            check_own(out)
        main(options)

    own = [f"--{f.name.replace('_', '-')}" for f in fields(config) if f.name in MEMORY_FIELDS]
    sys.exit(guarded(work, " or ".join(own) or ANY_MEMORY_OPTION))
