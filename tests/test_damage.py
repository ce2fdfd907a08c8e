"""Files of a run with any content: one sentence that names the file, nothing executed, nothing that hangs."""

import copy
import json
import os
import random
import sys

import pytest
import torch
from toys import METHODS

import genlab
from genlab.cli.main import main
from genlab.core.files import FileError, read, write_all, write_atomically, write_in_turn
from genlab.data.options import DataOptions
from genlab.experiment import Experiment
from genlab.loading import config_of, data_of, load, shape_of
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.report import Report
from genlab.run import Run, RunError
from genlab.training.checkpoint import CheckpointError


def experiment(**training):
    return Experiment(
        METHODS["classifier mlp"], DataOptions(), **{"images": 64, "half_life": 50, "log_every": 16} | training
    )


EXPERIMENT = experiment()
ANYTHING = [None, True, -1, 0.5, 1e400, 10**300, 10**400, "", "x", "\x1b[31m", "\udcff", [], [1], [[]], {}, {"a": 1},
            "genlab.__main__:main", "os:system"]  # fmt: skip
BYTES = [b"", b"{", b"[1]", b"null", b"5", b'"x"', b"{}", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"1" * 5000, b"[" * 100_000,
         b"[" * 50 + b"]" * 50, b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"images": 1e999}', b'{"images": -1}',
         b'{"images": 5, "x": ' + b"9" * 1000 + b"}"]  # fmt: skip


class Mine(ClassifierConfig):
    """A method of this program's own."""


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "r"
    EXPERIMENT.run(path, pictures=1)
    return path


@pytest.fixture
def run(original, tmp_path):
    """A copy of the run."""
    for file in original.rglob("*"):
        if file.is_file():
            write_atomically(tmp_path / "r" / file.relative_to(original), file.read_bytes())
    return tmp_path / "r"


def look(path):
    """All that reads the files of a run, but for the curves; the sentence of a refusal."""
    try:
        run = Run(path)
        config_of(run), data_of(run), shape_of(run), load(run)
        page = Report("r")
        page.run(run).save(path / "report.html")
    except (RunError, CheckpointError, OSError) as error:
        assert "\n" not in str(error)
        return str(error)


def places(tree, way=()):
    """The ways to all values within `tree`."""
    yield way
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*way, key))


def changed(tree, way, value):
    """A copy of `tree` with another value at a place; without it if the value is `del`."""
    tree = copy.deepcopy(tree)
    if not way:
        return value
    inner = tree
    for key in way[:-1]:
        inner = inner[key]
    if isinstance(value, str) and value == "del":
        del inner[way[-1]]
    else:
        inner[way[-1]] = value
    return tree


def test_a_config_json_of_any_content_is_read_or_refused_in_a_sentence_that_names_it(run):
    config, draw = json.loads((run / "config.json").read_text()), random.Random(0)
    (run / "metrics.jsonl").unlink()  # there is no need for curves
    ways = [way for way in places(config) if way]
    for way, value in [(way, draw.choice([*ANYTHING, "del"])) for way in ways for _ in range(2)]:
        (run / "config.json").write_text(json.dumps(changed(config, way, value)))
        found = look(run)
        assert found is None or str(run / "config.json") in found or "belongs to another run" in found, (way, value)
        if len(way) > 2 and way[1] in ("options", "data") and value in ("del", {}, "x"):
            assert found and str(way[2]) in found, (way, value, found)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "results.json"])
def test_bytes_pipes_and_folders_in_a_files_place_are_refused_by_name(name, run, capsys):
    for content in BYTES:
        (run / name).write_bytes(content + b"\n")
        found = look(run)
        fine = name == "results.json" and content in (b"{}", b'{"images": 1e999}', b'{"images": -1}')
        assert found is None if fine else name in str(found), (content[:30], found)
    kinds = {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda path: os.symlink("/dev/zero", path)}
    for make in kinds.values():
        (run / name).unlink() if not (run / name).is_dir() else (run / name).rmdir()
        make(run / name)
        assert "is not a regular file" in look(run) and name in look(run)
        assert main(["report", str(run)]) == 2
        assert "is not a regular file" in capsys.readouterr().err


def test_a_link_to_a_regular_file_is_one(run):
    (run / "config.json").rename(run / "elsewhere.json")
    (run / "config.json").symlink_to("elsewhere.json")
    assert look(run) is None


