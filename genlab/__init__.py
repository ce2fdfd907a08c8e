"""A generative-model and adversarial-robustness lab.

Names load on first use: importing genlab does not import torch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from genlab.names import lazily

if TYPE_CHECKING:
    from genlab.experiment import DataOptions, Experiment, load
    from genlab.grid import save_grid
    from genlab.report import Report
    from genlab.run import Run
    from genlab.train import Config, Method, Options, Update, fit

__version__ = "0.1.0"

# Read by OpenMP when torch loads: threads that wait go to sleep soon instead of spinning. On a machine that does
# something else besides, spinning made the training of small networks twenty times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

_HOME = {
    "DataOptions": "experiment",
    "Experiment": "experiment",
    "load": "experiment",
    "save_grid": "grid",
    "Report": "report",
    "Run": "run",
    "Config": "train",
    "Method": "train",
    "Options": "train",
    "Update": "train",
    "fit": "train",
}
__all__ = [
    "Config",
    "DataOptions",
    "Experiment",
    "Method",
    "Options",
    "Report",
    "Run",
    "Update",
    "fit",
    "load",
    "save_grid",
]

__getattr__ = lazily(__name__, _HOME)
