"""Content and style in two codes: an auto-encoder with an adversary that tries to predict the style from the content.

The style is the label of the data (for plain data, the class). The content encoder ends in instance normalisation,
which removes the statistics that the decoder gets back from the style code by AdaIN (Huang & Belongie 2017,
arXiv:1703.06868). Whatever style remains in the content is removed by adversarial training, as in the fader networks of
Lample et al. 2017, arXiv:1706.00409, eq. 2 and 3. Departures: the encoder's target for the adversary's prediction is
the uniform distribution, whose minimum is at chance; the style is encoded from the image, not given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.core.labels import check_classes
from genlab.core.picture import Picture, Pictures
from genlab.core.ranges import LearningRate, Steps, Weight, Width
from genlab.data import Images
from genlab.latent.codes import apply_batched, linear_probe, squared_error
from genlab.metrics.checks import if_defined
from genlab.nets.adain import StyledDecoder
from genlab.nets.dcgan import Encoder
from genlab.nets.spatial import encoder, map_shape
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

BETAS = (0.5, 0.999)  # of Adam


@dataclass(frozen=True)
class DisentangleConfig(Config):
    """Disentangling: a content code without the label (the style), and a style code with the rest."""

    content: Width = 8
    """channels of the content code, a quarter as wide and high as the image"""
    style: Width = 8
    """dimensions of the style code"""
    width: Width = 32
    """channels of the networks"""
    weight: Weight = 0.05
    """weight of the adversarial loss, in nats, beside the squared error per pixel; 0: the adversary only observes"""
    noise: Weight = 0.3
    """standard deviation of the noise on the content code (which has 1), against style hidden in fine details"""
    n_adversary: Steps = 2
    """adversary steps per step of the auto-encoder"""
    lr: LearningRate = 5e-4
    """learning rate of the auto-encoder's Adam; the adversary's is twice as high"""

    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=64)

    def build(self, shape: tuple[int, int, int], classes: int) -> Disentangle:
        check_classes(classes, "an adversary that tells classes apart")
        h, w = map_shape(shape)
        if h * w < 2:
            raise ValueError(f"instance normalisation needs more than one position, got {h}x{w} of images {shape}")
        norm = nn.InstanceNorm2d
        return Disentangle(
            nn.Sequential(encoder(shape, self.content, self.width, norm), norm(self.content)),
            Encoder(shape, self.style, self.width),
            StyledDecoder(shape, self.content, self.style, self.width),
            nn.Sequential(
                nn.Flatten(),
                nn.Linear(self.content * h * w, 256),
                nn.LeakyReLU(0.2),
                nn.Linear(256, 256),
                nn.LeakyReLU(0.2),
                nn.Linear(256, classes),
            ),
            self,
        )


class Disentangle(Method):
    """content: x (N, C, H, W) in [0, 1] -> (N, D, h, w), every channel of mean 0 and variance 1 over its positions;
    style: x -> (N, S);  decoder: (content, style) -> logits of x's shape;  adversary: content -> (N, styles), logits.
    """

    config: DisentangleConfig

    def __init__(
        self,
        content: nn.Module,
        style: nn.Module,
        decoder: nn.Module,
        adversary: nn.Module,
        config: DisentangleConfig = DisentangleConfig(),
    ):
        super().__init__(config)
        self.content, self.style, self.decoder, self.adversary = content, style, decoder, adversary

    def optimizers(self):
        lr = self.config.lr
        return {
            "autoencoder": adam(self.content, self.style, self.decoder, lr=lr, betas=BETAS),
            "adversary": adam(self.adversary, lr=2 * lr, betas=BETAS),
        }

    def code(self, x: Tensor) -> Tensor:
        """x -> its content code with noise, as decoder and adversary receive it; (N, D, h, w)."""
        content = self.content(x)
        return content + self.config.noise * torch.randn_like(content)

    def combine(self, content: Tensor, style: Tensor) -> Tensor:
        """Content codes (N, D, h, w) and style codes (N, S) -> images (N, C, H, W) in [0, 1]."""
        return self.decoder(content, style).float().sigmoid()

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> the image decoded from its content and style; same shape, in [0, 1]."""
        return self.combine(self.content(x), self.style(x))

    def step(self, data: BatchStream, update: Update) -> Metrics:
        for _ in range(self.config.n_adversary):
            x, label = next(data)
            content = self.code(x)
            adversary = cross_entropy(self.adversary(content.detach()).float(), label)
            update("adversary", adversary)
        error = (self.combine(content, self.style(x)) - x).square().mean()
        logits = self.adversary(content).float()
        confusion = cross_entropy(logits, torch.full_like(logits, 1 / logits.shape[1]))
        update("autoencoder", error + self.config.weight * confusion)
        return {"error": error, "adversary": adversary, "confusion": confusion}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """error: mean squared error per pixel; accuracies of linear probes (trained on the first half of `data`, tested
        on the second) of the label from both codes: style_from_content, ideally at chance, the share of the commonest
        label, and style_from_style; and of every other known factor that is a class: <factor>_from_content and
        <factor>_from_style."""
        self.eval()
        codes = {"content": apply_batched(self.code, data), "style": apply_batched(self.style, data)}
        factors = {name: f for name, f in data.factors.items() if f.ndim == 1 and not f.is_floating_point()}
        factors = {name: f for name, f in factors.items() if not torch.equal(f, data.labels)}
        found = {"error": squared_error(self.reconstruct, data)}
        found["chance"] = float(data.labels.bincount().max()) / len(data)
        for factor, value in {"style": data.labels, **factors}.items():
            for name, code in codes.items():
                with if_defined(key := f"{factor}_from_{name}"):
                    found[key] = linear_probe(code, value)
        return found

    @torch.no_grad()
    def pictures(self, data: Images) -> Pictures:
        """exchanged: a row per content, a column per style; the first column shows the images that give the content,
        the first row those that give the style."""
        self.eval()
        x = data.subset(slice(0, 7)).x
        content, style = self.content(x), self.style(x)
        n = len(x)
        mixed = self.combine(content.repeat_interleave(n, 0), style.repeat(n, 1)).unflatten(0, (n, n))
        table = torch.cat([torch.cat([torch.ones_like(x[:1]), x])[None], torch.cat([x[:, None], mixed], 1)])
        return {"exchanged": Picture(table.flatten(0, 1), n + 1, ["style", *["content"] * n])}
