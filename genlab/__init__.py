"""A generative-model and adversarial-robustness lab.

Names load on first use: importing genlab does not import torch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from genlab.core.registry import lazy_attributes

if TYPE_CHECKING:
    from genlab.data.options import DataOptions
    from genlab.experiment import Experiment
    from genlab.loading import load
    from genlab.reporting.grid import save_grid
    from genlab.reporting.report import Report
    from genlab.run import Run
    from genlab.training.loop import fit
    from genlab.training.method import Config, Method, TrainOptions
    from genlab.training.update import Update

__version__ = "0.1.0"

# Read by OpenMP when torch loads: waiting threads go to sleep early instead of spinning. With other load on the
# machine, spinning made the training of small networks twenty times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

_HOME = {
    "DataOptions": "data.options",
    "Experiment": "experiment",
    "load": "loading",
    "save_grid": "reporting.grid",
    "Report": "reporting.report",
    "Run": "run",
    "Config": "training.method",
    "Method": "training.method",
    "TrainOptions": "training.method",
    "Update": "training.update",
    "fit": "training.loop",
}
__all__ = [
    "Config",
    "DataOptions",
    "Experiment",
    "Method",
    "TrainOptions",
    "Report",
    "Run",
    "Update",
    "fit",
    "load",
    "save_grid",
]

__getattr__ = lazy_attributes(__name__, _HOME)
