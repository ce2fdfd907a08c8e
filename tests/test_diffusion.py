"""Diffusion, flow matching and their samplers, where the answer is known in closed form."""

import math
from functools import partial

import pytest
import torch
from toys import SHAPE, images, make

from genlab.data import Images, Stream
from genlab.methods.diffusion import samplers
from genlab.methods.diffusion.consistency import ConsistencyConfig, lower_level
from genlab.methods.diffusion.diffusion import DiffusionConfig, Preconditioning, expand, log_sigma_for
from genlab.methods.diffusion.flow_matching import FlowMatchingConfig, optimal_transport
from genlab.methods.diffusion.samplers import log_density, noise_levels
from genlab.nets.diffusion_unet import DiffusionUNet
from genlab.nets.dit import DiT, image, patches, positions
from genlab.training.loop import fit
from genlab.training.method import TrainOptions

LEVELS = noise_levels(40, 0.002, 80.0)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Gaussian:
    """Images N(mean, covariance), whose denoiser is known: mean + C (C + sigma² I)^-1 (x - mean)."""

    def __init__(self, d=3):
        factor = torch.randn(d, d, dtype=torch.float64) / 2
        self.mean, self.covariance = torch.randn(d, dtype=torch.float64), factor @ factor.mT + 0.1 * torch.eye(d)

    def denoise(self, x, sigma):
        noisy = self.covariance + sigma**2 * torch.eye(len(self.mean))
        return self.mean + (x - self.mean) @ torch.linalg.solve(noisy, self.covariance)

    def log_prob(self, x):
        return torch.distributions.MultivariateNormal(self.mean, self.covariance).log_prob(x)

    def start(self, n):
        return LEVELS[0] * torch.randn(n, len(self.mean), dtype=torch.float64)


@pytest.fixture
def gaussian():
    return Gaussian()


def test_the_network_of_edm_has_inputs_and_targets_of_unit_variance():
    factors = Preconditioning(0.5)
    sigma = torch.logspace(-3, 2, 30, dtype=torch.float64)
    skip, out, inside = factors.factors(sigma)
    signal, noise = 0.5**2, sigma**2
    torch.testing.assert_close(inside**2 * (signal + noise), torch.ones_like(sigma))  # of inside * x
    # the target of F is (y - skip (y + n)) / out
    torch.testing.assert_close(((1 - skip) ** 2 * signal + skip**2 * noise) / out**2, torch.ones_like(sigma))
    torch.testing.assert_close(factors.weight(sigma) * out**2, torch.ones_like(sigma))


def test_noise_levels_fall_from_the_highest_to_0():
    assert noise_levels(1, 0.1, 5.0) == [pytest.approx(5.0), 0.0]
    levels = noise_levels(5, 0.002, 80.0)
    assert levels == sorted(levels, reverse=True) and levels[-1] == 0
    assert levels[0] == pytest.approx(80) and levels[-2] == pytest.approx(0.002)


@pytest.mark.parametrize("name, churn", [("heun", 0.0), ("midpoint", 0.0), ("ddim", 0.0), ("ddpm", 0.0), ("heun", 8.0)])
def test_every_sampler_reaches_the_mean_and_covariance_of_a_gaussian(name, churn, gaussian):
    levels = LEVELS if name in ("heun", "midpoint") else noise_levels(300, 0.002, 80.0)
    *_, x = samplers.steps(name, gaussian.denoise, gaussian.start(10_000), levels, churn)
    torch.testing.assert_close(x.mean(0), gaussian.mean, atol=0.04, rtol=0)
    torch.testing.assert_close(x.T.cov(), gaussian.covariance, atol=0.05, rtol=0.05)


def test_heun_is_of_second_order_and_euler_of_first(gaussian):
    z = gaussian.start(100)
    last = lambda name, n: [*samplers.steps(name, gaussian.denoise, z, noise_levels(n, 0.002, 80.0))][-1]
    exact = last("heun", 1000)
    for name, order in (("ddim", 1), ("heun", 2), ("midpoint", 2)):
        coarse, fine = ((last(name, n) - exact).abs().mean() for n in (40, 80))
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.35) or order == 2 < math.log2(coarse / fine), name


