"""Every method of the lab in a size that trains twenty steps in a second: the list that the contract tests go through.

A new method joins METHODS (and LEARNS, if one of its metrics must fall) and thereby gets the whole contract.
"""

from __future__ import annotations

import torch

from genlab.data import Images, Stream
from genlab.methods.classifier import ClassifierConfig
from genlab.methods.gan import GANConfig
from genlab.methods.vae import VAEConfig
from genlab.train import Config, Method

SHAPE, CLASSES = (1, 8, 8), 3

METHODS: dict[str, Config] = {
    "classifier cnn": ClassifierConfig(width=4, lr=0.02),
    "classifier mlp": ClassifierConfig(net="mlp", width=16, smoothing=0.1, lr=0.02),
    "classifier resnet": ClassifierConfig(net="resnet", width=4, lr=0.02),
    "gan": GANConfig(latent=4, width=4),
    "gan minimax": GANConfig(latent=4, width=4, objective="minimax", n_discriminator=2),
    "vae": VAEConfig(latent=2, width=4),
}

LEARNS: dict[str, tuple[str, float]] = {  # metric, factor it must fall by
    "classifier cnn": ("loss", 0.5),
    "classifier mlp": ("loss", 0.9),
    "classifier resnet": ("loss", 0.5),
    "gan": ("discriminator", 0.9),
    "vae": ("distortion", 0.95),
}


def images(n: int = 256) -> Images:
    """Noise whose brightness tells the class."""
    g = torch.Generator().manual_seed(1)
    y = torch.randint(CLASSES, (n,), generator=g)
    x = 0.3 * torch.rand(n, *SHAPE, generator=g) + 0.3 * y.view(-1, 1, 1, 1)
    return Images((x * 255).byte(), y, ("dark", "grey", "light"), "toy")


def stream(batch: int = 8, **options: int) -> Stream:
    return Stream(images(), batch, **options)


def make(name: str) -> Method:
    torch.manual_seed(0)
    return METHODS[name].build(SHAPE, CLASSES)
