"""Mistyped commands and damaged files end in a sentence; fuzz.py draws them. The default run tries a sample."""

import os
import sys

import fuzz
import pytest
import torch


def faults(what, n, seed, printed):
    """Exit status and output of fuzz.py, in a fork, which need not import torch again."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            with open(printed, "w") as sys.stdout, open(os.devnull, "w") as sys.stderr:
                status = fuzz.main([what, "--n", str(n), "--seed", str(seed)])
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), printed.read_text()


@pytest.mark.parametrize(
    ("what", "n", "seed"),
    [
        ("commands", 8, 7),
        ("files", 12, 1),
        pytest.param("commands", 300, 0, marks=pytest.mark.slow),
        pytest.param("files", 1000, 0, marks=pytest.mark.slow),
    ],
)
def test_no_case_ends_in_a_traceback(what, n, seed, tmp_path, monkeypatch):
    monkeypatch.setattr("genlab.core.distributed.device", lambda: torch.device("cpu"))  # CUDA survives no fork
    status, printed = faults(what, n, seed, tmp_path / "printed")
    assert status == 0 and f"{n} {what}, 0 faults" in printed, printed[-8000:]