def test_ddim_is_eulers_step_in_its_own_variables(gaussian):
    """Eq. 12 of arXiv:2010.02502 with eta = 0, from alpha_bar and the predicted noise."""
    now, end = 1.3, 0.4
    a, b = (1 / (1 + sigma**2) for sigma in (now, end))  # alpha_bar
    x = torch.randn(5, 3, dtype=torch.float64)
    noise = (x / math.sqrt(a) - gaussian.denoise(x / math.sqrt(a), now)) / now
    predicted = (x - math.sqrt(1 - a) * noise) / math.sqrt(a)
    ddim = math.sqrt(b) * predicted + math.sqrt(1 - b) * noise
    (euler,) = samplers.deterministic(gaussian.denoise, x / math.sqrt(a), [now, end], "euler")
    torch.testing.assert_close(ddim / math.sqrt(b), euler)


def test_a_step_of_ddpm_has_the_posteriors_mean_and_variance():
    """Eq. 7 of arXiv:2006.11239 from alpha_bar."""
    now, end, x, image = 1.3, 0.4, 2.0, -0.5
    a, b = (1 / (1 + sigma**2) for sigma in (now, end))
    alpha = a / b
    mean = math.sqrt(b) * (1 - alpha) / (1 - a) * image + math.sqrt(alpha) * (1 - b) / (1 - a) * math.sqrt(a) * x
    variance = (1 - b) / (1 - a) * (1 - alpha)
    drawn = samplers.posterior(torch.full((100_000, 1), x), torch.full((100_000, 1), image), now, end)
    assert math.sqrt(b) * drawn.mean().item() == pytest.approx(mean, abs=0.005)
    assert b * drawn.var().item() == pytest.approx(variance, rel=0.02)


def test_the_likelihood_of_a_gaussian_is_exact_to_1_percent(gaussian):
    x = gaussian.mean + torch.randn(400, 3, dtype=torch.float64) @ torch.linalg.cholesky(gaussian.covariance).mT
    spread = lambda probes: log_density(gaussian.denoise, x, 0.002, 80.0, 30, probes) - gaussian.log_prob(x)
    one, many = spread(1), spread(16)
    assert many.std() < 0.4 * one.std() and abs(many.mean()) < 0.1  # unbiased, but for the solver
    gaussian.covariance = gaussian.covariance.diag().diag()  # of which random signs know the trace exactly
    found = log_density(gaussian.denoise, x, 0.002, 80.0, steps=80)
    torch.testing.assert_close(found, gaussian.log_prob(x), rtol=0.01, atol=0.02)


def test_there_and_back_along_the_ode_is_the_identity(gaussian):
    x = gaussian.mean + torch.randn(10, 3, dtype=torch.float64)
    levels = noise_levels(300, 0.002, 80.0)
    *_, back = samplers.deterministic(gaussian.denoise, samplers.inverse(gaussian.denoise, x, levels), levels)
    torch.testing.assert_close(back, x, atol=2e-3, rtol=0)


def test_a_completion_follows_the_conditional_distribution():
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
    noisy = lambda sigma: covariance + sigma**2 * torch.eye(2)
    denoise = lambda x, sigma: x @ torch.linalg.solve(noisy(sigma), covariance)
    image = torch.tensor([[1.5, 0.0]], dtype=torch.float64).repeat(2000, 1)
    found = samplers.complete(denoise, image, torch.tensor([True, False]), noise_levels(30, 0.01, 20.0), repeats=8)
    assert (found[:, 0] == 1.5).all()
    assert found[:, 1].mean().item() == pytest.approx(0.8 * 1.5, abs=0.1)
    assert found[:, 1].var().item() == pytest.approx(1 - 0.8**2, abs=0.08)


