"""What diffusion and flow matching share: an image model that is known by its denoiser, and what a denoiser can do.

Classes and classifier-free guidance: Ho & Salimans 2022, arXiv:2207.12598, with weights as they are usual by now: 0 is
the model without classes, 1 the conditional one, more pushes away from the former. Image to image: SDEdit, Meng et al.
2022, arXiv:2108.01073. Networks see images in [-1, 1], and noise levels are in these units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log, prod, sqrt
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from genlab.core.labels import Labels, check_classes, check_labels
from genlab.core.picture import MOST, Picture, Pictures, in_rows
from genlab.core.ranges import (
    Count,
    Fraction,
    Halvings,
    LearningRate,
    Range,
    Share,
    Side,
    Steps,
    Weight,
    Width,
    checked,
)
from genlab.data import Images, batches
from genlab.likelihood.units import bits_per_dim, dequantise, discrete
from genlab.methods.diffusion import samplers
from genlab.nets.diffusion_unet import DiffusionUNet
from genlab.nets.dit import DiT
from genlab.training.method import BatchStream, Config, Method, Metrics
from genlab.training.optim import adam
from genlab.training.update import Update

LOWEST, HIGHEST = 0.002, 80.0  # noise levels of sampling and likelihood, Karras et al. 2022, table 1
FRAMES = 8  # of the pictures of denoising
NETS: dict[str, type[nn.Module]] = {"unet": DiffusionUNet, "dit": DiT}
DENOISING = ["noise", *[""] * (FRAMES - 2), "sample"]


@dataclass(frozen=True)
class DenoisingConfig(Config):
    """The network of a denoiser, its classes and its sampling."""

    net: Literal["unet", "dit"] = "unet"
    """a U-Net, or a transformer of patches (DiT)"""
    width: Width | None = None
    """channels of the U-Net's finest level, doubled at every coarser one up to four times as many; features of the
    transformer's tokens; none: the network's own"""
    blocks: Annotated[int, Range(1, 100)] | None = None
    """residual blocks per level and direction; the transformer's blocks; none: the network's own"""
    halvings: Halvings | None = None
    """halvings of the sides in the U-Net; none: down to 4 to 7 positions"""
    patch: Side | None = None
    """side of the squares of pixels that are one position of the U-Net's finest level, or one token of the transformer;
    none: 1, and 2 of the transformer"""
    dropout: Fraction = 0.0
    """share of features zeroed in training"""
    conditional: bool = False
    """learn from the labels to draw images of a class"""
    drop_labels: Share = 0.1
    """share of labels left out in training, for guidance; only if conditional"""
    guidance: Weight = 1.0
    """classifier-free guidance of samples: 1: the conditional model; more: more typical of the class, less diverse"""
    steps: Steps = 18
    """steps of the sampler"""
    likelihood_images: Annotated[int, Range(0, 10**9)] = 50
    """held-out images whose likelihood is measured; 0: none"""
    lr: LearningRate = 2e-3
    """learning rate of Adam"""

    def check_relations(self) -> None:
        if self.guidance != 1 and not (self.conditional and self.drop_labels):
            raise ValueError(
                f"guidance {self.guidance:g} needs a conditional model with drop_labels above 0, got "
                f"conditional={self.conditional} and drop_labels={self.drop_labels:g}"
            )

        if self.net != "unet" and self.halvings is not None:
            raise ValueError(f"halvings is an option of net=unet, not of net={self.net}")

    def make_net(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        if self.conditional:
            check_classes(classes, "a conditional model")
        sizes = {"width": self.width, "blocks": self.blocks, "levels": self.halvings, "patch": self.patch}
        given = {name: size for name, size in sizes.items() if size is not None}
        return NETS[self.net](shape, **given, classes=classes if self.conditional else 0, dropout=self.dropout)


class Denoising(Method):
    """net: (x (N, C, H, W) of order 1, noise level (N,), labels (N,) or None) -> (N, C, H, W), unbounded.

    A subclass implements `loss` and `denoise`. classes: of a conditional model, else 0; the label `classes` stands for
    no class.
    """

    config: DenoisingConfig

    def __init__(self, net: nn.Module, shape: tuple[int, int, int], config: DenoisingConfig, classes: int = 0):
        super().__init__(config)
        self.net, self.shape, self.classes = net, shape, classes

    def optimizers(self):
        return {"net": adam(self.net, lr=self.config.lr)}

    def loss(self, x: Tensor, labels: Tensor | None, progress: float) -> Tensor:
        """The training loss (N,) of images x in [-1, 1]; progress: of training, in [0, 1]."""
        raise NotImplementedError

    def denoise(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean of the image in [-1, 1] given x (N, C, H, W) = image + sigma * noise, for sigma (N,) > 0."""
        raise NotImplementedError

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, labels = next(data)
        loss = self.loss(2 * x - 1, self.some(labels), update.progress).mean()
        update("net", loss)
        return {"loss": loss}

    def some(self, labels: Tensor) -> Tensor | None:
        """The labels, a random share of which is left out; None: a model without classes."""
        if not self.classes:
            return None
        dropped = torch.rand(len(labels), device=labels.device) < self.config.drop_labels
        return labels.masked_fill(dropped, self.classes)

    # --- sampling

    def condition(self, n: int, labels: Labels | None) -> Tensor | None:
        """The labels (n,) of n images: `labels`, or every class in turn; None: a model without classes."""
        if labels is None:
            return torch.arange(n, device=self.device) % self.classes if self.classes else None
        if not self.classes:
            raise ValueError(
                "this model was trained without labels, so none can be asked for: train with --conditional"
            )
        return check_labels(labels, n, self.classes, self.device)

    def guided(
        self, function: Callable[[Tensor, Tensor, Tensor | None], Tensor], labels: Tensor | None, guidance: float | None
    ) -> Callable[[Tensor, float], Tensor]:
        """(x, level) -> function(x, level (N,), labels) with classifier-free guidance; both passes in one batch.

        Raises:
            ValueError: guidance of a model that has learnt no classes, or has never seen images without.
        """
        weight = self.config.guidance if guidance is None else guidance
        if weight != 1 and not (self.classes and self.config.drop_labels):
            raise ValueError(f"guidance {weight:g} needs a model trained with --conditional and --drop-labels above 0")

        def call(x: Tensor, level: float) -> Tensor:
            levels = torch.full((len(x),), level, device=x.device)
            if labels is None or weight == 1:
                return function(x, levels, labels)
            both = torch.cat([labels, torch.full_like(labels, self.classes)])
            with_class, without = function(x.repeat(2, 1, 1, 1), levels.repeat(2), both).chunk(2)
            return torch.lerp(without, with_class, weight)

        return call

    def denoiser(self, labels: Tensor | None = None, guidance: float | None = None) -> samplers.Denoiser:
        """The denoiser of a class, at any single noise level."""
        return self.guided(self.denoise, labels, guidance)

    def levels(self, steps: int | None = None) -> list[float]:
        return samplers.noise_levels(self.config.steps if steps is None else steps, LOWEST, HIGHEST)

    def path(self, z: Tensor, labels: Tensor | None, steps: int, guidance: float | None) -> Iterator[Tensor]:
        """Images in [-1, 1] on the way from standard normal noise z to a sample, each in the scale of the noise: at the
        start z itself, at the end the sample."""
        raise NotImplementedError

    def latents(self, n: int) -> Tensor:
        """n draws (n, C, H, W) of the noise that `decode` starts from, standard normal."""
        return torch.randn(n, *self.shape, device=self.device)

    @checked
    @torch.no_grad()
    def frames(
        self, z: Tensor, labels: Labels | None = None, steps: Steps | None = None, guidance: Weight | None = None
    ) -> list[Tensor]:
        """The sampling of images from noise z (n, C, H, W): the noise and the images after every step, in [0, 1]."""
        steps = self.config.steps if steps is None else steps
        path = self.path(z, self.condition(len(z), labels), steps, guidance)
        return [(x / 2 + 0.5).clamp(0, 1) for x in [z, *path]]

    def decode(
        self, z: Tensor, labels: Labels | None = None, steps: int | None = None, guidance: float | None = None
    ) -> Tensor:
        """Noise z (n, C, H, W) -> images in [0, 1]."""
        return self.frames(z, labels, steps, guidance)[-1]

    @checked
    def sample(
        self, n: Count, labels: Labels | None = None, steps: int | None = None, guidance: float | None = None
    ) -> Tensor:
        """n images (n, C, H, W) in [0, 1].

        Args:
            labels: classes (n,) of a conditional model; none: every class in turn.
            steps, guidance: none: those of the config.
        """
        return self.decode(self.latents(n), labels, steps, guidance)

    # --- from images

    @checked
    @torch.no_grad()
    def complete(
        self,
        x: Tensor,
        known: Tensor,
        labels: Labels | None = None,
        steps: Steps | None = None,
        guidance: Weight | None = None,
        repeats: Steps = 5,
    ) -> Tensor:
        """Inpainting: x (N, C, H, W) in [0, 1] with new pixels where `known` (1, H, W) or (N, 1, H, W), bool, is False.

        repeats: of every step; more: the filling agrees better with what is known.
        """
        side = tuple(self.shape[1:])
        if known.dtype != torch.bool or tuple(known.shape) not in ((1, *side), (1, 1, *side), (len(x), 1, *side)):
            raise ValueError(
                f"known must be bool (1, {self.shape[1]}, {self.shape[2]}), got {known.dtype} {tuple(known.shape)}"
            )
        denoiser = self.denoiser(self.condition(len(x), labels), guidance)
        drawn = samplers.complete(denoiser, 2 * x - 1, known, self.levels(steps), repeats)
        return torch.where(known, x, (drawn / 2 + 0.5).clamp(0, 1))

    @checked
    @torch.no_grad()
    def vary(
        self,
        x: Tensor,
        strength: Share,
        labels: Labels | None = None,
        steps: Steps | None = None,
        guidance: Weight | None = None,
    ) -> Tensor:
        """Image to image: x (N, C, H, W) in [0, 1] under noise, and denoised again.

        strength: share of the steps of sampling that follow; 0: x itself; 1: new samples.
        """
        levels = self.levels(steps)
        levels = levels[len(levels) - 1 - round(strength * (len(levels) - 1)) :]
        y = 2 * x - 1 + levels[0] * torch.randn_like(x)
        denoiser = self.denoiser(self.condition(len(x), labels), guidance)
        *_, y = y, *samplers.deterministic(denoiser, y, levels)
        return (y / 2 + 0.5).clamp(0, 1)

    @checked
    @torch.no_grad()
    def encode(self, x: Tensor, labels: Labels | None = None, steps: Steps | None = None) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> the noise, of the scale of `latents`, that the ODE leads to them."""
        denoiser = self.denoiser(self.condition(len(x), labels), 1.0)
        return samplers.inverse(denoiser, 2 * x - 1, self.levels(steps)) / HIGHEST

    # --- likelihood

    @checked
    @torch.no_grad()
    def log_prob(
        self, x: Tensor, labels: Labels | None = None, steps: Steps | None = None, probes: Steps = 1
    ) -> Tensor:
        """A lower bound of log P(x) of 8-bit images (N, C, H, W) in [0, 1], in nats, (N,): the density of the
        probability-flow ODE at dequantised pixels.

        Estimates, unbiased but for the error of the solver: more `steps` make that smaller, more `probes` the variance.

        labels: log P(x given label); none: the model without classes.
        """
        given = None if labels is None else self.condition(len(x), labels)
        y = 2 * dequantise(x) - 1
        steps = steps or self.config.steps
        density = samplers.log_density(self.denoiser(given, 1.0), y, LOWEST, HIGHEST, steps, probes)
        return discrete(density + prod(self.shape) * log(2), self.shape)

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """loss, that of training, on `data`; bits_per_dim of the first `likelihood_images` of them, with twice the
        steps of sampling, and its standard error "bits_per_dim ±", if there are two or more."""
        self.eval()
        total = sum(float(self.loss(2 * x - 1, y if self.classes else None, 1.0).sum()) for x, y in batches(data, 250))
        found = {"loss": total / len(data)}
        some = data.subset(slice(0, self.config.likelihood_images))
        if len(some):
            nats = torch.cat([-self.log_prob(x, steps=2 * self.config.steps) for x, _ in batches(some, 250)]).double()
            found["bits_per_dim"] = bits_per_dim(float(nats.mean()), self.shape)
            if len(some) > 1:
                found["bits_per_dim ±"] = bits_per_dim(float(nats.std()) / sqrt(len(some)), self.shape)
        return found

    @torch.no_grad()
    def pictures(self, data: Any) -> Pictures:
        """samples, a column per class if the model has classes; denoising: rows of eight images on the way from noise;
        completed: held-out images, and below them the same with the lower half redrawn."""
        self.eval()
        n = self.classes * max(1, 64 // self.classes) if self.classes else 64
        way = self.frames(self.latents(8))
        chosen = [way[round(i * (len(way) - 1) / (FRAMES - 1))] for i in range(FRAMES)]
        some = data.subset(slice(0, MOST))
        known = torch.arange(self.shape[1], device=self.device)[None, :, None] < self.shape[1] // 2
        completed = self.complete(some.x, known.expand(1, *self.shape[1:]), some.labels if self.classes else None)
        return {
            "samples": Picture(self.sample(n), self.classes or None, heads=data.classes if self.classes else ()),
            "denoising": Picture(torch.stack(chosen, 1).flatten(0, 1), FRAMES, heads=DENOISING),
            "completed": in_rows({"held out": some.x, "lower half redrawn": completed}),
        }
