"""Autoregressive models: what each pixel may see, exact probabilities, and the sampler that computes nothing twice."""

from itertools import product
from math import log

import pytest
import torch

from genlab.data import load
from genlab.likelihood.pixels import Bernoulli, LogisticMixture, Palette, Regression, Softmax
from genlab.likelihood.sampling import draw, draw_uncached
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig


@pytest.fixture(autouse=True)
def exactly():
    """In float64, so that two ways to the same number agree."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


NETS = ["pixelcnn", "gated", "row-lstm", "diagonal-bilstm"]
POSITION_BIAS = pytest.mark.parametrize("position_bias", [False, True], ids=["", "position bias"])


def make(net, head="bernoulli", shape=(1, 6, 5), classes=0, seed=0, **options):
    torch.manual_seed(seed)
    config = AutoregressiveConfig(
        net, head, width=12, layers=2, levels=4, mixtures=2, conditional=classes > 0, **options
    )
    model = config.build(shape, classes).eval()
    for p in model.parameters():  # far from the start, where hardly anything depends on anything
        torch.nn.init.normal_(p, std=0.4)
    return model.requires_grad_(False)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("net", NETS)
@POSITION_BIAS
def test_a_pixel_depends_on_those_before_it_alone_in_raster_and_channel_order(net, channels, position_bias):
    model = make(net, "softmax", (channels, 5, 4), position_bias=position_bias, seed=1)
    x = torch.rand(1, channels, 5, 4)
    outputs = lambda x: model.net(x).sum(2)[0].movedim(0, 2).flatten()  # in raster order, channels last
    jacobian = torch.autograd.functional.jacobian(outputs, x)[:, 0].movedim(1, 3).flatten(1)
    future = torch.ones_like(jacobian).triu()
    assert (jacobian * future).abs().max() == 0
    seen = (jacobian != 0).float().mean()
    assert seen > {"pixelcnn": 0.4, "row-lstm": 0.43}.get(net, 0.47)  # of at most 0.5


def test_the_gated_net_and_the_diagonals_see_everything_before_and_pixelcnn_has_a_blind_spot():
    def blind(net):
        model = make(net, shape=(1, 12, 12), kernel=3)
        x = torch.zeros(1, 1, 12, 12, requires_grad=True)
        model.requires_grad_(False)
        (slope,) = torch.autograd.grad(model.net(x)[0, 0, 0, 11, 2], x)
        return slope[0, 0]

    before = blind("diagonal-bilstm").flatten()[: 11 * 12 + 2] != 0
    assert before.sum() == len(before) - 1 and not before[10 * 12 + 11]  # the end of the row above, as in the paper
    # two layers of 3x3 on one of 7x7 reach 5 rows up and 5 columns to the right; the mask of PixelCNN cuts the corner
    gated, plain = blind("gated"), blind("pixelcnn")
    assert gated[10, 7] != 0 and plain[10, 7] == 0


@pytest.mark.parametrize("net", NETS)
def test_the_probabilities_of_all_sixteen_pictures_of_four_bits_sum_to_one(net):
    model = make(net, shape=(1, 2, 2))
    x = torch.tensor(list(product([0.0, 1.0], repeat=4))).view(16, 1, 2, 2)
    p = model.log_prob(x).exp()
    assert p.sum() == pytest.approx(1, abs=1e-6) and p.max() < 0.99 and p.std() > 0.01


@pytest.mark.parametrize("net", NETS)
def test_with_position_bias_a_net_knows_where_it_is_on_an_empty_image(net):
    outputs = {
        position_bias: make(net, shape=(1, 24, 24), position_bias=position_bias).net(torch.zeros(1, 1, 24, 24))
        for position_bias in (False, True)
    }
    centre = {position_bias: out[0, 0, 0, 14:18, 11:13].std() for position_bias, out in outputs.items()}
    assert centre[1] > 0.01
    if net in ("pixelcnn", "gated"):  # which without them know only the borders
        assert centre[0] < 1e-12


@pytest.mark.parametrize(
    ("channels", "classes", "position_bias"), [(1, 0, False), (3, 3, False), (1, 3, True), (3, 0, True)]
)
@pytest.mark.parametrize("net", NETS)
def test_the_cached_sampler_draws_the_picture_of_the_naive_one(net, channels, classes, position_bias):
    model = make(net, "softmax", (channels, 6, 5), classes, position_bias=position_bias, seed=2)
    torch.manual_seed(0)
    u = torch.rand(4, channels, 6, 5)
    labels = torch.tensor([0, 1, 2, 1]) if classes else None
    slow = draw_uncached(model.net, model.head, u, labels, 0.8)
    assert torch.equal(draw(model.net, model.head, u, labels, 0.8), slow) and len(slow.unique()) == 4


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("net", NETS)
def test_a_drawn_picture_is_completed_to_itself_by_the_same_numbers(net, channels):
    model = make(net, "softmax", (channels, 6, 5))
    u = torch.rand(3, channels, 6, 5)
    whole = draw(model.net, model.head, u)
    for known in (torch.rand(1, 1, 6, 5).expand(3, 1, 6, 5) < 0.5, torch.rand(3, 1, 6, 5) < 0.5):
        given = torch.where(known, whole, 0)
        assert torch.equal(draw(model.net, model.head, u, given=given, known=known), whole)


@pytest.mark.parametrize("head", ["logistic", "palette", "regression"])
def test_the_cached_sampler_serves_every_head(head):
    model = make("gated", head, (3, 5, 5))
    u = torch.rand(3, model.head.groups, 5, 5)
    assert torch.equal(draw(model.net, model.head, u), draw_uncached(model.net, model.head, u))


def test_samples_follow_the_model_s_probabilities():
    model = make("gated", shape=(1, 2, 2))
    x = torch.tensor(list(product([0.0, 1.0], repeat=4))).view(16, 1, 2, 2)
    p = model.log_prob(x).exp()
    drawn = draw(model.net, model.head, torch.rand(20_000, 1, 2, 2)).flatten(1)
    counts = torch.bincount((drawn * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16) / 20_000
    assert (counts - p).abs().max() < 4 * (p * (1 - p) / 20_000).sqrt().max()


def test_completion_keeps_what_is_known_and_draws_the_rest_from_what_stands_before():
    model = make("gated", "softmax", (1, 6, 5))
    x = load("digits", "test", size=6).x[:3, :, :, :5]
    x = model.head.images(model.head.indices(x))
    known = torch.ones(1, 6, 5, dtype=torch.bool)
    known[:, 3:, 2:] = False
    torch.manual_seed(1)
    done = model.complete(x, known)
    assert torch.equal(done[:, :, known[0]], x[:, :, known[0]]) and not torch.equal(done, x)
    torch.manual_seed(1)
    everywhere = torch.zeros(1, 6, 5, dtype=torch.bool)
    torch.manual_seed(1)
    free = model.complete(x, everywhere)
    torch.manual_seed(1)
    assert torch.equal(free, model.sample(3))  # nothing known: a sample
    some = known.expand(3, 1, 6, 5).clone()
    some[1] = True
    assert torch.equal(model.complete(x, some)[1], x[1])
    with pytest.raises(ValueError, match=r"known must be bool \(1, 6, 5\), got torch.bool \(1, 5, 5\)"):
        model.complete(x, known[:, :5])
    with pytest.raises(ValueError, match=r"got torch.bool \(2, 1, 6, 5\)"):
        model.complete(x, known.expand(2, 1, 6, 5))


def test_every_head_is_a_distribution_and_its_two_ways_agree():
    torch.manual_seed(0)
    for head in (Bernoulli(1), Softmax(1, 7), LogisticMixture(1, 3, 9), Palette(3, 5)):
        outputs = 3 * torch.randn(2, 1, head.outputs, 3, 4)
        everything = head.log_probs(outputs)
        assert everything.shape == (2, 1, head.values, 3, 4)
        assert torch.allclose(everything.exp().sum(2), torch.ones(2, 1, 3, 4))
        k = torch.randint(head.values, (2, 1, 3, 4))
        assert torch.allclose(head.log_prob(outputs, k), everything.gather(2, k[:, :, None]).squeeze(2))


def test_the_logistic_head_has_the_closed_form_mass_and_finite_slopes_at_the_ends():
    head = LogisticMixture(1, 1, 256)
    outputs = torch.tensor([0.0, 0.1, -2.0]).view(1, 1, 3, 1, 1).requires_grad_()
    for k, (low, high) in {100: (99.5, 100.5), 0: (-torch.inf, 0.5), 255: (254.5, torch.inf)}.items():
        value = head.log_prob(outputs, torch.full((1, 1, 1, 1), k))
        cdf = lambda edge: torch.sigmoid((torch.tensor(edge) * 2 / 255 - 1 - 0.1) / torch.tensor(-2.0).exp())
        assert value.item() == pytest.approx(float((cdf(high) - cdf(low)).log()), rel=1e-5)
        (slope,) = torch.autograd.grad(value.sum(), outputs)
        assert slope.isfinite().all()


def test_temperature_sharpens_towards_the_likeliest_value():
    head = Softmax(1, 4)
    outputs = torch.tensor([0.0, 1.0, 0.5, -1.0]).view(1, 1, 4).expand(1000, 1, 4)
    u = torch.linspace(0, 0.999, 1000)[:, None]
    shares = [(head.draw(outputs, u, t) == 1).float().mean() for t in (0.1, 1.0, 10.0)]
    assert shares[0] > 0.98 > 0.6 > shares[1] > shares[2] > 0.25
    black = Bernoulli(1)
    assert (black.draw(torch.ones(1000, 1, 1), u, 0.5).float().mean() - torch.tensor(2.0).sigmoid()).abs() < 0.002


def test_a_palette_is_that_of_the_images_and_paints_them_exactly():
    torch.set_default_dtype(torch.float32)
    x = load("sprites", "train").x[:500]
    head = Palette(3, 15)
    head.fit(x)
    assert (head.images(head.indices(x)) - x).abs().max() < 1e-3
    assert head.indices(x).shape == (500, 1, 20, 20) and head.encode(head.indices(x[:2])).shape == (2, 15, 20, 20)
    with pytest.raises(ValueError, match="a palette of 200 colours is larger than the 15"):
        Palette(3, 200).fit(x)


def test_a_guess_is_not_a_draw():
    head, outputs = Regression(3), torch.zeros(2, 3, 1)
    assert torch.equal(head.draw(outputs, torch.rand(2, 3)), head.draw(outputs, torch.rand(2, 3)))


def test_an_uninformed_model_costs_what_its_levels_cost():
    model = make("gated", "softmax", (1, 6, 5))
    for p in model.parameters():
        p.zero_()
    assert torch.allclose(model.log_prob(torch.rand(2, 1, 6, 5)), torch.tensor(-30 * log(4)))


def test_scheduled_sampling_feeds_the_net_its_own_draws_ever_more():
    config = AutoregressiveConfig(
        head="softmax", levels=4, width=6, layers=1, self_sampling=0.6, self_sampling_from=0.2
    )
    model = config.build((1, 8, 8), 0)
    assert [model.self_sampling(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0.2, 0.4, 0.6])
    k = torch.full((400, 1, 8, 8), 3)  # an untrained net draws another value three times in four
    assert (model.self_sampled(k, None, 0.4) != k).double().mean() == pytest.approx(0.3, abs=0.02)
    assert torch.equal(model.self_sampled(k, None, 0.0), k)
    assert AutoregressiveConfig().build((1, 8, 8), 0).self_sampling(1.0) == 0


def test_without_a_label_a_conditional_model_averages_over_its_classes():
    model = make("gated", "softmax", (1, 4, 4), classes=3)
    x = torch.rand(2, 1, 4, 4)
    each = torch.stack([model.log_prob(x, torch.full((2,), c)) for c in range(3)])
    assert torch.allclose(model.log_prob(x), each.logsumexp(0) - log(3)) and each.std(0).min() > 1e-3


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (dict(kernel=4), "must be odd, at least 1 and at most 99, got 4"),
        (dict(width=2), "width must be at least 3 .*, got 2"),
        (dict(levels=1), "levels must be at least 2 and at most 256, got 1"),
        (dict(head="palette", colours=300), "colours must be at least 2 and at most 256, got 300"),
        (dict(self_sampling=1.5), "self_sampling must be at least 0 and at most 1, got 1.5"),
        (dict(head="logistic", mixtures=0), "mixtures must be at least 1 .*, got 0"),
    ],
)
def test_impossible_options_are_refused_naming_the_value(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        AutoregressiveConfig(**wrong).build((3, 8, 8), 10)


def test_bad_requests_to_a_trained_model_get_one_sentence():
    model = make("gated", shape=(1, 4, 4))
    with pytest.raises(ValueError, match="temperature must be above 0 .*, got 0"):
        model.sample(1, temperature=0)
    with pytest.raises(ValueError, match="trained without labels"):
        model.sample(1, torch.tensor([1]))
