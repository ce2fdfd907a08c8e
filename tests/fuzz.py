"""Commands that a user may mistype and files that something may have damaged, drawn from a seed and tried in turn.

    python tests/fuzz.py commands --n 300 --seed 0
    python tests/fuzz.py files --n 1000 --seed 0

Every case must end with status 0 or with status 2 and a sentence, never with a traceback, and a refused command must
leave no file behind. Cases run in this process, one after the other; one that works for longer than BUSY, or waits
for longer than IDLE, is asked to stop as by Ctrl-C and must obey (status 130). Prints a line per fault; the exit
status is 1 if there is one.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import json
import os
import random
import re
import runpy
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BUSY, IDLE = 5.0, 60.0  # seconds of work, or by the clock, until a command is asked to stop; once more: to stop at once
NUMBERS = ("0", "-1", "nan", "inf", "-inf", "1e308", str(10**12), "", "x", "1.5", "9" * 40)
NUMERIC = (  # how the annotation of a number may look: a type, or a range of genlab.ranges by its name
    r"\b(int|float|Annotated|Count|Steps|Width|Layers|Halvings|Units|Side|Repeats|Threads|Seed|Positive|Weight|Share|"
    r"Fraction|Eps|LearningRate)\b"
)
TEXTS = ("", "x", "[/]", "\x1b[31m", "a" * 300, "\udcff", "..", "/dev/null", "None", ",", ":", "=", "digits:99",
         "folder:", "folder:/dev", "unpaired:,", "binary:", "unpaired:digits,", "domains:digits", "grey:grey:digits",
         "mnist:x")  # fmt: skip
HOSTILE = (None, True, -1, 0, 1e308, float("nan"), 10**30, "", "x", "../../x", "[/]", [], [1], {}, {"x": 1},
           [[[[[[]]]]]], "\x1b[2J", "genlab.__main__:main", "os:system")  # fmt: skip
RUNS = {  # what the damaged files are taken from
    "classifier": "classifier --net mlp --width 8 --images 2000 --half-life 500",
    "gan": "gan --width 4 --hidden 0 --latent 4",
    "flow": "flow --net nice --width 8 --steps 1",
    "vae": "vae --net mlp --width 8 --latent 2",
}


def call(work: Callable[[], Any], within: Path, patience: float = 1.0) -> tuple[int | None, str, str]:
    """Runs `work` in the folder `within`: its exit status (None: an exception), what it printed, and the traceback.

    `patience` multiplies both limits.
    """

    def watch(*_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, patience * BUSY)
        signal.setitimer(signal.ITIMER_REAL, patience * IDLE)

    def stop(*_: object) -> None:
        watch()
        signal.raise_signal(signal.SIGINT)

    os.chdir(within)
    printed = io.StringIO()
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, stop)
    watch()
    try:
        with redirect_stdout(printed), redirect_stderr(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status = work()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        return None, printed.getvalue(), traceback.format_exc()
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        os.chdir(ROOT)
    return status, printed.getvalue(), ""


def genlab(words: list[str], within: Path, patience: float = 1.0) -> tuple[int | None, str, str]:
    from genlab.cli.main import main

    return call(partial(main, words), within, patience)


def recipe(path: Path, words: list[str], within: Path) -> tuple[int | None, str, str]:
    def work() -> None:
        sys.argv = [str(path), *words]
        runpy.run_path(str(path), run_name="__main__")

    return call(work, within)


def fault(status: int | None, text: str, trace: str) -> str:
    """What is wrong with how a case ended; empty if nothing is."""
    if status is None:
        return trace.strip()
    if "Traceback" in text:
        return text[text.index("Traceback") :]
    if status not in (0, 2, 130):
        return f"exit status {status}: {text[-300:]}"
    if status == 2 and not text.strip():
        return "exit status 2 without a word"
    return ""


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def make_runs(folder: Path) -> None:
    for name, words in RUNS.items():
        words = ["train", *words.split(), "--out", str(folder / name)]
        status, text, trace = genlab(words if "--images" in words else [*words, "--images", "64"], folder, patience=20)
        assert status == 0, text + trace


# --- command lines


def numeric(kind: type) -> list[str]:
    """Names of the numeric options of a dataclass, as typed."""
    return [
        "--" + field.name.replace("_", "-")
        for field in dataclasses.fields(kind)
        if re.search(NUMERIC, str(field.type)) and "Literal" not in str(field.type)
    ]


def option(random: random.Random, names: list[str]) -> list[str]:
    name, value = random.choice(names), random.choice(NUMBERS)
    return [f"{name}={value}"] if random.random() < 0.7 else [name, value]


def training(random: random.Random, runs: Path) -> list[str]:
    from genlab.core.registry import resolve
    from genlab.data.augment import Augment
    from genlab.plugins import methods

    name = random.choice(sorted(methods()))
    kind = resolve(methods()[name][0])
    data = "unpaired:digits,night:digits" if name in ("cyclegan", "cogan", "common-space") else "digits"
    words = ["train", name, "--data", data, "--images", "32"]
    own, shared = numeric(kind), [*numeric(type(kind.training)), *numeric(Augment), "--size", "--channels"]
    if "--width" in own:
        words += ["--width", "4"]
    for _ in range(random.choice((1, 1, 2))):
        words += option(random, random.choice((own or shared, shared)))
    if random.random() < 0.1:
        words += [random.choice(("--data", "--out")), random.choice(TEXTS)]
    return words


def other(random: random.Random, runs: Path) -> list[str]:
    """A command on a run that exists, with one option that may not fit."""
    from attacks.cli import Options as Attack
    from attacks.plugin import ATTACKS, DEFENCES
    from genlab.cli.evaluate import Evaluate
    from genlab.cli.sample import Sample
    from genlab.core.registry import resolve

    run = str(runs / random.choice(sorted(RUNS)))
    command = random.choice(("sample", "evaluate", "attack", "attack", "translate", "report", "list"))
    if command == "sample":
        return [command, run, *option(random, numeric(Sample))]
    if command == "evaluate":
        return [command, run, "--features", "pixels", "--n", "40", *option(random, numeric(Evaluate))]
    if command == "attack":
        words = [command, str(runs / "classifier"), "--n", "4"]
        if random.random() < 0.3:
            return [*words, *option(random, [*numeric(Attack), "--eps"])]
        table, flag = random.choice(((ATTACKS, "--attacks"), (DEFENCES, "--defence")))
        name = random.choice(sorted(table))
        target = resolve(table[name][0])
        names = [f.name for f in dataclasses.fields(target)] if dataclasses.is_dataclass(target) else []
        names += ["steps", "k", "seed", "sigma", "n"]
        return [*words, flag, f"{name}:{random.choice(names)}={random.choice((*NUMBERS, *TEXTS))}"]
    if command == "translate":
        return [command, run, "--images", random.choice(TEXTS), "--out", "translated"]
    return [command, run, *random.choice(([], ["--x"], ["--n", "1"]))]


def commands(n: int, seed: int, folder: Path) -> Iterator[tuple[str, str]]:
    """(case, fault) for `n` command lines."""
    draw = random.Random(seed)
    runs, empty = folder / "runs", folder / "cwd"
    runs.mkdir()
    make_runs(runs)
    recipes = sorted(  # reproduce has no numbers
        path
        for path in (ROOT / "recipes").glob("*.py")
        if not path.name.startswith("benchmark_") and path.stem != "reproduce"
    )
    for _ in range(n):
        shutil.rmtree(empty, ignore_errors=True)
        empty.mkdir()
        before = tree(runs)
        if draw.random() < 0.2:
            path = draw.choice(recipes)
            names = numeric(runpy.run_path(str(path))["Config"])
            words = option(draw, names)
            ended = recipe(path, words, empty)
            case = f"recipes/{path.name} {words}"
        else:
            words = draw.choice((training, training, other))(draw, runs)
            ended = genlab(words, empty)
            case = f"genlab {words}"
        wrong = fault(*ended)
        left = tree(empty) | (tree(runs) - before)
        diverged = "is not finite" in ended[1]  # in training, which keeps its run
        if not wrong and ended[0] == 2 and left and not diverged:
            wrong = f"refused, but it left {sorted(left)[:4]}: {ended[1][-200:]}"
        yield case, wrong


# --- files


def mutate(draw: random.Random, value: Any) -> Any:
    """`value` (dicts, lists, plain values) with one node replaced, left out or added."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(list(value))
        if draw.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if draw.random() < 0.05:
            return {**value, "unheard-of": draw.choice(HOSTILE)}
        return {**value, key: mutate(draw, value[key])}
    if isinstance(value, list) and value and draw.random() < 0.7:
        i = draw.randrange(len(value))
        return [*value[:i], mutate(draw, value[i]), *value[i + 1 :]]
    return draw.choice(HOSTILE)


