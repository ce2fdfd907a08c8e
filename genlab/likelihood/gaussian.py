"""The diagonal Gaussian posterior N(mean, exp(log_variance)) of an encoder.

Kingma & Welling 2014, arXiv:1312.6114: the reparameterisation of section 2.4, the KL divergence of appendix B.
"""

from __future__ import annotations

import torch
from torch import Tensor


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) per dimension, in nats, >= 0; of the shape of `mean`."""
    return 0.5 * (log_variance.exp() - 1 - log_variance + mean.square())


def reparameterise(mean: Tensor, log_variance: Tensor) -> Tensor:
    """A reparameterised sample of the Gaussian, differentiable in both parameters; of the shape of `mean`."""
    return mean + (log_variance / 2).exp() * torch.randn_like(mean)
