"""The variational auto-encoder: its KL term, its bounds where the likelihood is known, its decoder likelihoods."""

from math import log, pi

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence
from toys import images, make, stream

from genlab.data import Images
from genlab.latent.regularity import common_effect, largest_step
from genlab.latent.walks import interpolate, plane, quantiles, spherical, traverse
from genlab.likelihood.decoders import BernoulliLikelihood, GaussianLikelihood
from genlab.likelihood.gaussian import kl_to_standard_normal, reparameterise
from genlab.likelihood.iwae import importance_bound, streamed_bound
from genlab.likelihood.mixture import Mixture
from genlab.likelihood.units import bits_per_dim
from genlab.methods.likelihood.vae import VAE, VAEConfig
from genlab.metrics.sharpness import sharpness
from genlab.training.loop import fit
from genlab.training.method import TrainOptions
from genlab.training.update import Update


class White:
    """x ~ N(outputs, 0.5^2 I): with a linear decoder, the linear-Gaussian model."""

    channels = 1

    def mean(self, outputs):
        return outputs

    def log_prob(self, outputs, x):
        return Independent(Normal(outputs, 0.5), 1).log_prob(x)


def linear_gaussian():
    """A VAE with x = A z + b + noise, log p(x) in closed form, and an encoder that nearly gives the posterior."""
    torch.manual_seed(0)
    a, b, x = torch.randn(5, 2), torch.randn(5), torch.randn(7, 5)
    decoder = nn.Linear(2, 5)
    decoder.weight.data, decoder.bias.data = a, b
    truth = MultivariateNormal(b, a @ a.T + 0.25 * torch.eye(5)).log_prob(x)
    precision = torch.eye(2) + a.T @ a / 0.25
    gain = torch.linalg.solve(precision, a.T / 0.25)

    class Posterior(nn.Module):
        def forward(self, x):
            mean = (x - b) @ gain.T
            return torch.cat([mean, 0.4 - precision.diagonal().log().expand_as(mean)], 1)

    return VAE(Posterior(), decoder, White(), VAEConfig(latent=2)), x, truth


def test_the_kl_divergence_is_zero_only_at_the_prior():
    mean, log_var = torch.randn(50, 3), torch.randn(50, 3)
    expected = kl_divergence(Normal(mean, (log_var / 2).exp()), Normal(0, 1))
    kl = kl_to_standard_normal(mean, log_var)
    assert torch.allclose(kl, expected, atol=1e-5) and (kl > 0).all()
    assert kl_to_standard_normal(torch.zeros(1), torch.zeros(1)).item() == 0
    grid = torch.cartesian_prod(torch.linspace(-1, 1, 21), torch.linspace(-1, 1, 21))
    assert grid[kl_to_standard_normal(*grid.T).argmin()].abs().max() < 1e-6


def test_reparameterised_draws_have_mean_and_variance_and_gradients():
    mean, log_variance = torch.tensor([1.0, -2.0]), torch.tensor([0.0, 2.0])
    mean.requires_grad_(), log_variance.requires_grad_()
    z = reparameterise(mean.expand(100_000, 2), log_variance.expand(100_000, 2))
    assert torch.allclose(z.mean(0), mean, atol=0.05) and torch.allclose(z.var(0).log(), log_variance, atol=0.03)
    d_mean, d_log_variance = torch.autograd.grad(z.square().mean(0).sum(), (mean, log_variance))
    assert torch.allclose(d_mean, 2 * mean, atol=0.1) and torch.allclose(d_log_variance, log_variance.exp(), rtol=0.05)


def test_the_importance_bound_rises_with_k_to_the_closed_form():
    vae, x, truth = linear_gaussian()
    bounds = [torch.stack([vae.log_prob(x, k) for _ in range(200)]).mean() for k in (1, 4, 16)]
    assert bounds[0] < bounds[1] < bounds[2] < truth.mean() + 0.01
    assert torch.allclose(vae.log_prob(x, 100_000), truth, atol=0.02)
    negative_elbo = torch.stack([sum(vae.reconstruction_and_kl(x)) for _ in range(2000)]).mean()
    assert torch.allclose(-negative_elbo, bounds[0], atol=0.2)


def test_streaming_is_all_at_once():
    w = 100 * torch.randn(64, 5)
    for chunk in (1, 7, 64, 100):
        position = 0

        def draw(n):
            nonlocal position
            position += n
            return w[position - n : position]

        assert torch.allclose(streamed_bound(draw, 64, chunk), importance_bound(w)) and position == 64
    assert torch.allclose(importance_bound(torch.full((9, 2), 3.0)), torch.full((2,), 3.0))
    with pytest.raises(ValueError, match="k = 0"):
        streamed_bound(draw, 0, 1)