def damage_bytes(draw: random.Random, content: bytes) -> bytes:
    how = draw.randrange(5)
    at = draw.randrange(len(content)) if content else 0
    if how == 0:
        return content[:at]
    if how == 1:
        return content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
    if how == 2:
        return content[:at] + draw.randbytes(draw.randrange(1, 40)) + content[at:]
    if how == 3:
        return draw.choice((b"", b"\xff\xfe", b"null", b"[1]", b"{}", b"[" * 100_000, b"NaN", b'"x"', b"1" * 10_000))
    return draw.randbytes(len(content))


def damage_place(draw: random.Random, path: Path) -> str:
    """Puts something that is no regular file in the place of `path`."""
    how = draw.choice(("missing", "folder", "fifo", "dangling link", "loop"))
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "dangling link":
        path.symlink_to("nowhere")
    elif how == "loop":
        path.symlink_to(path.name)
    return how


def damage_json(draw: random.Random, path: Path) -> str:
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    i = draw.randrange(len(lines))
    lines[i] = json.dumps(mutate(draw, json.loads(lines[i])))
    path.write_text("\n".join(lines))
    return lines[i][:300]


def damage_checkpoint(draw: random.Random, path: Path) -> str:
    """Other content, for which a true hash vouches."""
    import torch

    state = torch.load(path, weights_only=True)
    if draw.random() < 0.2:
        state = draw.choice((None, [], {}, 1, torch.zeros(2), {"method": {}}))
    else:
        at, keys = state, []
        while isinstance(at, dict) and at and (not keys or draw.random() < 0.8):
            keys.append(draw.choice(list(at)))
            holder, at = at, at[keys[-1]]
        holder[keys[-1]] = draw.choice(
            (*HOSTILE, torch.zeros(3), torch.full((2, 2), float("nan")), torch.ones(1).bool())
        )
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue() if draw.random() < 0.8 else damage_bytes(draw, buffer.getvalue())
    path.write_bytes(content)
    path.with_name(path.name + ".sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  {path.name}\n")
    return path.name


