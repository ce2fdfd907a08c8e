"""Shared by all tests: one thread (tiny tensors are slower with more) and no leftovers in the working directory."""

import gc
import itertools
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # also in processes that tests start

import pytest  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))  # toys.py
torch.set_num_threads(1)
FOLDERS = itertools.count()
if not torch.cuda.is_available():  # each would keep a trace of the whole stack, whenever something is seeded
    for absent in (torch.cuda, torch.xpu, torch.mtia):
        absent.manual_seed_all = lambda seed: None


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory, monkeypatch):
    """Every test runs in an empty folder of its own."""
    folder = tmp_path_factory.getbasetemp() / f"cwd-{next(FOLDERS)}"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture(autouse=True, scope="session")
def without_waiting_for_the_disk():
    """What tests write need outlive only their process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def less_for_tests(tmp_path_factory):
    """Features are trained once for all tests of this run, a sixth as long, and not into the user's own cache; a fifth
    of the glyphs is drawn, and straightness is measured on few paths."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENLAB_CACHE", str(folder))
        patch.setattr("genlab.methods.classification.features.EPOCHS", 10)
        patch.setattr("genlab.methods.diffusion.flow_matching.STRAIGHTNESS_SAMPLES", 4)
        patch.setattr("genlab.data.glyphs.COUNTS", {"train": 2_000, "test": 400})
        yield


def pytest_collection_finish(session):
    """What is imported by now never becomes garbage: looking through it again takes a twentieth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
