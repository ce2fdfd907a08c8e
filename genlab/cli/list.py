"""`genlab list`: the names of all methods, data sets, features, attacks and defences."""

from __future__ import annotations

from genlab.cli.options import names
from genlab.core.text import Console
from genlab.plugins import gather, methods


def listing(arguments: list[str]) -> None:
    if arguments in (["-h"], ["--help"]):
        print("usage: genlab list\n\nLists methods, data sets, features, attacks and defences, with those of plugins.")
        return
    if arguments:
        raise ValueError(f"`genlab list` takes no options, got {' '.join(arguments)!r}")
    from genlab.data import SOURCES

    more = {title: gather(title.upper(), {}) for title in ("data", "features", "attacks", "defences")}
    for title, table in {"methods": methods(), **more}.items():
        entries = (SOURCES if title == "data" else {}) | {name: text for name, (_, text) in table.items()}
        if entries:
            Console().print(names(title, entries))
