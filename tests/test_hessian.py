"""The Hessian's spectrum against matrices that are known."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from genlab.theory.hessian import hessian_product, lanczos, spectrum


def quadratic(eigenvalues):
    """w (two parameters), w' H w / 2 with these eigenvalues, and H."""
    n = len(eigenvalues)
    axes = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    h = axes @ torch.diag(eigenvalues) @ axes.T
    w = [torch.randn(n - 2, dtype=torch.float64, requires_grad=True), torch.ones(2, 1, dtype=torch.float64)]
    w[1].requires_grad_()
    flat = torch.cat([each.flatten() for each in w])
    return 0.5 * flat @ h @ flat, w, h


def test_a_quadratic_has_the_spectrum_of_its_matrix():
    eigenvalues = torch.tensor([-3.0, -0.5, 0.1, 0.2, 0.3, 0.4, 0.5, 7.0], dtype=torch.float64)
    loss, w, h = quadratic(eigenvalues)
    product, n = hessian_product(loss, w)
    v = torch.randn(n, dtype=torch.float64)
    torch.testing.assert_close(product(v), h @ v)
    values, weights = lanczos(product, v, 20)
    torch.testing.assert_close(values, eigenvalues)  # the whole space
    assert weights.sum() == pytest.approx(1)
    found = spectrum(loss, w, steps=8, probes=40)
    assert (found.largest, found.smallest) == pytest.approx((7, -3)) and found.size == 8
    assert abs(found.trace - eigenvalues.sum()) < 4 * found.trace_error < 8
    assert found.negative == pytest.approx(3.5 / 12, abs=0.1)


def test_few_steps_find_the_ends_of_a_large_spectrum():
    eigenvalues = torch.cat([torch.linspace(-1, 1, 198), torch.tensor([-8.0, 20.0])]).double()
    loss, w, _ = quadratic(eigenvalues)
    found = spectrum(loss, w, steps=12, probes=1)
    assert (found.largest, found.smallest) == pytest.approx((20, -8), rel=1e-4) and math.isnan(found.trace_error)


def test_a_network_has_the_spectrum_of_its_explicit_hessian():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 3, bias=False)), torch.randn(20, 3)
    y, weights = torch.arange(20) % 3, list(net.parameters())

    def loss(flat):
        return cross_entropy((x @ flat[:12].view(4, 3).T).tanh() @ flat[12:].view(3, 4).T, y)

    flat = torch.cat([p.detach().flatten() for p in weights])
    exact = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat).double())
    found = spectrum(cross_entropy(net(x), y), weights, steps=24, probes=2)
    assert found.largest == pytest.approx(exact[-1].item(), rel=1e-3)
    assert found.smallest == pytest.approx(exact[0].item(), rel=1e-2)
    assert found.smallest < 0  # a saddle
    assert all(p.grad is None for p in net.parameters())


def test_a_flat_loss_has_no_curvature_and_an_unrelated_one_is_refused():
    w = torch.ones(3, requires_grad=True)
    assert spectrum(w.sum(), [w], steps=3).eigenvalues.tolist() == [0.0] * 3
    with pytest.raises(ValueError, match="does not depend on one of the parameters"):
        spectrum(w.sum(), [w, torch.ones(2, requires_grad=True)])
    with pytest.raises(ValueError, match="at least 1 parameter"):
        spectrum(w.sum(), [])
