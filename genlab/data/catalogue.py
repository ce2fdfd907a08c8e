"""What data there is, in words. Imports nothing heavy."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be had: its one sentence says what was asked for and what would help."""


SOURCES: dict[str, str] = {
    "digits": "1,797 handwritten digits of scikit-learn, 8x8 grey; no download",
    "glyphs": "rendered digits 0-9 with known rotation, thickness, size and colours, 32x32 colour; no download",
    "letters": "rendered letters A-Z with the same known factors, 32x32 colour; no download",
    "sprites": "pixel-art creatures of eight kinds in a small palette, 20x20 colour; no download",
    "mnist": "70,000 handwritten digits, 28x28 grey",
    "fashion": "70,000 pieces of clothing (Fashion-MNIST), 28x28 grey",
    "cifar10": "60,000 photographs of ten classes, 32x32 colour",
    "folder:PATH": "your own images, in class subfolders or all in one folder; cropped square, 32x32 colour",
    "binary:NAME": "one of the above, each pixel black or white with its brightness as probability, drawn once",
    "unpaired:A,B": "two of the above side by side for translation, brought to one size",
}
