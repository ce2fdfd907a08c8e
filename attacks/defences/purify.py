"""Purification: a generative model projects images onto its own distribution before they are classified.

DefenseGAN      Samangouei, Kabkab, Chellappa 2018, arXiv:1805.06605, with Adam in place of momentum
Reconstruct     Meng, Chen 2017 (MagNet), arXiv:1705.09064: the reformer; any auto-encoder or VAE
magnet          the reformer with MagNet's detectors
PixelDefend     Song et al. 2018, arXiv:1710.10766, Algorithm 1

Generative models are callables or networks, used in eval mode; each class is a `Filter`, so `Filtered(...)` is a model
and `Filtered(...).adaptive()` the model for the adaptive attack (BPDA).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from attacks.defences.callable_module import ImageMap
from attacks.defences.detection import Detector, GuardedClassifier
from attacks.defences.scores import JensenShannon, ReconstructionError
from attacks.defences.smoothing import Filter, Filtered
from genlab.core.modes import evaluating
from genlab.core.ranges import LearningRate, Seed, Share, Steps, Width, checked
from genlab.data.seeds import generator as seeded
from genlab.latent.edit import invert, squared_error
from genlab.likelihood.pixels import Categorical, PixelDistribution, Regression
from genlab.likelihood.sampling import draw
from genlab.nets.causal import CausalNet

SLACK = 1e-6  # tolerance for rounding, in pixels

Map = Callable[[Tensor], Tensor]


class Reconstruct(Filter):
    """autoencode(x), clipped to [0, 1]; autoencode: x (N, C, H, W) -> reconstruction of the same shape, in [0, 1].

    It may return a tuple that begins with the reconstruction (VAEs). ValueError for images in [-1, 1].
    """

    def __init__(self, autoencode: Map) -> None:
        super().__init__()
        self.autoencode = ImageMap(autoencode)

    def forward(self, x: Tensor) -> Tensor:
        with evaluating(self.autoencode):
            return self.autoencode(x).clamp(0, 1)


class DefenseGAN(Filter):
    """G(z*), z* = argmin |G(z) - x|^2: the best of `restarts` runs of Adam with `steps` steps each.

    generator: z (N, latent), standard normal -> images (N, C, H, W) in [0, 1]. lr: learning rate of Adam, with a cosine
    schedule. The starting points are sampled once from `seed` and shared by all images, so the filter is deterministic.
    """

    differentiable = False
    starts: Tensor

    @checked
    def __init__(
        self,
        generator: nn.Module,
        latent: Width,
        restarts: Steps = 10,
        steps: Steps = 200,
        lr: LearningRate = 0.1,
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        self.generator, self.steps, self.lr = ImageMap(generator), steps, lr
        self.register_buffer("starts", torch.randn(restarts, latent, generator=seeded("defense-gan", seed)))

    def extra_repr(self) -> str:
        return f"restarts={len(self.starts)}, steps={self.steps}, lr={self.lr}"

    def forward(self, x: Tensor) -> Tensor:
        n, restarts = len(x), len(self.starts)
        targets = x.detach().repeat_interleave(restarts, 0)
        with evaluating(self.generator), torch.no_grad():
            z = invert(self.generator, targets, self.starts.to(x.device).repeat(n, 1), steps=self.steps, lr=self.lr)
            images = self.generator(z)
        best = squared_error(images, targets).view(n, restarts).argmin(1)
        return images.view(n, restarts, *x.shape[1:])[torch.arange(n, device=x.device), best].clamp(0, 1)


class PixelDefend(Filter):
    """Replaces each pixel in turn by the likeliest value within eps of it, given the pixels before, already purified.

    net, head: an unconditional autoregressive model over levels of brightness. eps: in pixels of [0, 1]. Pixels without
    a level within eps are unchanged. Costs as much as sampling an image. Raises ValueError for a head without levels.
    """

    differentiable = False

    @checked
    def __init__(self, net: CausalNet, head: PixelDistribution, eps: Share = 0.1) -> None:
        super().__init__()
        if isinstance(head, Categorical | Regression):
            raise ValueError(f"PixelDefend needs a distribution over levels of brightness, got {type(head).__name__}.")
        self.net, self.head, self.eps = net, RestrictedDistribution(head, eps), eps

    def extra_repr(self) -> str:
        return f"eps={self.eps:g}"

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach()
        with evaluating(self.net, self.head):
            levels = self.head.images(draw(self.net, self.head, x))
        return torch.where((levels - x).abs() <= self.eps + SLACK, levels, x)


class RestrictedDistribution(PixelDistribution):
    """`head`, whose `draw` returns the likeliest value within eps of u (the nearest value if there is none)."""

    def __init__(self, head: PixelDistribution, eps: float) -> None:
        super().__init__(head.groups, head.values, head.outputs, head.inputs)
        self.head, self.eps = head, eps

    def encode(self, k: Tensor) -> Tensor:
        return self.head.encode(k)

    def draw(self, outputs: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        away = (self.images(torch.arange(self.values, device=u.device)) - u[:, :, None]).abs()
        log_probs = self.head.log_probs(outputs).masked_fill(away > self.eps + SLACK, -torch.inf)
        return torch.where(log_probs.isneginf().all(2), away.argmin(2), log_probs.argmax(2))


class FilterDetected(Filter):
    """`filter` applied to the images that the detector flags (with a likelihood score: adaptive PixelDefend)."""

    differentiable = False

    def __init__(self, detector: Detector, filter: Filter) -> None:
        super().__init__()
        self.detector, self.filter, self.random = detector, filter, filter.random

    def forward(self, x: Tensor) -> Tensor:
        with evaluating(self.detector), torch.no_grad():
            rows = self.detector(x).nonzero().squeeze(1)
        return x.index_copy(0, rows, self.filter(x[rows])) if len(rows) else x


def magnet(
    model: nn.Module, autoencode: Map, clean: Tensor, fpr: float, temperatures: tuple[float, ...] = (10.0, 40.0)
) -> GuardedClassifier:
    """MagNet: the model behind its reformer, with detectors by reconstruction error and Jensen-Shannon divergence.

    clean (N, C, H, W): held-out images for calibration. fpr: false-positive rate of all detectors together, divided
    evenly. temperatures: one Jensen-Shannon detector each.
    """
    scores = [ReconstructionError(autoencode, 1), *(JensenShannon(model, autoencode, t) for t in temperatures)]
    detectors = [Detector(score).calibrate(clean, fpr / len(scores)) for score in scores]
    return GuardedClassifier(Filtered(Reconstruct(autoencode), model), *detectors)
