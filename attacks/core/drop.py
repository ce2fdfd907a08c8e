"""When finished examples leave the batch.

Which examples are left is known on the device of the images; asking a GPU makes the host wait until it has computed all
that it was given, and in a loop over a small model that wait is most of the time.
"""

from __future__ import annotations

from torch import Tensor


def drops(step: int) -> bool:
    """Whether to ask after step 0, 1, ...: at steps 0, 1, 3, 7 and then after every 16th, seven times in 100 steps.

    Most examples that fall do so early, and none is carried on for longer than it has taken, or 16 steps.
    """
    n = step + 1
    return n % 16 == 0 or n in (1, 2, 4, 8)


def chosen(rows: Tensor | slice, keep: Tensor) -> Tensor:
    """The indices `keep` of the examples `rows`, where slice(None) stands for all."""
    return keep if isinstance(rows, slice) else rows[keep]
