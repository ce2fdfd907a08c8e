"""Two gloo ranks do what one process does."""

import multiprocessing

import pytest
import torch
import torch._dynamo  # noqa: F401  # by optimizers at their first step: here once, not in every rank
import torch.distributed as dist
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from toys import METHODS, make, stream

from genlab.cli.main import main
from genlab.core import distributed
from genlab.run import Run
from genlab.training.loop import fit
from genlab.training.method import TrainOptions


def ranks(work, folder, world=2):
    """Runs work(rank) in forked processes that form a gloo group; returns what each saved."""
    if torch.cuda.is_available():
        pytest.skip("autograd cannot be forked once it has used a GPU")

    def enter(rank):
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
        torch.save(work(rank), folder / f"{rank}.pt")
        dist.destroy_process_group()

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=enter, args=(rank,)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(180)
        assert process.exitcode == 0
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]


def trained(name, rank, world, run=None, images=48):
    print(f"rank {rank} of {world} trains {name}", flush=True)  # shown with a failure: the last is the one
    method = make(name)
    if rank:  # another start: the broadcast must repair it
        for p in method.parameters():
            p.data.add_(1.0)
    fit(method, stream(16, name, rank=rank, world=world), TrainOptions(images=images, half_life=50), run=run)
    return method.state_dict()


# One of each method, and the variants whose states are of another kind; a pair of processes trains nine of them.
KINDS = (*("gan hinge spectral", "gan kl ensemble", "gan lsgan replay", "classifier resnet", "vq-vae bernoulli"),
         *("adversarial-training free", "flow glow", "cyclegan perceptual", "pixelrnn rows"))  # fmt: skip
EACH = [name for name in METHODS if " " not in name or name in KINDS]
TOGETHER = [EACH[i::5] for i in range(5)]


@pytest.mark.parametrize("names", TOGETHER, ids=", ".join)
def test_two_ranks_stay_identical(names, tmp_path):
    def work(rank):  # two steps; a third for pretraining, whose second layer begins then
        return {name: trained(name, rank, 2, images=48 if name == "pretraining" else 32) for name in names}

    a, b = ranks(work, tmp_path)
    different = [(name, key) for name in names for key in a[name] if not torch.equal(a[name][key], b[name][key])]
    assert not different and a.keys() == b.keys() == set(names)


def test_two_ranks_learn_what_one_rank_learns(tmp_path):
    two = ranks(lambda rank: trained("classifier mlp", rank, 2), tmp_path)[0]
    one = trained("classifier mlp", 0, 1)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-6)


def test_two_ranks_resume_exactly_from_the_checkpoint_of_rank_0(tmp_path):
    def work(folder, lengths):
        run = Run.create(folder / "run", {})
        return lambda rank: [trained("gan", rank, 2, run, images) for images in lengths][-1]

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = ranks(work(tmp_path / "whole", [48]), tmp_path / "whole")
    parts = ranks(work(tmp_path / "parts", [32, 48]), tmp_path / "parts")
    assert all(torch.equal(whole[0][k], parts[1][k]) for k in whole[0])


def test_without_a_group_every_collective_is_the_identity():
    x = [torch.ones(2)]
    assert distributed.average(x)[0] is x[0] and distributed.highest(3, torch.device("cpu")) == 3
    assert distributed.broadcast_object("x") == "x" and (distributed.rank(), distributed.world_size()) == (0, 1)


def test_collectives_average_and_agree(tmp_path):
    def work(rank):
        mean = distributed.average([torch.full((2, 2), float(rank)), torch.tensor(rank + 1.0)])
        return mean, distributed.highest(rank * 15, torch.device("cpu")), distributed.broadcast_object(f"from {rank}")

    for mean, highest, word in ranks(work, tmp_path):
        assert (mean[0] == 0.5).all() and mean[0].shape == (2, 2) and mean[1] == 1.5
        assert highest == 15 and word == "from 0"


def test_processes_take_the_gpus_in_turn_and_the_cpu_where_there_are_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert distributed.device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for rank, index in ((None, 0), (1, 1), (2, 0)):
        if rank is not None:
            monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert distributed.device() == torch.device("cuda", index)


def test_torchrun_trains_and_writes_one_run(tmp_path):
    """The agent of torchrun starts the workers, here by fork, so that they need not import torch again."""
    if torch.cuda.is_available():
        pytest.skip("CUDA survives no fork")
    words = "train classifier --net mlp --width 16 --images 640 --log-every 320 --out".split()
    agent = LaunchConfig(1, 1, 2, rdzv_backend="c10d", rdzv_endpoint="localhost:0", run_id="test",
                         max_restarts=0, start_method="fork")  # fmt: skip
    assert elastic_launch(agent, main)([*words, str(tmp_path / "run")]) == {0: 0, 1: 0}
    assert [row["images"] for row in Run(tmp_path / "run").metrics()] == [320, 640]
    assert 0 < Run(tmp_path / "run").results()["accuracy"] <= 1
