"""Greedy layer-wise pre-training; Bengio et al. 2007, NIPS 19, with the denoising auto-encoders of Vincent et al. 2010,
JMLR 11:3371, section 6.1, as layers.

One layer after the other learns to be undone, alone, from what the layers before it, now fixed, make of so many images;
from then on all are unrolled into one deep auto-encoder and learn together. Which layer learns follows from the number
of images drawn. (On several ranks a layer just fixed still coasts a few steps on Adam's momentum.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.core.ranges import Count, Fraction, LearningRate, Width
from genlab.methods.representation.autoencoder import ERRORS, AutoEncoder, ErrorName, Spoil
from genlab.nets.autoencoder import ActivationName, Dense
from genlab.training.method import Config, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class PreTraining(AutoEncoder):
    """net: a Dense auto-encoder, of which layer after layer is trained.

    each: images from which every layer learns alone.
    mask: share of a layer's inputs that are zeroed meanwhile. Between the layers the error is squared; `error` is that
    of pixels.
    """

    net: Dense

    def __init__(self, net: Dense, each: int, error: ErrorName = "squared", mask: float = 0.25, lr: float = 1e-3):
        super().__init__(net, error, lr=lr)
        self.layers, self.each, self.mask = len(net.up), each, Spoil(mask=mask).mask

    def optimizers(self):
        return {"layers": adam(self.net, lr=self.lr)}

    def stage(self, images: int) -> int:
        """The layer that learns after so many images; their number: all together."""
        return min(images // self.each, self.layers)

    def layer_error(self, x: Tensor, i: int) -> Tensor:
        """The i-th layer's error (N,) as an auto-encoder of what those before it make of x; its gradient ends there."""
        with torch.no_grad():
            h = self.net.below(x, i)
        undone = self.net.lowered(self.net.raised(h * (torch.rand_like(h) >= self.mask), i), i).float()
        return (undone - h).square().sum(1) if i else ERRORS[self.error].cost(undone.unflatten(1, self.net.shape), x)

    def step(self, data: Stream, update: Update) -> Metrics:
        stage = self.stage(data.images)
        x, _ = next(data)
        if stage < self.layers:
            error = self.layer_error(x, stage).mean()
        else:
            error = ERRORS[self.error].cost(self.net(x)[1].float(), x).mean()
        update("layers", error)
        return {"error": error, "stage": torch.full_like(error.detach(), stage)}

    def classifier(self, classes: int) -> nn.Sequential:
        """x (N, C, H, W) -> logits (N, classes): a copy of the encoder and, after it, a new linear layer."""
        return self.net.classifier(classes)


@dataclass(frozen=True)
class PreTrainingConfig(Config):
    """A deep auto-encoder, trained layer by layer; or the first layers of a classifier, from images without labels."""

    sizes: tuple[Width, ...] = (1000, 1000, 500)
    """units of the encoder's layers, the code's last"""
    tied: bool = True
    """the decoder's weights are the encoder's, transposed"""
    activation: ActivationName = "relu"
    """what follows the layers"""
    code_activation: ActivationName = "relu"
    """what follows the last one"""
    error: ErrorName = "squared"
    """that of pixels: squared error of sigmoids or of linear outputs, or cross-entropy"""
    mask: Fraction = 0.25
    """share of a layer's inputs that are zeroed while it learns"""
    each: Count = 100_000
    """images from which every layer learns alone; what is left of training is for all together"""
    lr: LearningRate = 1e-3
    """learning rate of Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(images=600_000, batch=64)

    def build(self, shape: tuple[int, int, int], classes: int) -> PreTraining:
        net = Dense(shape, self.sizes, tied=self.tied, hidden=self.activation, code=self.code_activation)
        return PreTraining(net, self.each, self.error, self.mask, self.lr)
