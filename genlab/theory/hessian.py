"""The Hessian of a loss in the weights of a network, by products with vectors: its ends, trace and density.

Products by differentiating twice (Pearlmutter 1994); extreme eigenvalues and the spectral density by Lanczos iteration
(stochastic Lanczos quadrature: Ghorbani, Krishnan, Xiao 2019, arXiv:1901.10159, Algorithm 1, with full
reorthogonalisation); the trace by Hutchinson's estimator. At a critical point a negative eigenvalue tells a saddle from
a minimum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from genlab.core.ranges import Count, Seed, Steps, checked

Product = Callable[[Tensor], Tensor]  # v (n,) -> H v (n,)


@dataclass(frozen=True)
class Spectrum:
    """Of a symmetric matrix of `size` rows.

    eigenvalues: estimates of eigenvalues, ascending, float64; those at both ends are the most exact. weights: the share
    of the matrix's eigenvalues around each of them; they add up to 1. trace: its estimate, with the standard error
    `trace_error`, NaN for a single probe.
    """

    eigenvalues: Tensor
    weights: Tensor
    trace: float
    trace_error: float
    size: int

    @property
    def largest(self) -> float:
        return self.eigenvalues[-1].item()

    @property
    def smallest(self) -> float:
        """Negative: there is a direction in which the loss bends down."""
        return self.eigenvalues[0].item()

    @property
    def negative(self) -> float:
        """The share of the eigenvalues below 0 in the sum of their absolute values; 0 if all are 0."""
        sizes = self.weights * self.eigenvalues.abs()
        return (sizes[self.eigenvalues < 0].sum() / sizes.sum().clamp_min(1e-30)).item()


def hessian_product(loss: Tensor, parameters: Iterable[Tensor]) -> tuple[Product, int]:
    """v (n,) -> H v of the scalar `loss`, whose graph is kept, in its n `parameters`; and n.

    Raises:
        ValueError: the loss does not depend on one of the parameters.
    """
    params = list(parameters)
    if not params:
        raise ValueError("a Hessian needs at least 1 parameter, got none")
    gradients = torch.autograd.grad(loss, params, create_graph=True, allow_unused=True)
    if any(gradient is None for gradient in gradients):
        raise ValueError("the loss does not depend on one of the parameters")
    flat = torch.cat([gradient.flatten() for gradient in gradients])

    def product(v: Tensor) -> Tensor:
        if not flat.requires_grad:  # of a linear loss
            return torch.zeros_like(v)
        parts = torch.autograd.grad(flat, params, v, retain_graph=True, allow_unused=True)
        return torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(params, parts)])

    return product, len(flat)


def lanczos(product: Product, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Ritz values and weights, float64 (k,) each with k <= steps, ascending: of the symmetric matrix `product` in the
    Krylov space of the vector `start` (n,); fewer than `steps` if the space is exhausted."""
    basis = [start / start.norm()]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for _ in range(min(steps, len(start))):
        w = product(basis[-1])
        diagonal.append(w @ basis[-1])
        known = torch.stack(basis)
        for _ in range(2):  # once is not enough in floating point
            w = w - known.T @ (known @ w)
        length = w.norm()
        if length <= 1e-5 * max(1e-30, float(torch.stack(diagonal).abs().max())):
            break
        beside.append(length)
        basis.append(w / length)
    a, b = torch.stack(diagonal).double(), torch.tensor([float(x) for x in beside], dtype=torch.float64)
    b = b[: len(a) - 1].to(a)
    values, vectors = torch.linalg.eigh(torch.diag(a) + torch.diag(b, 1) + torch.diag(b, -1))
    return values, vectors[0].square()


@checked
def spectrum(
    loss: Tensor, parameters: Iterable[Tensor], steps: Steps = 30, probes: Count = 3, seed: Seed = 0
) -> Spectrum:
    """The spectrum of the Hessian of `loss` (a scalar with its graph) in `parameters`.

    steps: of Lanczos iteration. probes: random vectors with entries ±1, from each of which the iteration starts; they
    estimate the trace, too.

    Raises:
        ValueError: the loss does not depend on one of the parameters.
    """
    parameters = list(parameters)
    product, size = hessian_product(loss, parameters)
    generator = torch.Generator().manual_seed(seed)
    values, weights, traces = [], [], []
    for _ in range(probes):
        v = torch.randint(0, 2, (size,), generator=generator).mul(2).sub(1).to(parameters[0])
        traces.append(float(v @ product(v)))
        found, shares = lanczos(product, v, steps)
        values.append(found)
        weights.append(shares / probes)
    order = (joined := torch.cat(values)).argsort()
    trace = torch.tensor(traces, dtype=torch.float64)
    error = trace.std().item() / probes**0.5 if probes > 1 else float("nan")
    return Spectrum(joined[order].cpu(), torch.cat(weights)[order].cpu(), trace.mean().item(), error, size)
