"""The theory of GANs against its closed forms, and the points in the plane on which it is played."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import wasserstein_distance
from torch import nn

from genlab.data import Stream, batches, points
from genlab.methods.gan.gan import GAN, GANConfig
from genlab.methods.gan.losses import OBJECTIVES
from genlab.metrics.transport import linear_programme, plan, sinkhorn, wasserstein1
from genlab.nets.mlp import MLP, MLPCritic, MLPGenerator
from genlab.theory import divergences as d
from genlab.theory.discriminator_only import DiscriminatorOnly, climb
from genlab.theory.plane import Animation, probability, scene, scenes
from genlab.training.loop import fit
from genlab.training.method import TrainOptions

X = d.line(-30, 30)


def test_a_shift_costs_its_length():
    x = torch.randn(40, 2)
    shift = torch.tensor([3.0, 4.0])
    assert wasserstein1(x, x + shift) == pytest.approx(5, abs=1e-5)
    assert wasserstein1(x, x[torch.randperm(40)]) == pytest.approx(0, abs=1e-6)


def test_the_linear_programme_agrees_with_the_assignment():
    cost = np.random.default_rng(0).random((30, 30))
    even = np.full(30, 1 / 30)
    fast, slow = plan(cost), linear_programme(cost, even, even)
    assert (fast * cost).sum() == pytest.approx((slow * cost).sum(), abs=1e-9)


def test_a_plan_moves_exactly_the_masses():
    rng = np.random.default_rng(1)
    p, q = rng.random(7), rng.random(5)
    best = plan(rng.random((7, 5)), p, q)
    assert best.min() >= -1e-12
    assert best.sum(1) == pytest.approx(p / p.sum()) and best.sum(0) == pytest.approx(q / q.sum())


def test_the_blurred_plan_comes_to_the_exact_one_and_its_blur_solves_the_dual():
    cost = torch.rand(20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = (torch.from_numpy(plan(cost.numpy())) * cost).sum().item()
    costs = [(sinkhorn(cost, blur, 2000) * cost).sum().item() for blur in (0.3, 0.05, 0.005)]
    assert costs[0] > costs[1] > costs[2] > exact and costs[2] == pytest.approx(exact, abs=1e-3)
    soft = sinkhorn(cost[:, :15], 0.1, 500)
    torch.testing.assert_close(soft.sum(1), torch.full((20,), 1 / 20, dtype=torch.float64))
    torch.testing.assert_close(soft.sum(0), torch.full((15,), 1 / 15, dtype=torch.float64))
    potentials = soft.log() + cost[:, :15] / 0.1  # of the best blurred plan: a sum of a row's and a column's number
    torch.testing.assert_close(potentials - potentials[:1], (potentials - potentials[:1])[:, :1].expand(-1, 15))
    assert sinkhorn(3 * cost.float(), 1e-3, 50).isfinite().all()
    pair = torch.stack([cost, cost.T])
    torch.testing.assert_close(sinkhorn(pair, 0.1, 20), torch.stack([sinkhorn(c, 0.1, 20) for c in pair]))


def test_on_the_line_the_distance_is_that_of_the_quantiles():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 1, generator=g), 2 * torch.randn(45, 1, generator=g) + 1
    p, q = torch.rand(30, generator=g), torch.rand(45, generator=g)
    expected = wasserstein_distance(x[:, 0], y[:, 0], p, q)
    assert wasserstein1(x, y, p, q) == pytest.approx(expected, abs=1e-5)
    assert wasserstein1(x, y) == pytest.approx(wasserstein_distance(x[:, 0], y[:, 0]), abs=1e-5)


def test_a_detour_is_never_shorter():
    for seed in range(5):
        g = torch.Generator().manual_seed(seed)
        x, y, z = (torch.randn(15, 2, generator=g) + i for i in range(3))
        assert wasserstein1(x, z) <= wasserstein1(x, y) + wasserstein1(y, z) + 1e-9
        assert wasserstein1(x, y) == pytest.approx(wasserstein1(y, x))


@pytest.mark.parametrize("p", [[0.5, -0.5, 1.0], [0.5, 0.5], [0.0, 0.0, 0.0], [math.nan, 1.0, 1.0]])
def test_masses_that_are_none_are_refused(p):
    with pytest.raises(ValueError, match="masses"):
        wasserstein1(torch.zeros(3, 2), torch.zeros(3, 2), p)


def test_divergences_of_gaussians_are_those_of_the_formula():
    p, q = d.log_normal(X, 0.5, 1.0), d.log_normal(X, -1.0, 2.0)
    expected = math.log(2) + (1 + 1.5**2) / (2 * 4) - 0.5
    assert d.kl(p, q, X).item() == pytest.approx(expected, abs=1e-9)
    assert d.reverse_kl(q, p, X).item() == pytest.approx(expected, abs=1e-9)
    assert d.js(p, q, X).item() == pytest.approx(d.js(q, p, X).item())
    assert d.js(p, p, X).item() == pytest.approx(0, abs=1e-12)


def test_js_of_densities_without_overlap_is_log_two():
    p, q = d.log_normal(X, -20, 0.1), d.log_normal(X, 20, 0.1)
    assert d.js(p, q, X).item() == pytest.approx(math.log(2), abs=1e-9)


def test_the_value_of_the_best_discriminator_is_the_divergence():
    p, q = d.log_normal(X, 0.0, 1.0), d.log_mixture(X, [-1, 3], [0.5, 1], [0.3, 0.7])
    best = d.optimal_discriminator(p, q)
    some = X.abs() < 5
    assert torch.allclose(best.sigmoid()[some], (p.exp() / (p.exp() + q.exp()))[some])
    top = d.value(best, p, q, X).item()
    assert top == pytest.approx(-2 * math.log(2) + 2 * d.js(p, q, X).item(), abs=1e-9)
    for change in (0.1, -0.1, 0.3 * X.sin()):
        assert d.value(best + change, p, q, X).item() < top


def test_kl_matches_moments_and_reverse_kl_seeks_a_mode():
    means, stds, weights = [-2.0, 3.0], [0.5, 0.8], [0.4, 0.6]
    p = d.log_mixture(X, means, stds, weights)
    mean = sum(w * m for w, m in zip(weights, means))
    variance = sum(w * (s**2 + m**2) for w, m, s in zip(weights, means, stds)) - mean**2
    assert d.fit_gaussian(p, X, d.kl) == pytest.approx((mean, variance**0.5), abs=1e-4)
    for start, m, s in zip((-1.0, 2.0), means, stds):
        assert d.fit_gaussian(p, X, d.reverse_kl, (start, 1.0)) == pytest.approx((m, s), abs=0.02)


def test_a_trained_discriminator_measures_the_divergence():
    torch.manual_seed(0)
    real, fake = points.gaussian(0.0), points.gaussian(2.0, seed=1)
    method = DiscriminatorOnly(MLPCritic(1, 32), fake)
    fit(method, Stream(real, 512), TrainOptions(images=512 * 300, batch=512))
    exact = d.js(d.log_normal(X, 0, 1), d.log_normal(X, 2, 1), X).item()
    estimate = method.evaluate(points.gaussian(0.0, seed=2))["js"]
    assert estimate == pytest.approx(exact, abs=0.02)


def test_a_confident_discriminator_leaves_only_one_of_the_losses_a_gradient():
    method = DiscriminatorOnly(MLPCritic(1, depth=0), points.gaussian())
    nn.init.constant_(method.discriminator[0].weight, 5.0)
    nn.init.zeros_(method.discriminator[0].bias)
    fake = torch.full((8, 1), -4.0)  # logit -20
    weak, strong = (method.gradient_norm(fake, OBJECTIVES[name]) for name in ("minimax", "nonsaturating"))
    assert strong == pytest.approx(5, abs=1e-4) and weak == pytest.approx(5 * math.exp(-20), rel=1e-3)


def test_a_climb_ends_on_the_top_that_is_nearest():
    tops = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    start = torch.tensor([[1.0, 1.0], [3.5, -1.0]])
    reached = climb(lambda x: -torch.cdist(x, tops).amin(1).square(), start, steps=200, length=0.05)
    torch.testing.assert_close(reached, tops, atol=0.01, rtol=0)


SETS = [points.ring, points.grid, points.swiss_roll, points.gaussian, points.segment, points.lower_triangle]


@pytest.mark.parametrize("make", SETS)
def test_a_set_is_a_function_of_its_seed(make):
    a, b, c = make(n=100), make(n=100), make(n=100, seed=1)
    assert torch.equal(a.x, b.x) and not torch.equal(a.x, c.x)
    assert len(a) == 100 and a.x.dtype == torch.float32 and a.labels.dtype == torch.int64


def test_a_stream_of_points_leaves_none_out_and_resumes():
    data = points.ring(n=50)
    stream = Stream(data, 10)
    drawn = torch.cat([next(stream)[0] for _ in range(5)])
    assert torch.equal(drawn.sort(0).values, data.x.sort(0).values)
    later = Stream(data, 10)
    later.images = stream.images
    assert torch.equal(next(stream)[0], next(later)[0])
    assert sum(len(x) for x, _ in batches(data, 8)) == 50


def test_coverage_counts_modes_and_good_points():
    data = points.ring(n=4000)
    whole = data.coverage(data.x)
    assert whole.modes == 8 and whole.quality == pytest.approx(1 - math.exp(-4.5), abs=0.01)  # 3 std in the plane
    half = data.coverage(torch.cat([data.x[data.labels < 4], torch.zeros(1000, 2)]))
    assert half.modes == 4 and half.quality < 0.75 and half.counts[4:].sum() == 0
    stray = torch.cat([data.x[data.labels == 0].repeat(4, 1), data.centres])
    assert data.coverage(stray).modes == 1 and data.coverage(stray, least=0).modes == 8
    with pytest.raises(ValueError, match="no modes"):
        points.swiss_roll(n=10).coverage(torch.zeros(1, 2))


def test_the_toy_gan_learns_the_zeros_of_a_triangular_matrix():
    torch.manual_seed(0)
    data = points.lower_triangle()
    gan = GAN(MLPGenerator(8, 16, 32), MLPCritic(16, 32), GANConfig(latent=8, lr=5e-3, lr_generator=5e-3))
    above = torch.ones(4, 4, dtype=torch.bool).triu(1).flatten()
    average = fit(gan, Stream(data, 128), TrainOptions(128 * 600, 128, schedule="cosine", half_life=12_000))
    fake = average.sample(1000)
    assert fake[:, above].abs().mean() < 0.5 and fake[:, above].mean().abs() < 0.2
    assert fake[:, ~above].mean() == pytest.approx(3, abs=0.5)


def test_the_plane_is_drawn_with_what_the_discriminator_thinks(tmp_path):
    torch.manual_seed(0)
    data = points.ring(n=64)
    gan = GAN(MLPGenerator(4), MLPCritic(), GANConfig(latent=4, lr_generator=None))
    film = Animation(data.x, n=32)
    fit(gan, Stream(data, 8), TrainOptions(images=32, batch=8), hooks=[(8, film)])
    assert len(film.frames) == 4
    with Image.open(film.save(tmp_path / "film.gif")) as gif:
        assert gif.n_frames >= 4
    assert scene(data.x, gan.sample(8), probability(gan)) != scene(data.x, gan.sample(8))
    assert scenes(data.x, {("a", "1"): data.x, ("b", "2"): data.x})[:4] == b"\x89PNG"


def test_networks_refuse_points_of_another_space():
    with pytest.raises(ValueError, match=r"\(N, 2\)"):
        MLPCritic(2)(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="sizes"):
        MLP(3)
