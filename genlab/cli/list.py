"""`genlab list`: the names of all methods, data sets, attacks and defences."""

from __future__ import annotations

from genlab.cli.options import names
from genlab.core.text import Console
from genlab.plugins import gather, methods


def listing(arguments: list[str]) -> None:
    if arguments in (["-h"], ["--help"]):
        print("usage: genlab list\n\nLists methods, data sets, attacks and defences.")
        return
    if arguments:
        raise ValueError(f"`genlab list` takes no options, got {' '.join(arguments)!r}")
    from genlab.data import SOURCES

    lists = {"methods": {name: text for name, (_, text) in methods().items()}, "data": SOURCES}
    for title, entries in gather("LISTS", lists).items():
        Console().print(names(title, entries))
