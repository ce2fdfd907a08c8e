"""Whatever moment a kill comes at, the same command ends in the same run; one process trains it, on finite numbers."""

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from toys import METHODS, make, stream

import genlab
from genlab.cli.main import main
from genlab.core.lock import Locked, locked
from genlab.data.options import DataOptions
from genlab.experiment import Experiment
from genlab.run import Run
from genlab.training.checkpoint import CheckpointError, not_finite
from genlab.training.hooks import EarlyStopping
from genlab.training.loop import fit
from genlab.training.method import TrainOptions
from genlab.training.running_mean import RunningMean
from genlab.training.update import NonFinite

LENGTH = TrainOptions(
    images=48, batch=16, save_every=16, log_every=24, half_life=20
)  # lines and checkpoints out of step


def train(folder, hooks=(), options=LENGTH):
    return fit(make("classifier mlp"), stream(16), options, run=Run.create(folder, {"seed": 0}), hooks=hooks)


def child(work, before=lambda: None):
    """The exit status of work() in a process of its own, after before()."""
    process = os.fork()
    if process == 0:
        try:
            before()
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def die_at(operation):
    """From now on, this process ends without a word before its n-th change to files (a folder that is there already is
    no change, and fsync none that outlives only the process)."""
    left = [operation]

    def count(event, arguments):
        changes = event in ("os.rename", "os.remove")
        changes |= event == "os.mkdir" and not os.path.exists(arguments[0])
        changes |= event == "open" and isinstance(arguments[1], str) and bool(set(arguments[1]) & set("wax"))
        left[0] -= changes
        if left[0] < 0:
            os._exit(9)

    sys.addaudithook(count)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return all(map(same, a, b)) if isinstance(a, list) else a == b


def test_a_kill_before_any_change_to_a_file_changes_nothing_in_the_end(tmp_path):
    train(tmp_path / "whole")  # here, so that what torch imports late is there for all that follow
    whole = Run(tmp_path / "whole")
    assert [row["images"] for row in whole.metrics()] == [32, 48]
    for operation in range(200):
        folder = tmp_path / str(operation)
        status = child(partial(train, folder), partial(die_at, operation))
        assert status in (0, 9)
        if status == 0:
            break
        train(folder)
        assert (folder / "metrics.jsonl").read_bytes() == (whole.path / "metrics.jsonl").read_bytes(), operation
        states = [run.checkpoints.load() for run in (Run(folder), whole)]
        assert all(state.pop("file") for state in states) and same(*states), operation
    assert operation > 15


