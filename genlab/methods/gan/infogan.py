"""InfoGAN; Chen et al. 2016, arXiv:1606.03657, eq. 6, with the bound of the mutual information of eq. 5.

Q reads the features of D and learns with G, as min over G, Q has it; the shared body belongs to D and learns to tell
real from fake alone. (Were it to help Q, G could hide its codes in details too small to see, and did.) The hidden
layers of the paper's table 1 matter: read from the last feature map instead, categories settle on slant and thickness.
The continuous codes have a Gaussian Q of variance 1, and z is normal. The generator learns from the fakes of the
discriminator's step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from genlab.core.batch import needing
from genlab.core.labels import Labels, asked
from genlab.core.ranges import LearningRate, Range, Units, Weight, Width
from genlab.data import Images, batches
from genlab.methods.gan.losses import OBJECTIVES
from genlab.metrics.checks import Undefined, if_defined
from genlab.metrics.inception_score import inception_score
from genlab.nets.dcgan import Encoder, Generator
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class InfoGAN(Method):
    """generator: (one-hot category, values, z) -> x (N, C, H, W) in [0, 1];  discriminator: x -> (N, 1), a logit;
    recogniser: the discriminator's features -> (N, categories + values), logits and means.

    A code is a category (N,) in 0 .. categories - 1 and values (N, values) in [-1, 1], all uniform. Without
    `adversarial`, nothing but the codes' information is learnt.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: Encoder,
        recogniser: nn.Module,
        categories: int,
        values: int,
        latent: int,
        weights: tuple[float, float] = (1.0, 0.1),
        adversarial: bool = True,
        lr: tuple[float, float] = (1e-3, 2e-4),
    ):
        super().__init__()
        self.generator, self.discriminator, self.recogniser = generator, discriminator, recogniser
        self.categories, self.values, self.latent = categories, values, latent
        self.weights, self.adversarial, self.lr = weights, adversarial, lr

    def optimizers(self):
        return {
            "generator": adam(self.generator, self.recogniser, lr=self.lr[0], betas=(0.5, 0.999)),
            "discriminator": adam(self.discriminator, lr=self.lr[1], betas=(0.5, 0.999)),
        }

    def sample_codes(self, n: int) -> tuple[Tensor, Tensor]:
        """Categories (n,) and values (n, values)."""
        category = torch.randint(self.categories, (n,), device=self.device)
        return category, 2 * torch.rand(n, self.values, device=self.device) - 1

    def noise(self, n: int) -> Tensor:
        """z (n, latent)."""
        return torch.randn(n, self.latent, device=self.device)

    def generate(self, category: Labels, values: Tensor, z: Tensor) -> Tensor:
        """n images (n, C, H, W) in [0, 1] of given codes and noise z (n, latent)."""
        return self.draw(asked(category, len(z), self.categories, self.device, "categories"), values, z)

    def draw(self, category: Tensor, values: Tensor, z: Tensor) -> Tensor:
        return self.generator(torch.cat([one_hot(category, self.categories), values, z], 1))

    def sample(self, n: int) -> Tensor:
        """n images (n, C, H, W) in [0, 1] of random codes."""
        return self.draw(*self.sample_codes(n), self.noise(n))

    def recognise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x -> Q's logits of the category (N, categories) and means of the values (N, values)."""
        return self.read(self.discriminator.features(x))

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        logits, means = self.recogniser(features).split([self.categories, self.values], 1)
        return logits, means

    def uncertainty(self, features: Tensor, category: Tensor, values: Tensor) -> Tensor:
        """Minus the weighted bound of the information, up to a constant; nats."""
        logits, means = self.read(features)
        squares = (means.float() - values).square().sum(1).mean()
        return self.weights[0] * cross_entropy(logits, category) + self.weights[1] * squares / 2

    def step(self, data: Stream, update: Update) -> Metrics:
        real, _ = next(data)
        game, codes = OBJECTIVES["nonsaturating"], self.sample_codes(len(real))
        fake = self.draw(*codes, self.noise(len(real)))
        if self.adversarial:
            discriminator = game.discriminator(self.discriminator(real), self.discriminator(fake.detach()))
        else:  # the body is Q's alone
            discriminator = self.uncertainty(self.discriminator.features(fake.detach()), *codes)
        update("discriminator", discriminator)
        features = self.discriminator.features(fake)
        generator = uncertainty = self.uncertainty(features, *codes)
        if self.adversarial:
            generator = generator + game.generator(self.discriminator.head(features))
        update("generator", generator)
        return {"discriminator": discriminator, "generator": generator, "uncertainty": uncertainty}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """category_accuracy: of Q's category on real images, each category naming the class that suits all best;
        category_information: nats that the category tells of a real image, at most log(categories), by Q alone: it
        needs no label, so of several starts it tells which one to keep;
        value<i>_<factor>: correlation of the i-th value that Q reads with a known factor of the images."""
        self.eval()
        parts = [self.recognise(x) for x, _ in batches(data, 500)]
        logits, means = (torch.cat(part).float() for part in zip(*parts))
        found = {"category_accuracy": matched_accuracy(logits.argmax(1), data.labels)}
        with if_defined("category_information"):
            found["category_information"] = math.log(inception_score(logits, splits=1)[0])
        for name, factor in data.factors.items():
            if factor.ndim == 1 and factor.is_floating_point():
                for i, mean in enumerate(means.T, 1):
                    with if_defined(key := f"value{i}_{name}"):
                        found[key] = correlation(mean, factor.to(mean))
        return found

    @torch.no_grad()
    def pictures(self, data: Images) -> dict[str, Tensor]:
        """value<i>: rows are categories, the i-th value grows from left to right."""
        self.eval()
        k = self.categories
        category, column = torch.arange(k, device=self.device).repeat_interleave(k), torch.linspace(-1, 1, k).repeat(k)
        z = self.noise(1).expand(k * k, -1)
        pictures = {"samples": self.sample(64)}
        for i in range(self.values):
            values = torch.zeros(k * k, self.values, device=self.device)
            values[:, i] = column.to(values)
            pictures[f"value{i + 1}"] = self.draw(category, values, z)
        return pictures