def test_the_velocity_of_flow_matching_is_a_denoiser(gaussian):
    """The exact velocity of a Gaussian gives its denoiser at every noise level."""
    method = make("flow-matching")
    d, mean, c = 64, torch.full((64,), 0.2), 0.3

    def velocity(x, t, labels=None):
        t = t[:, None]
        total = t**2 * c + (1 - t) ** 2
        centred = x.flatten(1) - t * mean
        return ((mean + t * c / total * centred) - (1 - t) / total * centred).view(x.shape)

    method.velocity = velocity
    x, sigma = torch.randn(5, *SHAPE), torch.tensor([0.01, 0.1, 1.0, 5.0, 40.0])
    expected = mean + c / (c + sigma[:, None] ** 2) * (x.reshape(5, d) - mean)
    torch.testing.assert_close(method.denoise(x, sigma).flatten(1), expected, atol=1e-4, rtol=1e-4)


def test_optimal_transport_shortens_the_ways_and_keeps_the_noise():
    x, noise = torch.rand(64, *SHAPE), torch.randn(64, *SHAPE)
    paired = optimal_transport(noise, x)
    assert (paired - x).square().sum() < 0.98 * (noise - x).square().sum()
    assert torch.equal(paired.flatten(1).sort(0).values, noise.flatten(1).sort(0).values)
    order = torch.randperm(64)
    assert torch.equal(optimal_transport(x[order], x), x)


def test_straight_lines_have_straightness_0():
    method = make("flow-matching")
    target = torch.randn(1, *SHAPE)
    method.velocity = lambda x, t, labels=None: (target - x) / (1 - expand(t))  # every line ends at one image
    assert method.straightness(4) < 1e-6
    method.velocity = lambda x, t, labels=None: x * expand(t)
    assert method.straightness(4) > 1e-3


def test_guidance_1_is_the_conditional_model_0_the_one_without_classes_and_2_beyond():
    method = make("diffusion conditional").eval()
    for p in method.net.parameters():  # what starts at 0 says nothing
        torch.nn.init.normal_(p, std=0.2)
    x, labels, sigma = torch.randn(3, *SHAPE), torch.tensor([0, 1, 2]), torch.full((3,), 0.7)
    given = method.denoise(x, sigma, labels)
    without = method.denoise(x, sigma)
    close = lambda weight, expected: torch.testing.assert_close(method.denoiser(labels, weight)(x, 0.7), expected)
    with torch.no_grad():
        close(1.0, given), close(0.0, without), close(2.0, given + (given - without))
    assert not torch.allclose(given, without)


def test_a_conditional_model_draws_the_class_that_is_asked_for():
    method = DiffusionConfig(width=4, conditional=True, lr=1e-2, steps=6).build(SHAPE, 3)
    method = fit(method, Stream(images(), 32), TrainOptions(images=4_000, half_life=500))
    brightness = method.sample(30, labels=[0] * 10 + [1] * 10 + [2] * 10).mean((1, 2, 3)).view(3, 10).mean(1)
    torch.testing.assert_close(brightness, torch.tensor([0.15, 0.45, 0.75]), atol=0.08, rtol=0)


def test_what_is_known_is_kept_and_strength_0_changes_nothing():
    for name in ("diffusion", "flow-matching"):
        method, x = make(name).eval(), images(4).x
        known = torch.rand(4, 1, *SHAPE[1:]) < 0.5
        completed = method.complete(x, known)
        assert torch.equal(completed[known], x[known]) and not torch.equal(completed, x)
        torch.testing.assert_close(method.vary(x, 0.0), x)
        assert not torch.allclose(method.vary(x, 1.0), x)
        assert method.encode(x).shape == x.shape
        assert len(method.frames(method.latents(2), steps=5)) == 6


