"""What the GANs of the lab share: generators of images, of a class or of all, and the choice of networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from genlab.core.batch import at_least
from genlab.core.labels import Labels, check_labels
from genlab.core.picture import Picture, Pictures
from genlab.core.ranges import Count, Range, Units, Width, checked
from genlab.nets.dcgan import Discriminator, Generator, Norm
from genlab.nets.r3gan import R3Discriminator, R3Generator
from genlab.nets.resnet_gan import ResidualDiscriminator, ResidualGenerator
from genlab.nets.spectral import spectral_norm
from genlab.training.method import Config, Method


class Packed(nn.Module):
    """x (N, C, H, W) -> scores (N / pack,) of packs of images, the channels of one input; of points (N, D) likewise.
    PacGAN, Lin et al. 2018, arXiv:1712.04086, section 3. A generator that draws few modes draws packs that are too
    alike."""

    def __init__(self, net: Discriminator | ResidualDiscriminator | Any, pack: int):
        super().__init__()
        self.net, self.pack = net, pack
        self.batch_sizes = at_least(pack, pack)

    @property
    def head(self) -> nn.Module:
        return self.net.head

    def features(self, x: Tensor) -> Tensor:
        return self.net.features(self.packs(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.packs(x))

    def packs(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N / pack, pack C, H, W)."""
        return x.reshape(-1, self.pack * x.shape[1], *x.shape[2:])


Critic = (
    Discriminator | ResidualDiscriminator | R3Discriminator | Packed
)  # x (N, C, H, W) -> (N,), unbounded; of packs (N / pack,)
NETWORKS: dict[str, tuple[Any, Any]] = {
    "dcgan": (Generator, Discriminator),
    "resnet": (ResidualGenerator, ResidualDiscriminator),
    "r3gan": (R3Generator, R3Discriminator),
}
NORMS: dict[str, Norm] = {
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "none": lambda _: nn.Identity(),
}


@dataclass(frozen=True)
class GeneratorConfig(Config):
    """What a generator draws images from."""

    latent: Width = 64
    """dimensions of z"""


@dataclass(frozen=True)
class DiscriminatorConfig(Config):
    """The network that scores images; that of some methods is called critic."""

    net: Literal["dcgan", "resnet", "r3gan"] = "dcgan"
    """architecture of the networks; r3gan: modern residual ones without normalisation, which need --norm none"""
    width: Width = 64
    """channels: of the finest level, doubled at every coarser one (dcgan, r3gan), or of every level (resnet)"""
    hidden: Units | None = None
    """units of a fully connected layer beside the coarsest level; 0: no such layer; none: 512 (dcgan), 0 (others)"""
    norm: Literal["batch", "layer", "none"] = "batch"
    """normalisation in the discriminator; the generator has batch normalisation"""
    spectral: bool = False
    """spectral normalisation of the discriminator"""
    attention: bool = False
    """self-attention, at half of the resolution"""
    minibatch: bool = False
    """minibatch discrimination: the discriminator compares the images of a batch"""

    pack: Annotated[int, Range(1, 64)] = 1
    """images that the discriminator scores together (PacGAN), against mode collapse"""

    per_sample = False  # does the discriminator have to score every image by itself?

    def layers(self) -> dict[str, Any]:
        """What the networks have beside their levels."""
        if self.hidden and self.net != "dcgan":
            raise ValueError(f"residual networks have no fully connected hidden layer, got hidden {self.hidden}")
        if self.net == "r3gan":
            if self.norm != "none" or self.attention or self.minibatch:
                raise ValueError(
                    "the networks of R3GAN have no normalisation, attention or minibatch discrimination: use --norm "
                    f"none without --attention and --minibatch, got norm {self.norm!r}, attention {self.attention} and "
                    f"minibatch {self.minibatch}"
                )
            return {}
        hidden = 512 if self.hidden is None and self.net == "dcgan" else self.hidden
        return {"attention": self.attention, **({"hidden": hidden} if hidden else {})}

    def make_discriminator(self, shape: tuple[int, int, int], dropout: float = 0.0) -> Critic:
        if self.spectral and self.norm != "none":
            raise ValueError(f"{self.norm} normalisation undoes the bound of spectral normalisation: use norm 'none'")
        if self.per_sample and (self.norm == "batch" or self.minibatch or self.pack > 1):
            which = "batch normalisation" if self.norm == "batch" else "minibatch discrimination"
            which = f"packs of {self.pack}" if self.pack > 1 else which
            raise ValueError(f"a gradient per image needs a critic that sees one image at a time, not {which}")
        kind = NETWORKS[self.net][1]
        packed = (self.pack * shape[0], *shape[1:])
        layers = self.layers()
        if self.net == "r3gan":
            if dropout:
                raise ValueError(f"the networks of R3GAN have no dropout, got {dropout:g}")
            net = kind(packed, self.width)
        else:
            net = kind(packed, self.width, NORMS[self.norm], minibatch=self.minibatch, dropout=dropout, **layers)
        if self.spectral:
            spectral_norm(net, packed, net.head)
        return net if self.pack == 1 else Packed(net, self.pack)


@dataclass(frozen=True)
class AdversarialConfig(DiscriminatorConfig, GeneratorConfig):
    """The networks of a GAN: a generator of the same kind as the discriminator."""

    def make_generator(self, shape: tuple[int, int, int]) -> nn.Module:
        return NETWORKS[self.net][0](shape, self.latent, self.width, **self.layers())


class Adversarial(Method):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1], with z standard normal."""

    config: GeneratorConfig

    def __init__(self, generator: nn.Module, config: GeneratorConfig):
        super().__init__(config)
        self.generator, self.latent = generator, config.latent

    def latents(self, n: int) -> Tensor:
        """n draws of z, (n, latent)."""
        return torch.randn(n, self.latent, device=self.device)

    def decode(self, z: Tensor) -> Tensor:
        """z (n, latent) -> images (n, C, H, W) in [0, 1]."""
        return self.generator(z)

    @checked
    def sample(self, n: Count) -> Tensor:
        """n images (n, C, H, W) in [0, 1]."""
        return self.decode(self.latents(n))


class ConditionalAdversarial(Method):
    """generator: (z, one-hot y) (N, latent + classes) -> x (N, C, H, W) in [0, 1], with z standard normal."""

    config: GeneratorConfig

    def __init__(self, generator: nn.Module, classes: int, config: GeneratorConfig):
        super().__init__(config)
        self.generator, self.classes, self.latent = generator, classes, config.latent

    def draw(self, y: Tensor) -> Tensor:
        """Classes (n,) -> an image of each."""
        z = torch.randn(len(y), self.latent, device=self.device)
        return self.generator(torch.cat([z, one_hot(y, self.classes)], 1))

    @checked
    def sample(self, n: Count, labels: Labels | None = None) -> Tensor:
        """n images (n, C, H, W) in [0, 1] of the classes `labels` (n,), or of random ones."""
        if labels is None:
            return self.draw(torch.randint(self.classes, (n,), device=self.device))
        return self.draw(check_labels(labels, n, self.classes, self.device))

    def a_row_per_class(self) -> Tensor:
        """Classes (classes * classes,): each as often as there are classes."""
        return torch.arange(self.classes, device=self.device).repeat_interleave(self.classes)

    @torch.no_grad()
    def pictures(self, data: Any) -> Pictures:
        """samples: a row per class."""
        images = self.eval().draw(self.a_row_per_class())
        return {"samples": Picture(images, self.classes, data.classes)}
