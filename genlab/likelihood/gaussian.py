"""The diagonal Gaussian N(mean, exp(log_variance)) that an encoder gives for the code of an image.

Kingma & Welling 2014, arXiv:1312.6114: the reparameterisation of section 2.4, the KL divergence of appendix B.
"""

from __future__ import annotations

import torch
from torch import Tensor


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) of every dimension, in nats; of the shape of `mean`, 0 or more."""
    return 0.5 * (log_variance.exp() - 1 - log_variance + mean.square())


def reparameterise(mean: Tensor, log_variance: Tensor) -> Tensor:
    """A draw from the Gaussian, through which gradients reach both parameters; of the shape of `mean`."""
    return mean + (log_variance / 2).exp() * torch.randn_like(mean)