def test_a_line_cut_short_and_lines_after_the_checkpoint_are_written_again(tmp_path):
    train(tmp_path / "whole")
    whole = (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    for extra in (b'{"step": 4, "ima', b'{"step": 4, "images": 32, "loss": 9}\n' * 3, b"\x00\xff\n"):
        folder = tmp_path / str(len(extra))
        train(folder, [(16, lambda images, method: True)])
        with open(folder / "metrics.jsonl", "ab") as file:
            file.write(extra)
        train(folder)
        assert (folder / "metrics.jsonl").read_bytes() == whole


def test_lines_of_the_log_that_are_lost_are_missed(tmp_path):
    train(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.warns(UserWarning, match=r"metrics.jsonl has lost lines: 0 of 2 are left"):
        train(tmp_path)


def test_the_running_means_survive_exactly_even_if_a_metric_is_nan():
    one, two = RunningMean(torch.device("cpu")), RunningMean(torch.device("cpu"))
    for window in (one, two):
        window.add({"a": torch.tensor(0.1), "b": torch.tensor(float("nan"))})
        window.add({"a": torch.tensor(0.7), "b": torch.tensor(1.0)})
    again = RunningMean(torch.device("cpu"))
    again.load_state_dict(two.state_dict())
    for window in (one, again):
        window.add({"a": torch.tensor(1 / 3), "b": torch.tensor(1.0)})
    assert str(one.means()) == str(again.means())
    with pytest.raises(ValueError, match="those before it"):
        two.add({"a": torch.tensor(0.0)})


# --- one process at a time


@contextmanager
def elsewhere(folder):
    """Another process holds `folder`; yields its number."""
    ready, tell = os.pipe()
    process = os.fork()
    if process == 0:
        with locked(folder):
            os.write(tell, b"x")
            signal.pause()
    os.read(ready, 1)
    try:
        yield process
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(ready), os.close(tell)


def test_a_second_process_is_refused_in_a_sentence_until_the_first_ends_however_it_ends(tmp_path, capsys):
    words = ["train", "classifier", "--net", "mlp", "--width", "4", "--images", "64", "--out", str(tmp_path / "r")]
    assert main(words) == 0
    config = (tmp_path / "r" / "config.json").read_bytes()
    capsys.readouterr()
    with elsewhere(tmp_path / "r"):
        assert main(words) == 2
        out, error = capsys.readouterr()
        assert "another process uses " in error and error.count("\n") == 1 and not out
        assert (tmp_path / "r" / "config.json").read_bytes() == config
        with pytest.raises(Locked):
            fit(make("classifier mlp"), stream(8), LENGTH, run=Run(tmp_path / "r"))
        assert genlab.load(tmp_path / "r") and main(["report", str(tmp_path / "r")]) == 0  # may be looked at
    assert main(words) == 0


def test_one_process_may_hold_a_folder_twice_and_take_it_again(tmp_path):
    for _ in range(2):
        with locked(tmp_path / "new"), locked(tmp_path / "new"):
            pass
    with elsewhere(tmp_path / "new") as process:
        assert child(lambda: locked(tmp_path / "new").__enter__()) == 1
        os.kill(process, signal.SIGKILL)
        with locked(tmp_path / "new", wait=True):
            pass
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is not a folder"), locked(tmp_path / "file"):
        pass


def add(run, who, times=20):
    for i in range(times):
        run.add_results(**{f"{who} {i}": i})


def test_figures_that_processes_and_threads_add_at_the_same_time_are_all_kept(tmp_path, monkeypatch):
    run = Run.create(tmp_path / "r", {})
    monkeypatch.setattr("os.fsync", lambda handle: time.sleep(0.001))  # as a disk: others get their turn meanwhile
    process = os.fork()
    if process == 0:
        add(run, "process")
        os._exit(0)
    threads = [threading.Thread(target=add, args=(run, f"thread {i}")) for i in range(2)]
    with locked(run.path):  # as a training does, in whose report they go too
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert set(run.results()) == {f"{who} {i}" for who in ("process", "thread 0", "thread 1") for i in range(20)}


# --- finite numbers


def spoil(part):
    """A hook that makes `part` of the method NaN after the last of 48 images."""

    def hook(images, method):
        if images == 48:
            with torch.no_grad():
                part(method).view(-1)[-1] = float("nan")

    return hook


class Keeper:
    """A hook whose own state goes wrong."""

    def __call__(self, images, method):
        self.value = torch.tensor(float("inf") if images == 48 else 0.0)

    def state_dict(self):
        return {"seen": [self.value]}

    def load_state_dict(self, state):
        self.value = state["seen"][0]


@pytest.mark.parametrize("part", ["method", "average", "optimizer", "hook", "buffer"])
def test_a_state_that_is_not_finite_is_named_and_never_replaces_a_good_one(part, tmp_path):
    name = "classifier resnet" if part == "buffer" else "classifier mlp"
    method, half_life = make(name), 20 if part == "average" else None
    hooks, words = {
        "method": ([(8, spoil(lambda m: m.net[2].weight))], "^method net.2.weight is not finite after 48 images"),
        "average": ([(8, spoil(lambda m: m.net[2].weight))], "^average method.net.2.weight is not"),
        "optimizer": ([(8, spoil(lambda m: optimizer.state[m.net[2].weight]["momentum_buffer"]))], "^optimizer net st"),
        "buffer": ([(8, spoil(lambda m: list(m.buffers())[0]))], "^method net.* is not finite"),
        "hook": ([(8, Keeper())], "^hook 0 seen 0 is not finite"),
    }[part]
    optimizers = method.optimizers()
    method.optimizers, optimizer = (lambda: optimizers), optimizers["net"]
    options = TrainOptions(images=48, batch=8, save_every=16, half_life=half_life)
    run = Run.create(tmp_path / "r", {})
    with pytest.raises(NonFinite, match=words):
        fit(method, stream(8), options, run=run, hooks=hooks)
    assert run.checkpoints.load()["images"] == 32
    if part != "hook":  # the same call goes on once the cause is gone
        fit(make(name), stream(8), options, run=run)
        assert run.checkpoints.load()["images"] == 48


def test_a_training_too_short_for_a_second_look_is_not_called_done_either():
    with pytest.raises(NonFinite, match="method net.2.bias is not finite after 48 images"):
        fit(
            make("classifier mlp"),
            stream(8),
            TrainOptions(images=48, batch=8),
            hooks=[(8, spoil(lambda m: m.net[2].bias))],
        )


def test_a_checkpoint_with_nan_is_refused_wherever_it_is_used(tmp_path, capsys):
    Experiment(METHODS["classifier mlp"], DataOptions(), images=64).run(tmp_path / "r", pictures=1)
    run = Run(tmp_path / "r")
    state = run.checkpoints.load()
    state["method"]["net.2.weight"][0, 0] = float("nan")
    run.checkpoints.save(state, state["step"])
    with pytest.raises(CheckpointError, match=r"step-0000000001.pt cannot be used: method net.2.weight is not finite"):
        genlab.load(run)
    for command in (["attack", str(run.path), "--n", "4"], ["evaluate", str(run.path)], ["sample", str(run.path)]):
        assert main(command) == 2 and "net.2.weight is not finite" in capsys.readouterr().err


def test_what_is_not_finite_is_found_in_any_depth():
    assert not_finite({"a": [{"b": (torch.ones(3), torch.tensor([1, 2]), "x", 1e999)}]}) == ""
    assert not_finite({"a": [{"b": (torch.ones(3), torch.tensor([1.0, -1e39]))}]}) == "a 0 b 1"
    assert not_finite({"c": torch.tensor([1j * float("nan")])}) == "c"


def test_early_stopping_takes_no_nan_for_the_best(tmp_path):
    figures = iter([float("nan"), 2.0, float("nan"), 1.0, 1.0])
    stopping = EarlyStopping(lambda method: next(figures), patience=3)
    fit(make("classifier mlp"), stream(8), TrainOptions(images=800), hooks=[(8, stopping)])
    assert (stopping.best, stopping.images, stopping.waited) == (2.0, 16, 3)
    with pytest.raises(ValueError, match="NaN at every call"):
        EarlyStopping(lambda method: 0.0).restore(make("classifier mlp"))
