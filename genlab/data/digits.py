"""scikit-learn's 1,797 handwritten digits: 8x8, sixteen grey levels, no download."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from genlab.data.images import Images

# A bit per image, set for the test images: those of scikit-learn's train_test_split, stratified, random_state 0.
TEST = bytes.fromhex(
    "000004883524104000064100934205001a00080100240028062c12001000940a009019120420f8a0028110a000080a8820441524494240a0"
    "0a0000004004d80000818020004805c400104008a0100005404800301000020ec409000224840083a8013c20a6980a0000000b08400804a0"
    "184802024041c1008004404684376a810216004480004042a0a4180a5000840b8561c608108008004c80c02004068e000108820081003808"
    "03c008190000100e01008410a0210033282904c044c080680e0102830082008822a6402c24042108a860809081a00c02820242120138a415"
    "00"
)


@cache
def digits(split: str = "train") -> Images:
    """A fixed stratified split: 1,437 training and 360 test images."""
    table = torch.from_numpy(levels_and_labels())
    chosen = torch.from_numpy(np.unpackbits(np.frombuffer(TEST, np.uint8), count=len(table))) == (split == "test")
    pixels = (table[chosen, :64].view(-1, 1, 8, 8) * (255 / 16)).round().to(torch.uint8)
    return Images(pixels, table[chosen, 64].long(), tuple("0123456789"), "digits")


def levels_and_labels() -> np.ndarray:
    """(1797, 65) float64: the levels, 0 to 16, and the label of each image. Read from scikit-learn's file, since to
    import scikit-learn takes as long as a third of a short command."""
    package = find_spec("sklearn")
    file = Path(package.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if package else None
    if file is not None and file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    levels, labels = load_digits(return_X_y=True)
    return np.column_stack([levels, labels])