def test_free_bits_leave_a_dimension_alone_until_it_costs_more():
    mean, log_var = torch.tensor([[0.1, 2.0]], requires_grad=True), torch.zeros(1, 2)
    vae = VAE(nn.Identity(), nn.Identity(), White(), VAEConfig(latent=2, free_bits=0.5))
    vae.posterior = lambda x: (mean, log_var)
    vae.reconstruction = lambda x, mean, log_var: torch.zeros(1)
    losses = []
    vae.step(iter([(torch.zeros(1, 4), None)]), lambda name, loss: losses.append(loss))
    (gradient,) = torch.autograd.grad(losses[0], mean)
    assert losses[0].item() == pytest.approx(0.5 + 2.0) and gradient.tolist() == [[0.0, 2.0]]


def test_without_the_penalty_the_variance_vanishes():
    deviation = {}
    for beta in (0.0, 1.0):
        torch.manual_seed(0)
        vae = VAEConfig(net="mlp", latent=2, width=16, beta=beta, lr=1e-2).build((1, 8, 8), 3)
        update, data = Update(vae.optimizers()), stream(32)
        for _ in range(150):
            metrics = vae.step(data, update)
        deviation[beta] = metrics["posterior_std"].item()
    assert deviation[0.0] < 0.1 and deviation[0.0] < deviation[1.0] / 3, deviation


def test_pixels_are_distributions():
    outputs, x = torch.randn(4, 2, 3, 3), torch.randint(256, (4, 1, 3, 3)) / 255
    black = (x > 0.5).float()
    expected = torch.distributions.Bernoulli(logits=outputs[:, :1]).log_prob(black).sum((1, 2, 3))
    assert torch.allclose(BernoulliLikelihood().log_prob(outputs[:, :1], black), expected, atol=1e-5)
    fixed = GaussianLikelihood(0.3)
    torch.manual_seed(0)
    found = fixed.log_prob(outputs[:, :1], x)
    torch.manual_seed(0)
    noisy = ((255 * x).round() + torch.rand_like(x)) / 256
    expected = Normal(outputs[:, :1].sigmoid(), 0.3).log_prob(noisy).sum((1, 2, 3)) - 9 * log(256)
    assert torch.allclose(found, expected, atol=1e-3) and (fixed.channels, GaussianLikelihood().channels) == (1, 2)


def test_a_sigma_that_collapses_on_constant_pixels_gains_no_more_than_they_are_worth():
    """Constant pixels carry no information: the bound comes near 0 bits from above, whatever the decoder claims."""
    torch.manual_seed(0)
    x, mean = torch.zeros(500, 1, 4, 4), 0.5 / 256
    outputs = torch.cat([torch.full_like(x, mean).logit(), torch.full_like(x, -50.0)], 1)
    nats = -GaussianLikelihood().log_prob(outputs, x).mean()
    assert 0 < bits_per_dim(float(nats), (1, 4, 4)) < 0.6
    floor = 0.5 * log(2 * pi) + 0.5 - log(12) / 2  # a Gaussian as wide as the uniform noise
    assert nats / 16 > floor


def test_figures_improve_with_draws_and_gaussian_pixels_have_bits():
    vae = VAEConfig(net="mlp", latent=4, width=32, pixels="gaussian", evaluation_samples=16).build((1, 8, 8), 3)
    found = fit(vae, stream(32), TrainOptions(images=3200)).evaluate(images())
    assert found["negative_iwae16"] < found["negative_elbo"] == found["reconstruction"] + found["kl"]
    assert 0 < found["bits_per_dim"] == pytest.approx(found["negative_iwae16"] / 64 / log(2))
    assert found["bits_per_dim"] < 8.5
    assert "plane" not in vae.pictures(images()) and make("vae").pictures(images())["plane"].shape == (400, 1, 8, 8)


def test_walks_through_latents():
    around = plane(3)
    assert around[0].tolist() == [-3, 3] and around[4].tolist() == [0, 0] and around[8].tolist() == [3, -3]
    q = quantiles(10)
    inside = Normal(0, 1).cdf(q)
    assert inside.min() == pytest.approx(0.05) and inside.max() == pytest.approx(0.95)
    codes = traverse(torch.arange(10.0), (7, 2), around)
    assert codes[0, 7] == -3 and codes[0, 2] == 3
    assert (codes.var(0) > 0).nonzero().flatten().tolist() == [2, 7] and codes[5, 9] == 9
    a, b = torch.zeros(2, 3), torch.ones(2, 3)
    assert interpolate(a, b, 5)[:5, 0].tolist() == [0, 0.25, 0.5, 0.75, 1] and len(interpolate(a, b, 5)) == 10


