"""Mistyped commands and damaged files end in a sentence; fuzz.py draws them. The default run tries a sample."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent / "fuzz.py"


def fuzz(what, n, seed):
    words = [sys.executable, str(FUZZ), what, "--n", str(n), "--seed", str(seed)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]


@pytest.mark.parametrize(("what", "n"), [("commands", 30), ("files", 60)])
def test_a_sample_finds_no_traceback(what, n):
    fuzz(what, n, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(("what", "n"), [("commands", 300), ("files", 1000)])
def test_the_whole_finds_no_traceback(what, n):
    fuzz(what, n, seed=0)
