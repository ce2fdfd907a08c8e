"""Gaussian mixture model of images, p(x) = sum_m P(m) N(x; mu_m, Sigma_m), fitted by EM (scikit-learn).

A baseline of the VAE, which is an infinite mixture of Gaussians.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from genlab.core.ranges import Count, checked
from genlab.data import Images
from genlab.likelihood.units import dequantise, discrete


@dataclass(frozen=True)
class Mixture:
    """em: scikit-learn's GaussianMixture of flattened dequantised images of `shape` (C, H, W)."""

    em: Any
    shape: tuple[int, int, int]

    @classmethod
    def fit(
        cls,
        data: Images,
        components: int,
        covariance: Literal["full", "diag", "spherical"] = "full",
        seed: int = 0,
        floor: float = 1e-4,
    ) -> Mixture:
        """Fits `components` Gaussians; floor: added to the variances, for stability."""
        from sklearn.mixture import GaussianMixture

        if not 1 <= components <= len(data):
            raise ValueError(f"a mixture has from 1 to {len(data)} components, one per image, got {components}")
        em = GaussianMixture(components, covariance_type=covariance, reg_covar=floor, random_state=seed)
        return cls(em.fit(_flat(data.x)), data.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> a lower bound of log P(8-bit x) (N,), in nats."""
        return discrete(torch.from_numpy(self.em.score_samples(_flat(x))).to(x), self.shape)

    @checked
    def sample(self, n: Count) -> Tensor:
        """n images (n, C, H, W), clipped to [0, 1]; seeded by torch's global generator."""
        g = np.random.default_rng(int(torch.randint(2**31, ())))
        components = g.choice(len(self.em.weights_), n, p=self.em.weights_)
        noise = g.standard_normal((n, self.em.means_.shape[1]))
        x = self.em.means_[components] + np.stack([self._shaped(m, e) for m, e in zip(components, noise)])
        return torch.from_numpy(x).float().clamp(0, 1).view(n, *self.shape)

    def means(self) -> Tensor:
        """The means as images (components, C, H, W)."""
        return torch.from_numpy(self.em.means_).float().clamp(0, 1).view(-1, *self.shape)

    def _shaped(self, m: int, noise: np.ndarray) -> np.ndarray:
        """White noise -> noise of component m; precisions_cholesky_ is P with P P^T = Sigma^-1."""
        p = self.em.precisions_cholesky_[m]
        return np.linalg.solve(p.T, noise) if p.ndim == 2 else noise / p


def _flat(x: Tensor) -> np.ndarray:
    return dequantise(x.float()).flatten(1).double().cpu().numpy()
