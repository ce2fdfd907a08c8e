"""Flow matching; Lipman et al. 2023, arXiv:2210.02747, as rectified flow, Liu et al. 2023, arXiv:2209.03003: straight
lines from noise to images, x_t = (1 - t) noise + t image, and a network that learns their mean velocity.

Minibatch optimal transport: Tong et al. 2024, arXiv:2302.00482, section 3.2.4: every image of a batch gets the noise
that makes the sum of squared distances least. It waits for the device at every step. Departure: times may be drawn from
a logit-normal distribution (Esser et al. 2024, arXiv:2403.03206, section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from genlab.data import Images
from genlab.methods.diffusion import samplers
from genlab.methods.diffusion.denoising import Denoising, DenoisingConfig
from genlab.methods.diffusion.diffusion import expand
from genlab.training.method import TrainOptions

STRAIGHTNESS_SAMPLES = 64


@dataclass(frozen=True)
class FlowMatchingConfig(DenoisingConfig):
    """Flow matching (rectified flow): the mean velocity of straight lines from noise to images, sampled as an ODE."""

    solver: samplers.Solver = "midpoint"
    """solver of the ODE: euler (one pass per step), heun or midpoint (two)"""
    coupling: Literal["independent", "optimal-transport"] = "independent"
    """noise of an image in training: any, or that of the optimal transport within a batch"""
    times: Literal["uniform", "logit-normal"] = "uniform"
    """distribution of the time in training; logit-normal: more in the middle"""

    training: ClassVar[TrainOptions] = TrainOptions(
        images=150_000, batch=32, half_life=10_000, schedule="cosine", warmup=0.02
    )

    def build(self, shape: tuple[int, int, int], classes: int) -> FlowMatching:
        return FlowMatching(self.make_net(shape, classes), shape, self, classes if self.conditional else 0)


def optimal_transport(noise: Tensor, x: Tensor) -> Tensor:
    """`noise` (N, ...) in the order in which its squared distances to x (N, ...) have the least sum."""
    cost = torch.cdist(x.flatten(1), noise.flatten(1)).square()
    _, order = linear_sum_assignment(cost.cpu().numpy())
    return noise[torch.from_numpy(order).to(noise.device)]


class FlowMatching(Denoising):
    """net: (x_t (N, C, H, W), t (N,) in [0, 1], labels or None) -> the velocity, (N, C, H, W)."""

    config: FlowMatchingConfig

    def velocity(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """E[image - noise given x_t = x], for t (N,) in [0, 1]."""
        return self.net(x, t, labels).float()

    def denoise(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """x = image + sigma noise is x_t / t at t = 1 / (1 + sigma), whose image is on average x_t + (1 - t) v."""
        t = 1 / (1 + sigma)
        x_t = expand(t) * x
        return x_t + expand(1 - t) * self.velocity(x_t, t, labels)

    def loss(self, x: Tensor, labels: Tensor | None, progress: float) -> Tensor:
        uniform = self.config.times == "uniform"
        t = torch.rand(len(x), device=x.device) if uniform else torch.randn(len(x), device=x.device).sigmoid()
        noise = torch.randn_like(x)
        if self.config.coupling == "optimal-transport":
            noise = optimal_transport(noise, x)
        velocity = self.velocity(torch.lerp(noise, x, expand(t)), t, labels)
        return (velocity - (x - noise)).square().flatten(1).mean(1)

    def path(self, z: Tensor, labels: Tensor | None, steps: int, guidance: float | None) -> Iterator[Tensor]:
        slope = self.guided(self.velocity, labels, guidance)
        for i, end in pairwise(range(steps + 1)):
            z = samplers.ode_step(slope, z, i / steps, end / steps, self.config.solver)
            yield z

    @torch.no_grad()
    def straightness(self, n: int, steps: int = 20) -> float:
        """The mean of |(x_1 - x_0) - v(x_t, t)|² per pixel over the ways of n samples (S of rectified flow, section
        3.1); 0: straight lines, for which one step of Euler's method is exact."""
        z = self.latents(n)
        labels = self.condition(n, None)
        *way, end = [z, *self.path(z, labels, steps, None)]
        slope = self.guided(self.velocity, labels, None)
        bends = [(end - z - slope(x, i / steps)).square().mean() for i, x in enumerate(way)]
        return float(torch.stack(bends).mean())

    def evaluate(self, data: Images) -> dict[str, float]:
        """Besides those of all denoisers: straightness, of 64 samples."""
        return {**super().evaluate(data), "straightness": self.straightness(STRAIGHTNESS_SAMPLES)}
