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
    "NAME:CLASS": "one class of a labelled set, as cifar10:horse or folder:PATH:cats",
    "grey:NAME": "one of the above in one channel",
    "night:NAME": "one of the above by night: dim and blue, moonlight from the right",
    "styled:NAME": "the negative of one of the above, with diagonal bands",
    "textured:NAME": "one of the above, grey, in yellow ink on a blue weave",
    "unpaired:A,B": "two of the above side by side for translation, brought to one size; the test sets of A and of "
    "its night, say, show the same originals in the same order, the training sets have none in common",
    "unpaired:FOLDER": "two sides from the folders trainA, trainB, testA and testB in FOLDER",
    "domains:A,B,...": "several of the above as one set, labelled by which one an image is from",
}