def test_the_lower_level_approaches_the_level_from_0():
    t = torch.tensor([0.01, 0.5, 20.0])
    assert (lower_level(t, 1)[:2] == 0).all()
    gaps = [t - lower_level(t, stage) for stage in (6, 7)]
    torch.testing.assert_close(gaps[0], 2 * gaps[1])
    assert (lower_level(t, 20) < t).all()
    method = ConsistencyConfig(pretraining=0.5, stages=4).build(SHAPE, 0)
    assert [method.stage(p) for p in (0.0, 0.49, 0.5, 0.62, 0.63, 0.99, 1.0)] == [0, 0, 1, 1, 2, 4, 4]


def test_the_exact_consistency_function_samples_in_one_step_or_more():
    """Of images N(0, c), the ODE scales noise: f(x, t) = x sqrt(c / (c + t²))."""
    method, c = make("consistency").eval(), 0.3
    method.denoise = lambda x, t, labels=None: x * expand((c / (c + t**2)).sqrt())
    x = math.sqrt(c) * torch.randn(4000, *SHAPE)
    for n in (1, 2, 3):
        *_, found = method.path(method.latents(4000), None, n, None)
        assert found.var().item() == pytest.approx(c, rel=0.02), n
    with pytest.raises(ValueError, match="has no likelihood"):
        method.log_prob(x[:2])


def test_the_loss_of_consistency_is_the_distance_per_difference_of_levels():
    method, x = make("consistency"), torch.randn(500, *SHAPE)
    method.denoise = lambda y, t, labels=None: y  # outputs differ by (t - r) noise
    assert method.distance(x, None, 1).mean().item() == pytest.approx(1, abs=0.05)
    assert 0.6 < method.distance(x, None, 8).mean().item() < 1.05  # pseudo-Huber: less for small differences
    method.denoise = lambda y, t, labels=None: x  # the images themselves, at every level
    assert (method.distance(x, None, 1).abs() < 1e-4).all()


def test_steps_and_guidance_of_a_sample_are_those_that_are_given():
    method = make("diffusion conditional").eval()
    z = method.latents(2)
    assert torch.equal(method.decode(z, steps=3, guidance=2.0), method.decode(z).clone()) or method.config.churn
    with pytest.raises(ValueError, match="steps must be at least 1 .*got 0"):
        method.sample(1, steps=0)
    with pytest.raises(ValueError, match="guidance must be at least 0 .*got -1"):
        method.sample(1, guidance=-1.0)


def test_noise_on_the_mean_of_a_square_is_that_of_a_pixel_of_the_small_image():
    """So that the middle level of training hides as much of a larger image."""
    square = math.exp(log_sigma_for(32)) * torch.randn(20_000, 4, 4)
    assert square.mean((1, 2)).std().item() == pytest.approx(math.exp(log_sigma_for(8)), rel=0.02)


@pytest.mark.parametrize("given, expected", [(None, log_sigma_for(16)), (3.0, 3.0)])
def test_the_noise_of_training_follows_the_option_or_the_side(given, expected):
    method, seen = DiffusionConfig(log_sigma=given, log_sigma_spread=1e-9).build((1, 16, 16), 0), []
    method.denoise = lambda x, sigma, labels=None: seen.append(sigma) or x
    method.loss(torch.rand(4, 1, 16, 16), None, 0.0)
    torch.testing.assert_close(seen[0].log(), torch.full((4,), expected))


