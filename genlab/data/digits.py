"""scikit-learn's 1,797 handwritten digits: 8x8, sixteen grey levels, no download."""

from __future__ import annotations

from functools import cache

import torch

from genlab.data.images import Images


@cache
def digits(split: str = "train") -> Images:
    """A fixed stratified split: 1,437 training and 360 test images."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    levels, labels = load_digits(return_X_y=True)
    halves = train_test_split(range(len(labels)), test_size=360, stratify=labels, random_state=0)
    where = torch.tensor(sorted(halves[0] if split == "train" else halves[1]))
    pixels = (torch.from_numpy(levels).view(-1, 1, 8, 8) * (255 / 16)).round().to(torch.uint8)
    return Images(pixels[where], torch.from_numpy(labels).long()[where], tuple("0123456789"), "digits")
