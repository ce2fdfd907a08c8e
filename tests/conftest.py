"""Shared by all tests: one thread (tiny tensors are slower with more) and no leftovers in the working directory."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # toys.py
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory, monkeypatch):
    """Every test runs in an empty folder of its own."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