def test_a_log_with_any_numbers_and_names_is_drawn(run):
    names = ["$\\frac", "\udcff\x1b[31m", "<script>", "_x" * 150]
    values = [0.0, 1e308, -1e308, float("nan"), float("inf"), 10**290, True, None, "x", [1]]
    rows = [{"images": i, **{name: values[(i + k) % len(values)] for k, name in enumerate(names)}} for i in range(20)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert look(run) is None
    assert "<script>" not in (run / "report.html").read_text()
    with open(run / "metrics.jsonl", "a") as file:
        file.write("[1]\n")
    assert look(run) == f"{run / 'metrics.jsonl'}, line 21, must hold an object, got [1]"


def test_a_config_json_cannot_make_anything_be_imported(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "evil.py").write_text(
        "open('owned', 'w').close()\nfrom genlab.methods.gan import GANConfig as Config\nmain = Config\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = json.loads((run / "config.json").read_text())
    for name in ("evil:Config", "evil:main", "genlab.__main__:main", "genlab.training.method:Config", "evil", ":",
                 "os:system", "genlab.methods.gan.gan:GANConfig.build", "genlab:run", "toys:METHODS"):  # fmt: skip
        config["experiment"]["method"] = name
        (run / "config.json").write_text(json.dumps(config))
        for command in (["sample"], ["evaluate"], ["attack", "--n", "2"]):
            assert main([command[0], str(run), *command[1:]]) == 2
            assert f"names {name!r} as its method" in capsys.readouterr().err
    assert "evil" not in sys.modules and not os.path.exists("owned")


def test_a_config_that_this_program_has_imported_is_a_method(tmp_path):
    Experiment(Mine(net="mlp", width=4), DataOptions(), images=16, batch=8).run(tmp_path / "r", pictures=1)
    assert config_of(Run(tmp_path / "r")) == Mine(net="mlp", width=4) and load(tmp_path / "r")


@pytest.mark.parametrize("name", METHODS)
def test_options_of_every_method_come_back_from_json(name, tmp_path):
    about = {**Experiment(METHODS[name], DataOptions("digits")).options(), "shape": [1, 8, 8], "classes": 3}
    found = config_of(Run.create(tmp_path / "r", about))
    assert found == METHODS[name] and hash(found) == hash(METHODS[name])


def test_a_run_that_builds_on_itself_is_refused(run):
    teach = Experiment(METHODS["classifier mlp"]).options()
    config = json.loads((run / "config.json").read_text())
    options = {**teach["options"], "teachers": [str(run)], "temperature": 4.0, "weight": 0.9}
    config["experiment"] |= {"method": "genlab.compress.distil:DistillationConfig", "options": options}
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="names a run that depends on this one"):
        load(run)


# --- checkpoints


def hostile(state):
    """States that fit their hash and are none of this run."""
    tensor, draw = torch.ones(2, 2), random.Random(0)
    yield from [[], [1], tensor, "x", None, {}, {"method": tensor}, {1: 2}]
    yield from ({**state, name: value} for name, value in (("step", "x"), ("images", -5), ("optimizer net", {})))
    yield changed(state, ("optimizer net", "state", 1), "del")
    things = [None, -1, "x", [], {}, 1.5, 10**20, tensor, tensor.half(), torch.ones(2).to_sparse(), torch.tensor(1j),
              torch.ones(1).expand(10**6, 10**6), "del"]  # fmt: skip
    for way in [way for way in places(state) if way and way[0] != "run" and draw.random() < 0.5]:
        value = draw.choice(things)
        yield changed(state, way, value)


def test_a_checkpoint_with_any_content_is_refused_in_a_sentence_that_names_it(run, monkeypatch):
    found = Run(run)
    state = found.checkpoints.load()
    del state["file"]
    data = EXPERIMENT.data.load("test")
    monkeypatch.setattr("genlab.data.options.load_data", lambda *_, **__: data)
    refused = 0
    for wrong in hostile(state):
        content = wrong if isinstance(wrong, dict) else {"whole": wrong}
        for old in (run / "checkpoints").iterdir():
            old.unlink()
        if isinstance(wrong, dict):
            found.checkpoints.save(content, 4)
        else:
            save(found, wrong, 4)
        for use in (lambda: load(run), lambda: longer(run)):
            try:
                use()
            except CheckpointError as error:
                assert "step-0000000004.pt" in str(error) and "\n" not in str(error), error
                refused += 1
    assert refused > 30


def save(run, content, step):
    """As Checkpoints.save, but whatever it is."""
    import hashlib
    import io

    buffer = io.BytesIO()
    torch.save(content, buffer)
    path = run.checkpoints.folder / f"step-{step:010d}.pt"
    digest = hashlib.sha256(buffer.getvalue()).hexdigest().encode()
    write_in_turn({path.with_name(path.name + ".sha256"): digest, path: buffer.getvalue()})


def longer(run):

    experiment(images=128).run(run, pictures=1)


def test_the_checkpoint_of_another_run_is_refused(run, tmp_path):

    other = experiment(seed=1)
    other.run(tmp_path / "other", pictures=1)
    for file in (tmp_path / "other" / "checkpoints").iterdir():
        write_atomically(run / "checkpoints" / file.name, file.read_bytes())
    for use in (lambda: load(run), lambda: longer(run)):
        with pytest.raises(CheckpointError, match="belongs to another run"):
            use()


def test_nothing_begins_anew_over_checkpoints_without_hashes(run, capsys):
    for file in (run / "checkpoints").glob("*.sha256"):
        file.unlink()
    before = sorted((path.name, path.read_bytes()) for path in (run / "checkpoints").iterdir())
    for use in (lambda: load(run), lambda: longer(run)):
        with pytest.raises(CheckpointError, match="has no SHA-256 beside it. To start again, remove that folder"):
            use()
    assert before == sorted((path.name, path.read_bytes()) for path in (run / "checkpoints").iterdir())


@pytest.mark.parametrize("left", [None, ".71-0.tmp"])
def test_a_kill_before_config_json_leaves_a_folder_that_the_same_command_takes(left, tmp_path):
    (tmp_path / "r").mkdir()
    if left:
        (tmp_path / "r" / left).write_text("{")
    assert Run.create(tmp_path / "r", {"a": 1}).experiment == {"a": 1}


# --- reading and writing


def test_only_regular_files_of_bearable_size_are_read_and_replaced(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    assert read(path, 5) == b"12345"
    with pytest.raises(FileError, match="f is larger than 4 bytes"):
        read(path, 4)
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, "/dev/null"):
        for use in (read, lambda path: write_atomically(path, b"")):
            with pytest.raises(FileError, match="is not a regular file"):
                use(tmp_path / place)


def test_a_write_that_fails_leaves_nothing_and_the_old_file(tmp_path, monkeypatch):
    write_atomically(tmp_path / "a", b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        write_atomically(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_what_can_be_written_is_written_and_the_rest_is_named(tmp_path, capsys):
    def fail(path):
        raise OSError(f"no room for {path.name}")

    with pytest.raises(OSError, match=r"could not write .*a, .*c: no room for a"):
        write_all({tmp_path / "a": fail, tmp_path / "b": lambda path: path.write_text("b"), tmp_path / "c": fail})
    assert (tmp_path / "b").read_text() == "b" and capsys.readouterr().out == f"{tmp_path / 'b'}\n"


@pytest.mark.parametrize("command", ["attack --n 8 --attacks fgsm --eps 0.1", "evaluate --n 16 --features pixels"])
def test_what_was_measured_is_shown_before_a_folder_turns_out_to_be_read_only(command, tmp_path, monkeypatch, capsys):
    name = "classifier mlp" if command.startswith("attack") else "gan"
    Experiment(METHODS[name], DataOptions(), images=16, batch=16).run(tmp_path / "r", pictures=1)
    capsys.readouterr()
    monkeypatch.setattr("os.replace", lambda a, b: (_ for _ in ()).throw(OSError(30, "Read-only file system", str(b))))
    word, *rest = command.split()
    assert main([word, str(tmp_path / "r"), *rest]) == 2
    out, error = capsys.readouterr()
    assert ("fgsm" in out or "FID" in out) and error.count("genlab: could not write") == 1
    names = ("attack.json", "attack.png", "attack.html") if word == "attack" else ("results.json", "report.html")
    assert all(name in error for name in names) and "Read-only" in error


def test_figures_of_a_training_are_told_where_they_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "add_results", lambda self, **_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match=r"No space left; the unsaved results: accuracy 0\.\d+"):
        Experiment(METHODS["classifier mlp"], DataOptions(), images=16, batch=16).run(tmp_path / "r", pictures=1)


def test_sample_looks_at_its_target_before_it_draws(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "file" / "x.png", "/dev/null"):
        assert main(["sample", "nowhere", "--out", str(out)]) == 2
        assert str(out) in capsys.readouterr().err and genlab


# --- text from outside


def test_names_with_markup_escapes_and_bytes_that_are_no_text_survive_everything(tmp_path, capsys):
    for name in ("[/]", "\x1b[31mred", "\udcff", "<b>$\\frac&", "a\nb\r", "\u202eabc"):
        out = tmp_path / name
        words = ["--net", "mlp", "--width", "4", "--images", "64", "--out", str(out)]
        assert main(["train", "classifier", *words]) == 0, name
        assert main(["attack", str(out), "--n", "4", "--attacks", "fgsm", "--eps", "0.1"]) == 0
        assert main(["report", str(out)]) == 0
        assert main(["sample", str(out)]) == 2
        assert main(["report", str(out / "no")]) == 2
        told = "".join(capsys.readouterr())
        assert not set(told) & set("\x1b\r\u202e\udcff"), name
        assert "<b>" not in (out / "report.html").read_text()
