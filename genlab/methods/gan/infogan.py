"""InfoGAN; Chen et al. 2016, arXiv:1606.03657, eq. 6, with the bound of the mutual information of eq. 5.

Q reads the features of D and learns with G, as min over G, Q has it; the shared body belongs to D and learns to tell
real from fake alone. (If the body learnt for Q too, G could encode the codes in imperceptible details, and did.) The
hidden layers of the paper's table 1 matter: when Q reads the last feature map instead, categories settle on slant and
thickness. The continuous codes have a Gaussian Q of variance 1, and z is normal. The generator learns from the fakes of
the discriminator's step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from genlab.core.batch import with_min_batch
from genlab.core.labels import Labels, check_labels
from genlab.core.picture import Picture, Pictures
from genlab.core.ranges import Count, LearningRate, Range, Units, Weight, Width, checked
from genlab.data import Images, batches
from genlab.methods.gan.adversarial import GeneratorConfig
from genlab.methods.gan.gan import BETAS
from genlab.methods.gan.losses import OBJECTIVES
from genlab.metrics.checks import Undefined, if_defined
from genlab.metrics.inception_score import inception_score
from genlab.nets.dcgan import Encoder, Generator
from genlab.training.method import BatchStream, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

ADVERSARIAL = OBJECTIVES["nonsaturating"]


@dataclass(frozen=True)
class InfoGANConfig(GeneratorConfig):
    """InfoGAN: interpretable codes, learnt without labels by their mutual information with the images."""

    latent: Width = 62
    """dimensions of the noise z"""
    categories: Annotated[int, Range(2, 2**16)] | None = None
    """values of the categorical code; none: as many as the data have classes, 10 without classes"""
    values: Units = 2
    """continuous codes"""
    width: Width = 64
    """channels at the finest level; doubled at every coarser one"""
    hidden: Units = 1024
    """units of the fully connected layer in both networks"""
    weight_category: Weight = 1.0
    """weight of the mutual information of the category"""
    weight_values: Weight = 0.1
    """weight of the mutual information of the continuous codes"""
    adversarial: bool = True
    """no: no adversarial loss, generator and discriminator maximise the mutual information alone"""
    informed: bool = True
    """no: the generator ignores the mutual information: a plain GAN, whose codes the recogniser learns to read"""
    lr: LearningRate = 2e-4
    """learning rate of the discriminator's Adam"""
    lr_generator: LearningRate = 1e-3
    """learning rate of the generator's and recogniser's Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=64)

    def check_relations(self) -> None:
        if not (self.adversarial or self.informed):
            raise ValueError("adversarial and informed cannot both be no: the generator would learn nothing")

    def build(self, shape: tuple[int, int, int], classes: int) -> InfoGAN:
        categories = self.categories or (classes if classes > 1 else 10)
        discriminator = Encoder(shape, 1, self.width, hidden=self.hidden)
        features = cast(nn.Linear, discriminator.head).in_features
        return InfoGAN(
            Generator(shape, categories + self.values + self.latent, self.width, hidden=self.hidden),
            discriminator,
            nn.Sequential(
                nn.Linear(features, 128),
                with_min_batch(nn.BatchNorm1d(128), 2),
                nn.LeakyReLU(0.2),
                nn.Linear(128, categories + self.values),
            ),
            categories,
            self,
        )


class InfoGAN(Method):
    """generator: (one-hot category, values, z) -> x (N, C, H, W) in [0, 1];  discriminator: x -> (N, 1), a logit;
    recogniser: the discriminator's features -> (N, categories + values), logits and means: Q of the paper.

    A code is a category (N,) in 0 .. categories - 1 and values (N, values) in [-1, 1], all uniform.
    """

    config: InfoGANConfig

    def __init__(
        self,
        generator: nn.Module,
        discriminator: Encoder,
        recogniser: nn.Module,
        categories: int,
        config: InfoGANConfig = InfoGANConfig(),
    ):
        super().__init__(config)
        self.generator, self.discriminator, self.recogniser = generator, discriminator, recogniser
        self.categories, self.values, self.latent = categories, config.values, config.latent

    def optimizers(self):
        return {
            "generator": adam(self.generator, self.recogniser, lr=self.config.lr_generator, betas=BETAS),
            "discriminator": adam(self.discriminator, lr=self.config.lr, betas=BETAS),
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
        return self.draw(check_labels(category, len(z), self.categories, self.device, "categories"), values, z)

    def draw(self, category: Tensor, values: Tensor, z: Tensor) -> Tensor:
        return self.generator(torch.cat([one_hot(category, self.categories), values, z], 1))

    @checked
    def sample(self, n: Count) -> Tensor:
        """n images (n, C, H, W) in [0, 1] of random codes."""
        return self.draw(*self.sample_codes(n), self.noise(n))

    def recognise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x -> Q's logits of the category (N, categories) and means of the values (N, values)."""
        return self.read(self.discriminator.features(x))

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        logits, means = self.recogniser(features).split([self.categories, self.values], 1)
        return logits, means

    def information_loss(self, features: Tensor, category: Tensor, values: Tensor) -> Tensor:
        """Minus the weighted lower bound of the codes' mutual information with the images, up to a constant; nats."""
        logits, means = self.read(features)
        squares = (means.float() - values).square().sum(1).mean()
        return self.config.weight_category * cross_entropy(logits, category) + self.config.weight_values * squares / 2

    def step(self, data: BatchStream, update: Update) -> Metrics:
        real, _ = next(data)
        codes = self.sample_codes(len(real))
        fake = self.draw(*codes, self.noise(len(real)))
        if self.config.adversarial:
            discriminator = ADVERSARIAL.discriminator(self.discriminator(real), self.discriminator(fake.detach()))
        else:  # the body is Q's alone
            discriminator = self.information_loss(self.discriminator.features(fake.detach()), *codes)
        update("discriminator", discriminator)
        features = self.discriminator.features(fake)
        information = self.information_loss(features if self.config.informed else features.detach(), *codes)
        generator = information
        if self.config.adversarial:
            generator = generator + ADVERSARIAL.generator(self.discriminator.head(features))
        update("generator", generator)
        return {"discriminator": discriminator, "generator": generator, "information_loss": information}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """category_accuracy: of Q's category on real images, under the best assignment of categories to classes;
        category_information: mutual information of a real image and Q's category, in nats, at most log(categories); it
        needs no labels, so one can choose the best of several seeds by it;
        value<i>_<factor>: correlation of Q's mean of the i-th value with a known factor of the images."""
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
    def pictures(self, data: Images) -> Pictures:
        """samples; value<i>: rows are categories, the i-th value increases from left to right."""
        self.eval()
        k = self.categories
        category, column = torch.arange(k, device=self.device).repeat_interleave(k), torch.linspace(-1, 1, k).repeat(k)
        z = self.noise(1).expand(k * k, -1)
        pictures: Pictures = {"samples": self.sample(64)}
        for i in range(self.values):
            values = torch.zeros(k * k, self.values, device=self.device)
            values[:, i] = column.to(values)
            rows = [f"category {j}" for j in range(k)]
            pictures[f"value{i + 1}"] = Picture(self.draw(category, values, z), k, rows, ["-1", *[""] * (k - 2), "1"])
        return pictures


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's, of two tensors (N,).

    Raises:
        Undefined: all numbers of one of them are equal.
    """
    found = float(torch.corrcoef(torch.stack([a, b]))[0, 1]) if len(a) > 1 else math.nan
    if math.isnan(found):
        raise Undefined(f"numbers that do not vary have no correlation, got {len(a)} images")
    return found


def matched_accuracy(found: Tensor, labels: Tensor) -> float:
    """The share of `found` (N,) equal to `labels` (N,) under the best one-to-one assignment of the one to the other."""
    table = torch.zeros(int(found.max()) + 1, int(labels.max()) + 1)
    table.index_put_((found.cpu(), labels.cpu()), torch.ones(len(labels)), accumulate=True)
    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    return float(table[rows, columns].sum()) / len(labels)
