"""Variational dequantisation: it starts as uniform noise, knows its density, and never leaves the level of a pixel."""

from math import e, log, pi

import pytest
import torch
from torch.autograd.functional import jacobian

from genlab.likelihood.dequantisation import UniformNoise, VariationalNoise
from genlab.likelihood.units import dequantise
from genlab.methods.likelihood.flow import Flow, FlowConfig
from genlab.nets.flow import ActNorm, Affine, Chain
from genlab.nets.multiscale import Flatten


def stirred(shape, amount):
    """A noise away from its start, and an image of each of the 256 levels."""
    torch.manual_seed(0)
    noise = VariationalNoise(shape, width=8)
    for p in noise.parameters():
        p.data.add_(amount * torch.randn_like(p))
    return noise, (torch.arange(256) / 255)[:, None, None, None].expand(256, *shape)


def normal(z):
    return torch.distributions.Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1)


def test_untrained_it_is_uniform_and_the_bound_that_of_uniform_noise():
    noise, x = VariationalNoise((1, 4, 4)), torch.rand(50, 1, 4, 4)
    start = torch.randn_like(x)
    u, log_q = noise.transform(x, start)
    assert torch.allclose(u, torch.special.ndtr(start), atol=1e-4) and log_q.abs().max() < 1e-4
    assert torch.equal(noise.middle(x), UniformNoise().middle(x) * (1 - 2**-16))
    torch.manual_seed(0)
    plain = FlowConfig(steps=1, width=4).build((1, 4, 4)).eval()
    torch.manual_seed(0)
    learned = FlowConfig(steps=1, width=4, dequantisation="variational").build((1, 4, 4)).eval()
    x = x[:1].expand(4000, -1, -1, -1)
    assert learned.log_prob(x).mean().item() == pytest.approx(plain.log_prob(x).mean().item(), abs=0.5)


def test_its_density_is_that_of_the_jacobian_and_integrates_to_one():
    noise, x = stirred((1, 2, 2), 0.2)
    x, start = x[::64], torch.randn(4, 1, 2, 2)
    log_q = noise.transform(x, start)[1]
    for i in range(len(x)):
        j = jacobian(lambda z, i=i: noise.transform(x[i : i + 1], z.view(1, 1, 2, 2))[0].flatten(), start[i].flatten())
        assert log_q[i].item() == pytest.approx(
            (normal(start)[i] - torch.linalg.slogdet(j.double())[1]).item(), abs=1e-3
        )
    with torch.no_grad():
        u, log_q = noise(x[1:2].expand(40_000, -1, -1, -1))
    assert log_q.std() > 0.3 and abs(u.mean() - 0.5) > 0.01  # not uniform any more
    assert (-log_q).exp().mean().item() == pytest.approx(1, abs=0.03)  # E_q 1 / q is the volume of the cube


def test_noise_never_leaves_the_level_of_its_pixel():
    noise, x = stirred((3, 4, 6), 3.0)
    for u, log_q in (noise(x), UniformNoise()(x), (noise.middle(x), torch.zeros(()))):
        assert u.min() >= 0 and u.max() < 1 and torch.as_tensor(log_q).isfinite().all()
        assert torch.equal((256 * dequantise(x, u)).floor(), (255 * x).round())


def test_learned_noise_spares_a_gaussian_the_edges_of_the_levels():
    """Black pixels: uniform noise costs the best Gaussian log(2 pi e / 12) / 2 nats each, Gaussian noise nothing."""
    torch.manual_seed(0)
    x, costs = torch.zeros(64, 1, 2, 2), {}
    for noise in (UniformNoise(), VariationalNoise((1, 2, 2), width=8)):
        net = Chain([Affine(256.0, -0.5), Flatten((1, 2, 2)), ActNorm(4)])
        flow = Flow(net, (1, 2, 2), FlowConfig(), noise).train()
        adam = torch.optim.Adam(flow.parameters(), lr=0.05)
        for _ in range(50):
            loss = -flow.log_prob(x).mean() / 4
            adam.zero_grad()
            loss.backward()
            adam.step()
        costs[type(noise)] = -flow.eval().log_prob(x[:1].expand(4000, -1, -1, -1)).mean().item() / 4
    assert costs[UniformNoise] == pytest.approx(log(2 * pi * e / 12) / 2, abs=0.02)
    assert -0.02 < costs[VariationalNoise] < 0.05


def test_odd_sides_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match="variational dequantisation takes images of even sides, got 9x8"):
        FlowConfig("nice", dequantisation="variational").build((1, 9, 8))