def test_a_walk_on_great_circles_stays_as_far_out_as_its_ends():
    a, b = torch.randn(3, 4, 50), torch.randn(3, 4, 50)
    walk = spherical(a / a.flatten(1).norm(dim=1)[:, None, None], b / b.flatten(1).norm(dim=1)[:, None, None], 5)
    torch.testing.assert_close(walk.flatten(1).norm(dim=1), torch.ones(15))
    torch.testing.assert_close(spherical(a, b, 4)[[0, 3, 4]], torch.stack([a[0], b[0], a[1]]))


def test_a_mixture_of_gaussians_knows_its_likelihood_and_draws():
    torch.manual_seed(0)
    x = torch.cat([0.2 + 0.02 * torch.randn(300, 1, 2, 2), 0.8 + 0.02 * torch.randn(300, 1, 2, 2)])
    pixels = (x.clamp(0, 1) * 255).round().byte()
    data = Images(pixels, torch.zeros(600, dtype=torch.int64), ("all",), "two")
    one, two = (Mixture.fit(data, k, seed=0) for k in (1, 2))
    assert two.log_prob(data.x).mean() > one.log_prob(data.x).mean() + 2
    assert bits_per_dim(float(-two.log_prob(data.x).mean()), data.shape) < 8
    drawn = two.sample(400)
    assert drawn.shape == (400, 1, 2, 2) and 0 <= drawn.min() and drawn.max() <= 1
    assert (drawn.mean((1, 2, 3)) > 0.5).float().mean() == pytest.approx(0.5, abs=0.1)


def test_sharpness_falls_with_blur_and_does_not_see_where_things_are():
    x = (torch.rand(20, 1, 12, 12, generator=torch.Generator().manual_seed(0)) > 0.7).float()
    x[..., :2, :] = x[..., -2:, :] = x[..., :, :2] = x[..., :, -2:] = 0
    assert sharpness(x.roll(1, 3)) == pytest.approx(sharpness(x))
    assert sharpness((x + x.roll(1, 3)) / 2) < 0.6 * sharpness(x) and sharpness(0 * x + 0.3) == pytest.approx(
        0, abs=1e-9
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (dict(beta=-1.0), "beta must be at least 0 .*, got -1.0"),
        (dict(importance_samples=0), "importance_samples must be at least 1 .*, got 0"),
        (dict(importance_samples=5, beta=2.0), "5 importance samples need beta 1 .*, got beta=2.0"),
        (dict(sigma=0.1), "Bernoulli pixels have no sigma, got 0.1"),
        (dict(pixels="gaussian", sigma=-1.0), "sigma must be above 0 .*, got -1.0"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        VAEConfig(**options).build((1, 8, 8), 3)


def test_regular_latents_change_evenly_and_a_dimension_does_the_same_everywhere():
    torch.manual_seed(0)
    z, a, b = torch.randn(50, 3), *(torch.nn.functional.normalize(torch.randn(2, 50, 3), dim=2))
    share, sizes = common_effect(lambda z: 3 * z, z, reach=2.0)
    assert share == pytest.approx(1) and sizes.tolist() == pytest.approx([144] * 3)
    assert abs(common_effect(lambda z: z[:, :1] * z[:, 1:2] * z[:, 2:], z)[0]) < 0.1  # the sign is that of the others
    torch.testing.assert_close(largest_step(lambda z: z, a, b, 8), torch.ones(50))
    assert set(largest_step(lambda z: (z[:, :1] > 0).float(), a, b, 8).round().tolist()) <= {0.0, 4.0, 8.0}
    with pytest.raises(ValueError, match="two or more"):
        common_effect(lambda z: z, z[:1])


def test_bad_walks_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"got \(1, 1\) of \(4,\)"):
        traverse(torch.zeros(4), (1, 1), plane(2))
    with pytest.raises(ValueError, match=r"got \(1, 2\) and \(1, 3\)"):
        interpolate(torch.zeros(1, 2), torch.zeros(1, 3), 4)
    with pytest.raises(ValueError, match="got 0"):
        Mixture.fit(images(), 0)
