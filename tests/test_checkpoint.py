"""Checkpoints: whole or absent, whatever happens to the process or the disk."""

import copy
import hashlib
import os
import random
import signal
import time
import warnings

import pytest
import torch

from genlab.training.checkpoint import (
    COUNTS,
    CheckpointError,
    Checkpoints,
    optimizer_state,
    restore_optimizer,
)
from genlab.training.optim import adam, sgd


def state(step):
    return {"step": step, "weights": torch.full((2000,), float(step))}


def test_what_is_saved_is_loaded_and_the_third_generation_goes(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new" / "folder")
    assert checkpoints.load() is None
    for step in (5, 10, 10, 20):
        checkpoints.save(state(step), step)
    assert checkpoints.load()["step"] == 20
    assert sorted(p.name for p in checkpoints.folder.iterdir()) == [
        f"step-{step:010d}.pt{end}" for step in (10, 20) for end in ("", ".sha256")
    ]


def test_every_flipped_bit_is_noticed_and_the_generation_before_is_used(tmp_path):
    checkpoints, draw = Checkpoints(tmp_path), random.Random(0)
    checkpoints.save(state(1), 1)
    newest = checkpoints.save(state(2), 2)
    sound = newest.read_bytes()
    for _ in range(100):
        damaged = bytearray(sound)
        damaged[draw.randrange(len(sound))] ^= 1 << draw.randrange(8)
        newest.write_bytes(damaged)
        with pytest.warns(UserWarning, match=rf"{newest.name} does not fit its SHA-256; going back to step-0000000001"):
            assert checkpoints.load()["step"] == 1
    newest.write_bytes(sound)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checkpoints.load()["step"] == 2


@pytest.mark.parametrize("damage", ["truncate", "remove", "manifest"])
def test_a_cut_or_lost_file_or_manifest_costs_one_generation_only(damage, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1), 1)
    newest = checkpoints.save(state(2), 2)
    manifest = newest.with_name(newest.name + ".sha256")
    if damage == "truncate":
        newest.write_bytes(newest.read_bytes()[:-1])
    elif damage == "remove":
        newest.unlink()
    else:
        manifest.write_bytes(b"\xff\xfe")
    with pytest.warns(UserWarning, match="going back"):
        assert checkpoints.load()["step"] == 1


def test_when_all_are_damaged_the_error_names_them_and_what_to_do(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(state(step), step).write_bytes(b"rust")
    words = "step-0000000002.pt, step-0000000001.pt; the newest does not fit its SHA-256. To start again, remove that"
    with pytest.raises(CheckpointError, match=words):
        checkpoints.load()


@pytest.mark.parametrize("lost", [1, 2])
def test_a_file_that_nothing_vouches_for_is_named_and_kept(lost, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        newest = checkpoints.save(state(step), step)
    for manifest in sorted(tmp_path.glob("*.sha256"))[-lost:]:
        manifest.unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    if lost == 2:
        with pytest.raises(
            CheckpointError, match="no checkpoint in .*: step-0000000002.pt, step-0000000001.pt; the ne"
        ):
            checkpoints.load(set_aside=True)
        assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        return
    with pytest.warns(UserWarning, match="step-0000000002.pt has no SHA-256 beside it; going back to step-0000000001"):
        assert checkpoints.load(set_aside=True)["step"] == 1
    for step in (2, 3, 4):
        checkpoints.save(state(step), step)
    assert (tmp_path / f"unusable-{newest.name}").read_bytes() == before[newest.name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checkpoints.load()["step"] == 4


def test_an_interrupted_first_save_is_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1), 1).unlink()
    (tmp_path / ".77-1.tmp").write_bytes(b"half")
    assert checkpoints.load() is None
    checkpoints.save(state(2), 2)
    assert not (tmp_path / ".77-1.tmp").exists() and checkpoints.load()["step"] == 2


def test_a_checkpoint_belongs_to_its_run(tmp_path):
    Checkpoints(tmp_path, "a").save(state(1), 1)
    with pytest.raises(CheckpointError, match="step-0000000001.pt belongs to another run"):
        Checkpoints(tmp_path, "b").load()
    assert Checkpoints(tmp_path, "a").load()["step"] == 1


@pytest.mark.parametrize("end", ["", ".sha256"])
def test_a_pipe_in_a_files_place_does_not_hang(end, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.save(state(1), 1)
    path = path.with_name(path.name + end)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="is not a regular file"):
        checkpoints.load()


def test_unknown_files_beside_checkpoints_are_left_alone(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for name in ("step-x.pt", "step-1.pt.sha256.bak", "notes"):
        (tmp_path / name).write_text("mine")
    for step in (1, 2, 3):
        checkpoints.save(state(step), step)
    assert {"step-x.pt", "step-1.pt.sha256.bak", "notes"} <= {path.name for path in tmp_path.iterdir()}


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"bad": Shout()}, 1)
    with pytest.raises(CheckpointError, match="step-0000000001.pt is not a checkpoint: it holds more than tensors"):
        checkpoints.load()
    assert not os.path.exists("shouted")