def correlation(a: Tensor, b: Tensor) -> float:
    """Of two rows of numbers (N,), in [-1, 1].

    Raises:
        Undefined: all numbers of one of them are equal.
    """
    found = float(torch.corrcoef(torch.stack([a, b]))[0, 1]) if len(a) > 1 else math.nan
    if math.isnan(found):
        raise Undefined(f"numbers that do not vary have no correlation, got {len(a)} images")
    return found


def matched_accuracy(found: Tensor, labels: Tensor) -> float:
    """The fraction of `found` (N,) that equal `labels` (N,) under the best one-to-one renaming of what was found."""
    table = torch.zeros(int(found.max()) + 1, int(labels.max()) + 1)
    table.index_put_((found.cpu(), labels.cpu()), torch.ones(len(labels)), accumulate=True)
    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    return float(table[rows, columns].sum()) / len(labels)


@dataclass(frozen=True)
class InfoGANConfig(Config):
    """InfoGAN: codes that the pictures must tell, found without labels."""

    categories: Annotated[int, Range(2, 2**16)] | None = None
    """values of the categorical code; none: as many as the data have classes, 10 without classes"""
    values: Units = 2
    """continuous codes"""
    latent: Width = 62
    """dimensions of the noise z"""
    width: Width = 64
    """channels at the finest level; doubled at every coarser one"""
    hidden: Units = 1024
    """units of the fully connected layer in both networks"""
    weight_category: Weight = 1.0
    """weight of the information about the category"""
    weight_values: Weight = 0.1
    """weight of the information about the continuous codes"""
    adversarial: bool = True
    """no: no discriminator, the generator only makes its codes readable"""
    lr_generator: LearningRate = 1e-3
    """learning rate of the generator's and recogniser's Adam"""
    lr_discriminator: LearningRate = 2e-4
    """learning rate of the discriminator's Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=64)

    def build(self, shape: tuple[int, int, int], classes: int) -> InfoGAN:
        categories = self.categories or (classes if classes > 1 else 10)
        discriminator = Encoder(shape, 1, self.width, hidden=self.hidden)
        features = cast(nn.Linear, discriminator.head).in_features
        return InfoGAN(
            Generator(shape, categories + self.values + self.latent, self.width, hidden=self.hidden),
            discriminator,
            nn.Sequential(
                nn.Linear(features, 128),
                needing(nn.BatchNorm1d(128), 2),
                nn.LeakyReLU(0.2),
                nn.Linear(128, categories + self.values),
            ),
            categories,
            self.values,
            self.latent,
            (self.weight_category, self.weight_values),
            self.adversarial,
            (self.lr_generator, self.lr_discriminator),
        )
