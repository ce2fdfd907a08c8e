"""Normalising flows by maximum likelihood: NICE (arXiv:1410.8516), RealNVP (arXiv:1605.08803), Glow (arXiv:1807.03039).

Images are dequantised, so the log-likelihood is a lower bound of that of 8-bit images; for points it is the density
itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi, prod
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from genlab.core.picture import Picture, Pictures
from genlab.core.ranges import Count, Fraction, Layers, LearningRate, Range, Width, checked
from genlab.data import Images
from genlab.latent.walks import interpolate
from genlab.likelihood.dequantisation import Dequantisation, UniformNoise, VariationalNoise
from genlab.likelihood.units import dequantise, discrete, likelihood
from genlab.metrics.checks import if_defined, points
from genlab.nets.flow import Affine, Chain, Layer, Logit
from genlab.nets.glow import SIZES, FlowName, flow
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


@dataclass(frozen=True)
class FlowConfig(Config):
    """Normalising flow: NICE, RealNVP or Glow."""

    net: FlowName = "glow"
    """architecture"""
    levels: Annotated[int, Range(1, 12)] | None = None
    """scales, each half as high and wide as the one before; none: the architecture's default, as for the next two"""
    steps: Layers | None = None
    """coupling layers per level; for nice in total, for realnvp per mask"""
    width: Width | None = None
    """hidden channels or units in a coupling"""
    position_bias: bool = False
    """for realnvp and glow: a bias per position in the couplings' networks, for aligned images such as digits"""
    dense: Annotated[int, Range(0, 64)] = 0
    """for realnvp and glow: couplings after the last level whose networks see all positions at once"""
    dequantisation: Dequantisation = "uniform"
    """noise on the levels of 8-bit images: uniform, or variational, from a flow learned with the other"""
    logit: Fraction = 1e-3
    """alpha of the preprocessing logit(alpha / 2 + (1 - alpha) x), which makes the range unbounded; 0: none"""
    lr: LearningRate = 2e-3
    """learning rate of Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(images=600_000, batch=32, schedule="cosine", warmup=0.02, clip=1.0)

    def check_relations(self) -> None:
        if self.net == "nice" and (self.position_bias or self.dense):
            raise ValueError("--position-bias and --dense are for realnvp and glow, not for --net nice")

    def build(self, shape: tuple[int, ...], classes: int = 0) -> Flow:
        levels, steps, width = (
            own if given is None else given
            for given, own in zip((self.levels, self.steps, self.width), SIZES[self.net])
        )
        net = flow(self.net, shape, levels, steps, width, self.position_bias, self.dense)
        if len(shape) == 1:
            return Flow(net, shape, self)
        net = Chain([Logit(self.logit) if self.logit else Affine(shift=-0.5), net])
        return Flow(net, shape, self, VariationalNoise(shape) if self.dequantisation == "variational" else None)


class Flow(Method):
    """net: x (N, *shape), images in [0, 1] or points -> z (N, D), log_det (N,); invertible. Prior of z: N(0, I)."""

    config: FlowConfig

    def __init__(
        self,
        net: Layer,
        shape: tuple[int, ...],
        config: FlowConfig = FlowConfig(),
        noise: UniformNoise | VariationalNoise | None = None,
    ):
        super().__init__(config)
        self.net, self.shape, self.dimensions = net, shape, prod(shape)
        self.noise = noise or UniformNoise()
        self.images = len(shape) == 3

    def optimizers(self):
        return {"flow": adam(self, lr=self.config.lr)}

    def shaped(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """x itself, if it is (N, *shape)."""
        if tuple(x.shape[1:]) != shape:
            raise ValueError(f"this flow takes (N, {', '.join(map(str, shape))}) here, got {tuple(x.shape)}")
        return x

    def density(self, x: Tensor) -> Tensor:
        """x (N, *shape), real numbers -> their log-density (N,), in nats."""
        z, log_det = self.net(self.shaped(x, self.shape))
        return log_det - (z.square() + log(2 * pi)).sum(1) / 2

    def log_prob(self, x: Tensor) -> Tensor:
        """(N,), in nats: for 8-bit images in [0, 1] a lower bound of log P(x), with new noise at every call; for points
        log p(x)."""
        if not self.images:
            return self.density(x)
        u, log_q = self.noise(self.shaped(x, self.shape))
        return discrete(self.density(dequantise(x, u)), self.shape) - log_q

    def encode(self, x: Tensor) -> Tensor:
        """x (N, *shape) -> z (N, D); an 8-bit pixel is encoded as the middle of its noise."""
        self.shaped(x, self.shape)
        return self.net((255 * x + self.noise.middle(x)) / 256 if self.images else x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """z (N, D) -> x (N, *shape); images are 8-bit, in [0, 1]."""
        x = self.net.inverse(self.shaped(z, (self.dimensions,)))
        return (256 * x).floor().clamp(0, 255) / 255 if self.images else x

    @checked
    def sample(self, n: Count, temperature: Annotated[float, Range(0)] = 1.0) -> Tensor:
        """n images or points of z from N(0, temperature² I)."""
        return self.decode(temperature * self.latents(n))

    def latents(self, n: int) -> Tensor:
        """n draws of z from N(0, I), (n, D)."""
        return torch.randn(n, self.dimensions, device=self.device)

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> decode(encode(x)): x itself, up to rounding."""
        return self.decode(self.encode(x))

    def interpolate(self, a: Tensor, b: Tensor, steps: int) -> Tensor:
        """Linear interpolation in z from each image of a (N, *shape) to that of b -> (N steps, *shape)."""
        return self.decode(interpolate(self.encode(a), self.encode(b), steps))

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, _ = next(data)
        nats = -self.log_prob(x).mean()
        update("flow", nats / self.dimensions)
        return {"nats": nats, **({"bits_per_dim": nats / (self.dimensions * log(2))} if self.images else {})}

    def evaluate(self, data: Any) -> dict[str, float]:
        """nats: mean of -log_prob over `data`, per image or point; for images also bits_per_dim."""
        return likelihood(self.eval().log_prob, data)

    @torch.no_grad()
    def pictures(self, data: Images) -> Pictures:
        """samples at temperature 1 and 0.7, reconstructions, and interpolations between pairs of held-out images, one a
        row; with a single image there are none."""
        found = {**super().pictures(data), "samples-at-0.7": self.sample(64, 0.7)}
        x = data.subset(slice(0, 16)).x
        with if_defined("interpolations"):
            half = len(points(x.flatten(1), "pictures")) // 2
            found["interpolations"] = Picture(self.interpolate(x[:half], x[half : 2 * half], 8), 8)
        return found