def files(n: int, seed: int, folder: Path) -> Iterator[tuple[str, str]]:
    """(case, fault) for `n` damaged files of runs, each read by a command that needs it."""
    draw = random.Random(seed)
    runs, run = folder / "runs", folder / "cwd" / "run"
    runs.mkdir()
    make_runs(runs)
    for _ in range(n):
        shutil.rmtree(run.parent, ignore_errors=True)
        name = draw.choice(sorted(RUNS))
        shutil.copytree(runs / name, run)
        checkpoint = max(run.glob("checkpoints/step-*.pt"))
        path = draw.choice((*3 * [run / "config.json"], run / "metrics.jsonl", run / "results.json",
                            *3 * [checkpoint], checkpoint.with_name(checkpoint.name + ".sha256")))  # fmt: skip
        structured = damage_checkpoint if path == checkpoint else damage_json
        how = draw.choices(("structure", "bytes", "place"), (7, 2, 1))[0]
        if path.suffix == ".sha256" and how == "structure":
            how = "bytes"
        if how == "structure":
            what = structured(draw, path)
        elif how == "place":
            what = damage_place(draw, path)
        else:
            path.write_bytes(content := damage_bytes(draw, path.read_bytes()))
            what = repr(content[:60])
        train = ["train", *RUNS[name].split(), "--images", "2064" if "2000" in RUNS[name] else "128", "--out", "run"]
        readers = (
            ["report", "run"],
            ["sample", "run", "--n", "1"],
            ["evaluate", "run", "--n", "8", "--features", "pixels"],
            ["attack", "run", "--n", "4", "--attacks", "fgsm", "--eps", "0.1"],
            train,
        )
        words = draw.choice(readers)
        ended = genlab(words, run.parent)
        wrong = fault(*ended)
        if not wrong and ended[0] == 2 and path.suffix in (".json", ".jsonl") and str(path.name) not in ended[1]:
            unrelated = ("does not generate", "not a classifier", "another run", "no checkpoint", "is not a run")
            if not any(word in ended[1] for word in unrelated):
                wrong = f"the sentence does not name the file: {ended[1][-300:]}"
        yield f"{words[0]} {name} with {path.name} changed ({how}): {what}", wrong


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("what", choices=("commands", "files"))
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    import matplotlib.pyplot  # noqa: F401  # an import that Ctrl-C cuts short cannot be taken up again
    import torch

    torch.set_num_threads(1)
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        for case, wrong in {"commands": commands, "files": files}[asked.what](asked.n, asked.seed, Path(folder)):
            if wrong:
                faults += 1
                print(f"FAULT {case!r}\n    " + wrong[-1200:].replace("\n", "\n    "), flush=True)
    print(f"{asked.n} {asked.what}, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