@pytest.mark.parametrize(
    "bad, words",
    [
        (lambda: DiffusionConfig(guidance=3.0), "guidance 3 needs a conditional model"),
        (lambda: make("diffusion").sample(1, guidance=3.0), "guidance 3 needs a model trained with --conditional"),
        (lambda: make("diffusion").sample(1, labels=[0]), "trained without labels"),
        (lambda: DiffusionConfig(steps=0), "steps must be at least 1"),
        (lambda: DiffusionConfig(conditional=True).build(SHAPE, 1), "needs at least 2 classes"),
        (lambda: DiffusionConfig(halvings=3).build((1, 28, 28), 0), "halves its sides 3 times.*28x28 positions do not"),
        (lambda: FlowMatchingConfig().build((1, 9, 9), 0), "halves its sides, of at least 8 positions.*9x9"),
        (lambda: DiffusionConfig(net="dit", patch=3).build((1, 8, 8), 0), "patches of 3x3 pixels does not fit 8x8"),
        (lambda: DiffusionConfig(net="dit", width=6).build((1, 8, 8), 0), "must be a multiple of 4, got 6"),
        (lambda: DiffusionConfig(net="dit", halvings=1), "halvings is an option of net=unet, not of net=dit"),
        (lambda: DiffusionConfig(patch=3).build((1, 28, 28), 0), "U-Net of patches of 3x3 pixels does not fit 28x28"),
        (lambda: DiffusionConfig(patch=2).build((1, 8, 8), 0), "of at least 8 positions, and 4x4 positions do not"),
        (lambda: DiffusionConfig().build((3, 4, 4), 0), "4x4 positions do not allow it"),
        (lambda: make("diffusion").complete(images(1).x, torch.ones(1, 8, 8)), "known must be bool"),
        (lambda: make("diffusion").vary(images(1).x, 2.0), "strength must be at least 0 and at most 1, got 2.0"),
    ],
)
def test_bad_input_gets_one_sentence(bad, words):
    with pytest.raises(ValueError, match=words):
        bad()


@pytest.mark.parametrize("net", [DiffusionUNet, partial(DiffusionUNet, patch=2), DiT])
def test_the_network_starts_at_0_and_knows_level_and_class(net):
    net = net((3, 16, 16), 8, classes=2)
    x, level, labels = torch.randn(2, 3, 16, 16), torch.tensor([0.1, 0.9]), torch.tensor([0, 1])
    assert (net(x, level, labels) == 0).all()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.2)
    out = net(x, level, labels)
    assert out.shape == x.shape
    assert not torch.allclose(out, net(x, level.flip(0), labels)) and not torch.allclose(out, net(x, level, 1 - labels))
    torch.testing.assert_close(net(x, level), net(x, level, torch.tensor([2, 2])))


def test_the_transformers_patches_are_put_back_where_they_were():
    x = torch.randn(2, 3, 6, 8)
    tokens = patches(x, 2)
    assert tokens.shape == (2, 12, 12)
    assert torch.equal(tokens[0, 5], x[0, :, 2:4, 2:4].flatten())  # second row, second column
    assert torch.equal(image(tokens, 2, rows=3), x)


def test_the_transformer_knows_where_its_patches_are():
    where = positions(3, 4, 16)
    assert where.shape == (12, 16) and len(where.unique(dim=0)) == 12
    row, column = where.view(3, 4, 2, 2, 4).unbind(3)  # sines and cosines of both
    assert torch.equal(row, row[:, :1].expand_as(row)) and torch.equal(column, column[:1].expand_as(column))


@pytest.mark.parametrize("side, coarsest", [(8, 4), (16, 4), (20, 5), (28, 7), (32, 4), (64, 4)])
def test_the_network_halves_down_to_4_to_7_pixels(side, coarsest):
    net = DiffusionUNet((1, side, side), 4)
    assert side // 2 ** len(net.up) == coarsest
    assert net(torch.randn(1, 1, side, side), torch.zeros(1)).shape == (1, 1, side, side)


def test_bits_per_dim_of_independent_uniform_noise_are_about_8():
    """Pixels of uniform noise have 8 bits each; a model that knows only their mean and variance needs little more."""

    method = make("diffusion").eval()
    variance, data = 1 / 3, Images(torch.randint(256, (40, *SHAPE)).byte(), torch.zeros(40).long(), ("x",), "noise")
    method.denoise = lambda x, sigma, labels=None: expand(variance / (variance + sigma**2)) * x
    nats = -method.log_prob(data.x, steps=40, probes=2).mean().item()
    expected = 8 + (0.5 * math.log(2 * math.pi * math.e * variance) - math.log(2)) / math.log(2)
    assert nats / (64 * math.log(2)) == pytest.approx(expected, abs=0.05)
