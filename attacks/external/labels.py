"""Matches the classes of a data set with those of a model."""

from __future__ import annotations

import re
from collections import defaultdict
from difflib import get_close_matches
from pathlib import Path

from genlab.core.files import read


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names in a text file, one per line, in the order of the model's outputs.

    Raises:
        ValueError: it cannot be read as text, or is empty.
    """
    try:
        names = tuple(line.strip() for line in read(path, 1 << 24).decode("utf-8-sig").splitlines() if line.strip())
    except OSError as error:
        raise ValueError(f"--classes {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"--classes {path} is not a text file") from None
    if not names:
        raise ValueError(f"--classes {path} is empty: it must hold a class name per line")
    return names


def match(classes: tuple[str, ...], k: int, names: tuple[str, ...] = ()) -> list[int]:
    """The model's class for each of `classes`, the names in the data.

    k: number of the model's classes. names: of these classes; () if unknown. If all of `classes` are numbers below k,
    they are the model's classes (unless `names` has them). Otherwise they are looked up in `names`; without names,
    there must be k of them, and both have the same order. Case, `_` and `-` do not matter; a name may also be one of
    several in a line of `names`, separated by commas, or the WordNet number at its beginning, as in "n01440764 tench,
    Tinca tinca".

    Raises:
        ValueError: a class has no counterpart or several.
    """
    if all(name.isdecimal() and int(name) < k for name in classes) and not {*classes} <= {*names}:
        return [int(name) for name in classes]
    if not names:
        if len(classes) != k:
            raise ValueError(
                f"the model has {k} classes and the data {len(classes)}: name those of the model, one per line in "
                "their order, in a file for --classes"
            )
        return list(range(k))
    if len(names) != k:
        raise ValueError(f"the model has {k} classes, but --classes names {len(names)}")
    known = defaultdict[str, set[int]](set)
    for i, line in enumerate(names):
        for name in _aliases(line):
            known[name].add(i)
    return [_place(name, known) for name in classes]


def _place(name: str, known: dict[str, set[int]]) -> int:
    found = known.get(_plain(name), set())
    if len(found) != 1:
        near = get_close_matches(_plain(name), known, 1)
        hint = f": did you mean {near[0]!r}?" if near and not found else ""
        several = f"{len(found)} classes of that name" if found else "no such class"
        raise ValueError(
            f"the data has the class {name!r}, but the model has {several}{hint}; "
            "a folder is named by a class of the model or by its number"
        )
    return next(iter(found))


def _aliases(line: str) -> set[str]:
    number = re.match(r"n\d{8}\b", line)
    rest = line[9:] if number else line
    return {_plain(name) for name in (line, rest, *rest.split(","), number[0] if number else "") if name.strip()}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()