@pytest.mark.parametrize("content", [b"", b"12345", b"PK\x05\x06" + 18 * b"\0", None])
def test_a_file_that_was_cut_before_it_was_hashed_is_called_damaged(content, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.save(state(1), 1)
    content = path.read_bytes()[:-1] if content is None else content
    path.write_bytes(content)
    path.with_name(path.name + ".sha256").write_text(hashlib.sha256(content).hexdigest())
    with pytest.raises(CheckpointError, match="step-0000000001.pt is damaged or not a checkpoint: [^\n]*$"):
        checkpoints.load()


@pytest.mark.parametrize("wrong", [{"step": "x"}, {"images": -5}, {"lines": 0.5}, {"step": None}])
def test_every_reader_refuses_counts_that_are_none(wrong, tmp_path):
    checkpoints = Checkpoints(tmp_path, "mine", COUNTS)
    checkpoints.save({**dict.fromkeys(COUNTS, 1), **wrong}, 1)
    with pytest.raises(CheckpointError, match=f"step-0000000001.pt has {next(iter(wrong))} = "):
        checkpoints.load()


@pytest.mark.parametrize("make", [adam, sgd])
def test_an_optimizer_goes_on_from_all_of_its_state_and_from_no_part_of_it(make):
    def training():
        torch.manual_seed(0)
        net = torch.nn.ModuleList([torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)])
        return net, make(net, lr=0.1)

    def step(net, optimizer, layers):
        optimizer.zero_grad()
        sum(net[layer](torch.ones(2, 3)).sum() for layer in layers).backward()
        optimizer.step()

    net, optimizer = training()
    step(net, optimizer, [0])  # the second layer has had no gradient yet
    kept = copy.deepcopy(optimizer_state(optimizer))
    assert list(kept["state"]) == [0, 1, 2, 3] and kept["state"][2] == {}
    other, again = training()
    other.load_state_dict(net.state_dict())
    restore_optimizer(again, copy.deepcopy(kept), "optimizer")
    step(net, optimizer, [0]), step(other, again, [0])
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
    step(other, again, [0, 1])
    some = kept["param_groups"][0]
    for wrong, words in (
        ({}, "has no 'state'"),
        ({"state": kept["state"]}, "has no 'param_groups'"),
        ({**kept, "param_groups": [{}]}, "is not .* there"),
        ({**kept, "param_groups": [{k: v for k, v in some.items() if k != "weight_decay"}]}, "weight_decay is not 0"),
        ({**kept, "state": {k: v for k, v in kept["state"].items() if k != 1}}, "has no state there for parameter 1"),
    ):
        with pytest.raises(CheckpointError, match=f"optimizer .*{words}"):
            restore_optimizer(training()[1], wrong, "optimizer")


class Shout:
    def __reduce__(self):
        return os.system, ("touch shouted",)


def test_kill_9_at_20_random_moments_leaves_a_loadable_checkpoint_every_time(tmp_path):
    draw = random.Random(1)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(0), 0)
    last = 0
    for _ in range(20):
        child = os.fork()
        if child == 0:
            for step in range(last + 1, last + 100_000):
                checkpoints.save(state(step), step)
            os._exit(0)
        time.sleep(0.05 + 0.1 * draw.random())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = checkpoints.load()
        assert found["step"] >= last and (found["weights"] == found["step"]).all()
        last = found["step"]
    assert last > 20
