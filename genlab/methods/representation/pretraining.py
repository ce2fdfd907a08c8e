"""Greedy layer-wise pre-training; Bengio et al. 2007, NIPS 19, with the denoising auto-encoders of Vincent et al. 2010,
JMLR 11:3371, section 6.1, as layers.

One layer after the other is trained as an auto-encoder of the outputs of the layers before it, which are fixed, for so
many images each; then all are unrolled into one deep auto-encoder and fine-tuned together. The layer to train follows
from the number of images drawn. (On several ranks a layer just fixed still moves a few steps by Adam's momentum.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.core.ranges import Count, Fraction, Width
from genlab.methods.representation.autoencoder import ErrorName, PlainAutoEncoder
from genlab.nets.autoencoder import ActivationName, Dense
from genlab.training.method import BatchStream, Config, Metrics, TrainOptions
from genlab.training.optim import OptimizerOptions
from genlab.training.update import Update


@dataclass(frozen=True)
class PreTrainingConfig(OptimizerOptions, Config):
    """Deep auto-encoder with greedy layer-wise pre-training; its encoder can be fine-tuned as a classifier."""

    sizes: tuple[Width, ...] = (1000, 1000, 500)
    """units of the encoder's layers, the code's last"""
    tied: bool = True
    """the decoder's weights are the encoder's, transposed"""
    activation: ActivationName = "relu"
    """activation of the hidden layers"""
    code_activation: ActivationName = "relu"
    """activation of the code"""
    error: ErrorName = "squared"
    """error of pixels: squared error of sigmoids or of linear outputs, or cross-entropy"""
    mask: Fraction = 0.25
    """share of a layer's inputs set to 0 while it is pre-trained"""
    images_per_layer: Count = 100_000
    """images for which each layer is pre-trained; the rest of training is for all layers together"""

    training: ClassVar[TrainOptions] = TrainOptions(images=600_000, batch=64)

    def build(self, shape: tuple[int, int, int], classes: int) -> PreTraining:
        net = Dense(shape, self.sizes, tied=self.tied, hidden=self.activation, code=self.code_activation)
        return PreTraining(net, self)


class PreTraining(PlainAutoEncoder):
    """net: a Dense auto-encoder, pre-trained layer by layer.

    The error between layers is squared; `error` is that of pixels.
    """

    net: Dense
    config: PreTrainingConfig

    def __init__(self, net: Dense, config: PreTrainingConfig = PreTrainingConfig()):
        super().__init__(net, config, config.error)
        self.layers = len(net.up)

    def optimizers(self):
        return {"layers": self.config.make_optimizer(self.net)}

    def stage(self, images: int) -> int:
        """The layer that is trained after so many images; the number of layers: all together."""
        return min(images // self.config.images_per_layer, self.layers)

    def layer_error(self, x: Tensor, i: int) -> Tensor:
        """The error (N,) of layer i as an auto-encoder of its input; no gradient reaches the layers before it."""
        with torch.no_grad():
            h = self.net.layer_input(x, i)
        masked = h * (torch.rand_like(h) >= self.config.mask)
        outputs = self.net.decode_layer(self.net.encode_layer(masked, i), i).float()
        return (outputs - h).square().sum(1) if i else self.error.cost(outputs.unflatten(1, self.net.shape), x)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        stage = self.stage(data.images)
        x, _ = next(data)
        if stage < self.layers:
            error = self.layer_error(x, stage).mean()
        else:
            error = self.error.cost(self.net(x)[1].float(), x).mean()
        update("layers", error)
        return {"error": error, "stage": torch.full_like(error.detach(), stage)}

    def classifier(self, classes: int) -> nn.Sequential:
        """x (N, C, H, W) -> logits (N, classes): a copy of the encoder, followed by a new linear layer."""
        return self.net.classifier(classes)
