"""One-class models of images as detection scores, x (N, C, H, W) -> (N,), higher for outliers; no labels are needed.

OneClassSVM      Schölkopf et al. 2001, Neural Computation 13: minus the decision function, with an RBF kernel
IsolationForest  Liu, Ting, Zhou 2008, ICDM: how few random splits isolate an image

scikit-learn fits both, to the images' pixels. The SVM is computed by torch and has gradients for adaptive attacks; the
forest is constant between its splits and has none.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from genlab.core.ranges import Fraction, Positive, Repeats, Seed, checked


class OneClassSVM(nn.Module):
    """rho - sum_i weight_i exp(-gamma |x - support_i|^2), above 0 outside the estimated support. Created by `fit`."""

    support: Tensor
    weight: Tensor

    def __init__(self, support: Tensor, weight: Tensor, rho: float, gamma: float) -> None:
        super().__init__()
        self.rho, self.gamma = rho, gamma
        self.register_buffer("support", support)  # (S, D)
        self.register_buffer("weight", weight)  # (S,)

    @classmethod
    @checked
    def fit(cls, x: Tensor, nu: Fraction = 0.05, scale: Positive = 1.0) -> Self:
        """From normal images x (N, C, H, W); nu: the share of them that may be outside; gamma = scale / (D var(x)),
        with D values per image.

        Raises:
            ValueError: nu is out of range, or there are no images, or they do not vary."""
        from sklearn.svm import OneClassSVM as Fitted  # slow import, only needed here

        if len(x) == 0 or x.var(correction=0) == 0:
            raise ValueError(f"a one-class SVM needs images that vary, got {len(x)}.")
        gamma = scale / (x[0].numel() * x.double().var(correction=0).item())
        found = Fitted(nu=nu, gamma=gamma).fit(x.flatten(1).double().cpu().numpy())
        support, weight = (torch.from_numpy(values).to(x) for values in (found.support_vectors_, found.dual_coef_[0]))
        return cls(support, weight, -found.intercept_[0].item(), gamma)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        square = flat.square().sum(1, keepdim=True) - 2 * flat @ self.support.T + self.support.square().sum(1)
        return self.rho - (-self.gamma * square).exp() @ self.weight


class IsolationForest(nn.Module):
    """Anomaly score in (0, 1): 2^(-mean depth / depth expected by chance). Created by `fit`; has no gradient."""

    def __init__(self, forest: Any) -> None:
        super().__init__()
        self.forest = forest  # sklearn.ensemble.IsolationForest, fitted

    @classmethod
    @checked
    def fit(cls, x: Tensor, trees: Repeats = 100, seed: Seed = 0) -> Self:
        """From normal images x (N, C, H, W).

        Raises:
            ValueError: there are no images, or an argument is out of range."""
        from sklearn.ensemble import IsolationForest as Fitted

        if len(x) == 0:
            raise ValueError("an isolation forest needs images, got 0.")
        return cls(Fitted(n_estimators=trees, random_state=seed).fit(x.flatten(1).cpu().numpy()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(-self.forest.score_samples(x.detach().flatten(1).cpu().numpy())).to(x)
