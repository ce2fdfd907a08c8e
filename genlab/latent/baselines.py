"""Linear baselines of auto-encoders: PCA, and non-negative matrix factorisation (Lee & Seung 1999, Nature 401:788).

Both encode an image by the weights of k components, with the interface of
`genlab.methods.representation.autoencoder.AutoEncoder`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.data import Images


class Components:
    """A fitted decomposition of scikit-learn: x (N, C, H, W) in [0, 1] <-> weights (N, k) of k components.

    Reconstructions are not clipped to [0, 1].
    """

    def __init__(self, model: Any, shape: tuple[int, int, int]):
        self.model, self.shape = model, shape

    def code(self, x: Tensor) -> Tensor:
        """x -> (N, k)."""
        if x.shape[1:] != self.shape:
            raise ValueError(f"these components are for images {self.shape}, got {tuple(x.shape[1:])}")
        return torch.from_numpy(self.model.transform(_rows(x))).to(x)

    def decode(self, z: Tensor) -> Tensor:
        """(N, k) -> images (N, *shape)."""
        x = self.model.inverse_transform(z.detach().double().cpu().numpy())
        return torch.from_numpy(x).to(z).unflatten(1, self.shape)

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> decode(code(x)), of the same shape."""
        return self.decode(self.code(x))

    def pictures(self) -> Tensor:
        """The components as images (k, *shape) in [0, 1], each normalised; for signed components, 0.5 is zero."""
        parts = torch.from_numpy(self.model.components_).float()
        parts = parts / parts.abs().amax(1, keepdim=True).clamp(min=1e-12)
        return (parts if parts.min() >= 0 else (parts + 1) / 2).unflatten(1, self.shape)


def pca(data: Images, k: int) -> Components:
    """Principal component analysis with k components: the optimal linear code of k numbers in squared error."""
    from sklearn.decomposition import PCA

    return Components(PCA(k, svd_solver="full").fit(_rows(_checked(data, k))), data.shape)


def nmf(data: Images, k: int, iterations: int = 200, seed: int = 0) -> Components:
    """Non-negative matrix factorisation with k components, by coordinate descent; weights are non-negative, too."""
    import warnings

    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    model = NMF(k, init="nndsvda", max_iter=iterations, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `iterations` is the intended length
        return Components(model.fit(_rows(_checked(data, k))), data.shape)


def _checked(data: Images, k: int) -> Tensor:
    if not 1 <= k <= (most := min(len(data), data.pixels[0].numel())):
        raise ValueError(f"{len(data)} images of {data.shape} have 1 to {most} components, not {k}")
    return data.x


def _rows(x: Tensor) -> Any:
    return x.detach().flatten(1).double().cpu().numpy()
