"""Objectives, penalties, networks and stabilisers of the GANs, against closed forms and brute force."""

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate, pad
from toys import SHAPE, LinearCritic, images, make, stream

from genlab.core.batch import check_batch
from genlab.methods.gan.adversarial import AdversarialConfig
from genlab.methods.gan.began import BEGANConfig
from genlab.methods.gan.diff_augment import brightness, contrast, cutout, diff_augment, saturation, translation
from genlab.methods.gan.ebgan import EBGANConfig, pulling_away
from genlab.methods.gan.gan import GANConfig
from genlab.methods.gan.image_pool import ImagePool
from genlab.methods.gan.loss_sensitive import LossSensitiveConfig
from genlab.methods.gan.losses import DIVERGENCES, OBJECTIVES, gradient_norms, gradient_penalty, zero_centred_penalty
from genlab.methods.gan.ot_gan import OTGAN, OTGANConfig
from genlab.methods.gan.unrolled import UnrolledConfig
from genlab.methods.gan.wgan import WGANConfig
from genlab.methods.gan.wgan_gp import WGANGPConfig
from genlab.metrics.transport import plan
from genlab.nets.attention import SelfAttention
from genlab.nets.ensemble import GeneratorEnsemble
from genlab.nets.minibatch import MinibatchFeatures
from genlab.nets.r3gan import Block, Down
from genlab.nets.spectral import Spectral, spectral_norm
from genlab.training.loop import fit
from genlab.training.method import TrainOptions
from genlab.training.update import Update

# --- gradient penalty


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_penalty_of_a_linear_critic_is_its_closed_form(precision):
    critic, real, fake = LinearCritic(), torch.rand(5, *SHAPE), torch.rand(5, *SHAPE)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
        norms = gradient_norms(critic, real, fake.to(precision))
        penalty = gradient_penalty(norms)
    norm = critic.weight.detach().norm()
    torch.testing.assert_close(norms.detach(), norm.expand(5))
    torch.testing.assert_close(penalty.detach(), (norm - 1).square())
    (gradient,) = torch.autograd.grad(penalty, critic.weight)
    torch.testing.assert_close(gradient, 2 * (norm - 1) * critic.weight.detach() / norm)


def test_points_lie_on_the_line_of_their_own_pair_each_at_its_own_place():
    seen = []

    class Square(nn.Module):  # gradient norm 2 |x|
        def forward(self, x):
            seen.append(x)
            return x.square().flatten(1).sum(1)

    real, fake = torch.rand(6, *SHAPE), torch.rand(6, *SHAPE, requires_grad=True)
    norms = gradient_norms(Square(), real, fake)
    x = seen[0].detach()
    torch.testing.assert_close(norms.detach(), 2 * x.flatten(1).norm(dim=1))
    place = ((x - fake) / (real - fake)).detach().flatten(1)
    torch.testing.assert_close(place, place[:, :1].expand_as(place), rtol=0.02, atol=0.02)
    assert (place.median(1).values.diff().abs() > 1e-3).all() and place.median() < 1
    assert not any(x.grad_fn for x in seen)  # a leaf: nothing flows back into the generator


# --- f-divergences


@pytest.mark.parametrize("name", DIVERGENCES)
def test_conjugates_are_the_supremum_over_a_grid(name):
    d = DIVERGENCES[name]
    v = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64)
    t = d.activation(v)
    u = torch.linspace(1e-4, 40, 400_001, dtype=torch.float64)
    supremum = torch.stack([(u * one - d.generator(u)).max() for one in t])
    torch.testing.assert_close(supremum, d.conjugate(t), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(d.conjugate_of_activation(v), d.conjugate(t))
    assert (t.diff() > 0).all()


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_bound_is_the_divergence_at_the_optimal_scores_and_less_elsewhere(name):
    d = DIVERGENCES[name]
    p, q = (torch.tensor(w, dtype=torch.float64) for w in ([0.5, 0.3, 0.2], [0.2, 0.2, 0.6]))
    divergence = (q * d.generator(p / q)).sum()
    v = torch.zeros(3, dtype=torch.float64, requires_grad=True)

    def bound(v):
        return (p * d.activation(v)).sum() - (q * d.conjugate_of_activation(v)).sum()

    search = torch.optim.LBFGS([v], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure():
        search.zero_grad()
        loss = -bound(v)
        loss.backward()
        return loss

    search.step(closure)
    torch.testing.assert_close(bound(v).detach(), divergence, rtol=1e-8, atol=1e-8)
    for _ in range(20):
        assert bound(v + 0.3 * torch.randn(3, dtype=torch.float64)) <= divergence
    ratio = (p / q).requires_grad_()  # the optimum is known: T = f'(p / q)
    (gradient,) = torch.autograd.grad(d.generator(ratio).sum(), ratio)
    torch.testing.assert_close(d.activation(v).detach(), gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_pull_scores_of_real_and_fake_apart_and_stay_finite(name):
    real, fake, teach = (torch.zeros(4, requires_grad=True) for _ in range(3))
    others = [torch.zeros(4)] if OBJECTIVES[name].pairs else []
    OBJECTIVES[name].discriminator(real, fake).backward()
    OBJECTIVES[name].generator(teach, *others).backward()
    assert (real.grad < 0).all() and (fake.grad >= 0).all() and (teach.grad < 0).all()
    for score in (-30.0, 30.0):
        score = torch.full((4,), score)
        assert OBJECTIVES[name].discriminator(score, score).isfinite()
        assert OBJECTIVES[name].generator(score, *others).isfinite()


def test_the_relativistic_loss_asks_for_the_difference_of_scores_alone():
    rp, real, fake = OBJECTIVES["relativistic"], torch.randn(50), torch.randn(50)
    torch.testing.assert_close(rp.discriminator(real + 7, fake + 7), rp.discriminator(real, fake))
    torch.testing.assert_close(rp.generator(fake, real), rp.discriminator(fake, real))
    assert rp.discriminator(real + 50, fake).item() == pytest.approx(0, abs=1e-6)


def test_r1_of_a_linear_critic_is_half_the_square_of_its_weights():
    critic = LinearCritic()
    expected = critic.weight.detach().square().sum() / 2
    penalty = zero_centred_penalty(critic, torch.rand(5, *SHAPE))
    torch.testing.assert_close(penalty.detach(), expected)
    (gradient,) = torch.autograd.grad(penalty, critic.weight)
    torch.testing.assert_close(gradient, critic.weight.detach())
    packs = lambda x: critic(x).view(-1, 2).sum(1)  # of two images, whose gradients are side by side
    torch.testing.assert_close(zero_centred_penalty(packs, torch.rand(6, *SHAPE)).detach(), 2 * expected)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_penalties_go_with_every_objective_and_flatten_the_discriminator(objective):
    def slope(weight):
        torch.manual_seed(0)
        config = GANConfig(latent=4, width=4, hidden=0, norm="none", objective=objective, r1=weight, r2=weight, lr=1e-2)
        method, data = config.build(SHAPE, 3), stream(batch=16)
        update = Update(method.optimizers())
        for _ in range(8):
            metrics = method.step(data, update)
        assert {"r1", "r2"} <= metrics.keys() if weight else "r1" not in metrics
        return zero_centred_penalty(method.discriminator, images(64).x).item()

    assert slope(10.0) < 0.7 * slope(0.0)


def test_penalties_need_scores_of_single_images():
    with pytest.raises(ValueError, match="r1 and r2 are gradients at single images, which batch normalisation mixes"):
        GANConfig(r1=1.0)


def test_a_packed_discriminator_scores_packs_and_pairs_of_equal_images_show():
    critic = AdversarialConfig(width=4, hidden=0, norm="none", pack=2).make_discriminator(SHAPE)
    x = torch.rand(6, *SHAPE)
    assert critic(x).shape == (3,) and critic.features(x).shape[0] == 3
    assert critic(x)[1].item() == pytest.approx(critic(x[2:4]).item(), abs=1e-6)
    with pytest.raises(ValueError, match="margin of every image, so pack must be 1, got 2"):
        LossSensitiveConfig(pack=2)
    with pytest.raises(ValueError, match="one image at a time, not packs of 2"):
        WGANGPConfig(norm="none", pack=2, hidden=16).build(SHAPE, 0)
    with pytest.raises(ValueError, match="--batch must be .*multiple of 2"):
        check_batch(make("gan packed"), 7)


def test_differentiable_augmentation_moves_cuts_and_recolours_and_passes_gradients():
    x = torch.rand(200, 3, 8, 8, requires_grad=True)
    assert diff_augment(x, "none") is x
    for name in ("translation", "translation-cutout", "colour-translation-cutout"):
        y = diff_augment(x, name)
        assert y.shape == x.shape and not torch.equal(y, x)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert gradient.isfinite().all() and (gradient != 0).any()
    moved = translation(x.detach())
    for i in range(20):  # by whole pixels, at most one each way
        padded = pad(x[i].detach(), (1, 1, 1, 1))
        assert any(torch.equal(moved[i], padded[:, a : a + 8, b : b + 8]) for a in range(3) for b in range(3))
    assert 0 < sum(torch.equal(m, o) for m, o in zip(moved, x.detach())) < 100
    share = (cutout(torch.ones(2000, 1, 8, 8)) == 0).float().mean().item()
    assert 0.1 < share < 0.25  # a quarter, less what falls outside
    grey = torch.full((5, 3, 4, 4), 0.4)
    torch.testing.assert_close(saturation(contrast(grey)), grey)
    assert ((brightness(grey) - grey).abs() <= 0.25).all()


def test_the_saturating_generator_learns_little_from_clear_fakes():
    def gradient(name):
        score = torch.tensor([-6.0], requires_grad=True)
        OBJECTIVES[name].generator(score).backward()
        return abs(score.grad.item())

    assert gradient("minimax") < 0.01 and gradient("nonsaturating") > 0.99


# --- networks


def matrix(layer, shape):
    """The layer without bias, as a matrix."""
    basis = torch.eye(torch.Size(shape).numel()).view(-1, *shape)
    with torch.no_grad():
        return (layer(basis) - layer(torch.zeros(1, *shape))).flatten(1)


@pytest.mark.parametrize(
    "make, shape",
    [
        (lambda: nn.Linear(12, 7), (12,)),
        (lambda: nn.Conv2d(2, 5, 4, 2, 1), (2, 8, 8)),
        (lambda: nn.Conv2d(3, 4, 3, padding=1, bias=False), (3, 6, 6)),
    ],
    ids=["linear", "strided", "same"],
)
def test_spectral_norm_is_the_largest_singular_value_of_the_layer_as_a_map(make, shape):
    torch.manual_seed(0)  # how fast power iteration converges depends on the gap to the second singular value
    layer = make()
    before = torch.linalg.svdvals(matrix(layer, shape)).max()
    weight = layer.weight.detach().clone()
    spectral = Spectral(layer, torch.Size(shape), iterations=300)
    torch.testing.assert_close(spectral(weight), weight / before, rtol=1e-3, atol=1e-4)
    net = nn.Sequential(layer)
    spectral_norm(net, shape, head=nn.Identity())
    for _ in range(300):
        layer.weight  # noqa: B018  # every look is one power iteration
    assert abs(torch.linalg.svdvals(matrix(net.eval(), shape)).max() - 1) < 1e-3


@pytest.mark.parametrize("hidden", [0, 16])
def test_a_trained_spectral_discriminator_has_a_gradient_norm_of_at_most_one(hidden):
    config = GANConfig(latent=4, width=8, hidden=hidden, objective="hinge", spectral=True, norm="none", lr=2e-3)
    torch.manual_seed(0)
    method = fit(config.build(SHAPE, 3), stream(16), TrainOptions(images=1600, batch=16))
    x = torch.rand(100, *SHAPE, requires_grad=True)
    (gradient,) = torch.autograd.grad(method.discriminator(x).sum(), x)
    norms = gradient.flatten(1).norm(dim=1)
    assert 0.05 < norms.mean() and norms.max() <= 1.01
    far = torch.rand(100, *SHAPE)
    with torch.no_grad():
        rise = (method.discriminator(x) - method.discriminator(far)).abs() / (x - far).flatten(1).norm(dim=1)
    assert rise.max() <= 1.01


def test_spectral_normalisation_in_eval_mode_changes_nothing():
    net = make("gan hinge spectral").discriminator.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert torch.equal(net(images().x[:4].float()), net(images().x[:4].float()))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_minibatch_features_are_those_of_two_loops():
    layer, x = MinibatchFeatures(6, kernels=3, dims=4), torch.randn(5, 6)
    m = layer.project(x).view(5, 3, 4)
    out = layer(x)
    assert torch.equal(out[:, :6], x) and out.shape == (5, 9) and layer.outputs == 9
    for i in range(5):
        for b in range(3):
            closeness = sum((-(m[i, b] - m[j, b]).abs().sum()).exp() for j in range(5) if j != i)
            torch.testing.assert_close(out[i, 6 + b], closeness, rtol=1e-4, atol=1e-6)


def test_minibatch_features_are_largest_for_a_collapsed_batch():
    layer = MinibatchFeatures(6, kernels=3)
    same = layer(torch.randn(1, 6).expand(5, 6))[:, 6:]
    torch.testing.assert_close(same, torch.full((5, 3), 4.0))
    assert layer(torch.randn(5, 6))[:, 6:].max() < 4


def test_attention_is_the_identity_until_gamma_moves_and_looks_everywhere():
    layer, x = SelfAttention(16), torch.randn(2, 16, 4, 6)
    assert torch.equal(layer(x), x)
    layer.gamma.data.fill_(1.0)
    x.requires_grad_()
    layer(x)[0, :, 0, 0].sum().backward()
    assert (x.grad[0].abs().sum(0) > 0).all() and not x.grad[1].any()
    flat = [conv(x.detach())[0].flatten(1) for conv in (layer.query, layer.key, layer.value)]
    weights = torch.softmax(torch.einsum("ci,cj->ij", flat[0], flat[1]), dim=1)
    seen = torch.einsum("ij,cj->ci", weights, flat[2]).view(1, -1, 4, 6)
    torch.testing.assert_close(layer(x)[:1].detach(), (x[:1] + layer.out(seen)).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("net", ["dcgan", "resnet"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 16, 24)])
def test_networks_fit_images_of_every_size(net, shape):
    config = AdversarialConfig(net=net, latent=3, width=4, attention=True, minibatch=True)
    x = config.make_generator(shape)(torch.randn(2, 3))
    critic = config.make_discriminator(shape)
    assert x.shape == (2, *shape) and x.min() >= 0 and x.max() <= 1 and critic(x).shape == (2,)
    torch.testing.assert_close(critic.eval().head(critic.features(x)).squeeze(1), critic(x))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 28), (1, 32, 32)])
def test_the_networks_of_r3gan_keep_the_variance_and_every_block_begins_as_the_identity(shape):
    config = AdversarialConfig(net="r3gan", latent=16, width=8, norm="none")
    generator, critic = config.make_generator(shape), config.make_discriminator(shape)
    x = generator(torch.randn(64, 16))
    assert x.shape == (64, *shape) and x.min() >= 0 and x.max() <= 1
    assert 0.5 < ((x / (1 - x)).log() / 2).std() < 2  # before the sigmoid
    assert 0.2 < critic(torch.rand(64, *shape).round()).std() * 8 and critic(x).shape == (64,)
    torch.testing.assert_close(critic.head(critic.features(x)).squeeze(1), critic(x))
    block, h = Block(8, 4), torch.randn(2, 8, 8, 8)
    assert torch.equal(block(h), h)
    smaller = interpolate(h, scale_factor=0.5, mode="bilinear", antialias=True)
    torch.testing.assert_close(Down(8, 8)(h)[..., 1:-1, 1:-1], smaller[..., 1:-1, 1:-1])


def test_a_fully_connected_layer_is_the_rule_where_networks_can_have_one():
    count = lambda **options: sum(p.numel() for p in AdversarialConfig(**options).make_generator(SHAPE).parameters())
    assert count() == count(hidden=512) > count(hidden=0)
    assert count(net="resnet") == count(net="resnet", hidden=0)


# --- stabilisers


def test_the_pool_fills_then_gives_half_of_it_back():
    pool = ImagePool(6, (1, 1, 1))
    column = lambda *v: torch.tensor(v, dtype=torch.float).view(-1, 1, 1, 1)
    for batch in (column(1, 2, 3, 4), column(5, 6)):
        assert torch.equal(pool.swap(batch), batch)  # all enter, none leaves
    assert sorted(pool.images.flatten().tolist()) == [1, 2, 3, 4, 5, 6]
    old = 0
    for i in range(500):
        before, new = set(pool.images.flatten().tolist()), column(10 + 2 * i, 11 + 2 * i)
        out = pool.swap(new).flatten().tolist()
        after = set(pool.images.flatten().tolist())
        assert len(after) == 6 and before | set(new.flatten().tolist()) == after | set(out)  # nothing lost or doubled
        old += sum(value < 10 + 2 * i for value in out)
    assert 430 < old < 570
    with pytest.raises(ValueError, match="pool of 6 images cannot take a batch of 7"):
        pool.swap(torch.zeros(7, 1, 1, 1))


def test_the_pool_gives_a_batch_of_older_images_for_every_new_one():
    pool = ImagePool(6, (1, 1, 1))
    batch = lambda first: torch.arange(first, first + 3.0).view(-1, 1, 1, 1)
    for first in (0, 3):
        assert torch.equal(pool.exchange(batch(first)), batch(first))  # all enter, and there is nothing older to give
    for first in range(6, 300, 3):
        before = set(pool.images.flatten().tolist())
        old = set(pool.exchange(batch(first)).flatten().tolist())
        assert len(old) == 3 and old <= before
        assert set(pool.images.flatten().tolist()) == before - old | set(batch(first).flatten().tolist())


def test_past_fakes_are_judged_in_a_batch_of_their_own():
    """Among old fakes, batch normalisation would not see that all new ones are alike."""
    gan, data = make("gan lsgan replay"), stream(8)
    judged: list[torch.Tensor] = []
    gan.discriminator.register_forward_pre_hook(lambda _, inputs: judged.append(inputs[0].detach()))
    update = Update(gan.optimizers())
    for _ in range(6):  # the pool of 40 is full after five
        start, _ = len(judged), gan.step(data, update)
        _, fake, old, again = judged[start:]
        assert torch.equal(fake, again) and len(old) == len(fake)
    known = torch.cat(judged[1:-4:4]).flatten(1)
    assert (torch.cdist(old.flatten(1), known).amin(1) < 1e-6).all() and not torch.equal(old, fake)


def test_every_place_of_the_pool_is_taken_equally_often():
    pool, places = ImagePool(5, (1, 1, 1)), torch.zeros(5)
    pool.swap(torch.zeros(5, 1, 1, 1))
    for i in range(2000):
        before = pool.images.flatten().clone()
        pool.swap(torch.full((2, 1, 1, 1), float(i + 1)))
        places += pool.images.flatten() != before
    assert (places / places.sum() - 0.2).abs().max() < 0.03


def test_each_generator_makes_an_equal_share():
    class Constant(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def forward(self, z):
            return z[:, :1] * 0 + self.value

    ensemble = GeneratorEnsemble(Constant(float(i)) for i in range(4))
    assert ensemble(torch.zeros(20, 3)).flatten().long().bincount(minlength=4).tolist() == [5] * 4
    single = torch.cat([ensemble(torch.zeros(1, 3)) for _ in range(400)]).flatten().long()
    assert (single.bincount(minlength=4) - 100).abs().max() < 40


def test_an_ensemble_trains_every_generator():
    method, data = make("gan kl ensemble"), stream(12)
    before = [[p.clone() for p in g.parameters()] for g in method.generator.generators]
    method.step(data, Update(method.optimizers()))
    for generator, old in zip(method.generator.generators, before, strict=True):
        assert not any(torch.equal(a, b) for a, b in zip(generator.parameters(), old) if b.ndim > 1)


# --- methods


def test_weights_of_a_clipped_critic_stay_within_c_and_those_of_a_free_one_do_not():
    for clip in (0.01, None):
        config = WGANConfig(latent=4, width=4, n_critic=2, lr=1e-3, weight_clip=clip)
        method = fit(config.build(SHAPE, 3), stream(), TrainOptions(images=320, batch=8))
        largest = max(p.abs().max() for p in method.critic.parameters())
        assert largest <= torch.tensor(0.01) if clip else largest > 0.02


def test_rmsprop_is_adam_without_a_first_moment():
    torch.manual_seed(0)
    method = make("wgan")
    ours, theirs = method.optimizers()["critic"], torch.optim.RMSprop(make("wgan").critic.parameters(), 5e-5)
    mine, other = (o.param_groups[0]["params"] for o in (ours, theirs))
    for step in range(1000):
        g = torch.Generator().manual_seed(step)
        for a, b in zip(mine, other):
            if step == 800:  # by now the bias correction has faded
                b.data.copy_(a.data)
            a.grad = b.grad = torch.randn(a.shape, generator=g)
        ours.step()
        theirs.step()
    for a, b in zip(mine, other):
        torch.testing.assert_close(a.data, b.data, rtol=1e-3, atol=1e-6)


def test_fakes_above_the_margin_do_not_teach_the_energy():
    torch.manual_seed(0)
    for margin, learns in ((10.0, True), (1e-6, False), (None, True)):
        method = EBGANConfig(latent=4, width=4, code=4, margin=margin).build(SHAPE, 3)
        seen = {}

        class Record(Update):
            def __call__(self, name, loss, leaves=(), seen=seen):
                seen[name] = loss.detach()

        torch.manual_seed(1)
        metrics = method.step(stream(), Record(method.optimizers()))
        real, fake = metrics["energy_real"], metrics["energy_fake"]
        above = -fake if margin is None else margin - fake if learns else 0.0
        torch.testing.assert_close(seen["discriminator"], real + above)


def test_pretraining_teaches_the_discriminator_of_an_ebgan_real_images_alone():
    torch.manual_seed(0)
    method = EBGANConfig(latent=4, width=4, code=4, margin=None, pretraining=0.5).build(SHAPE, 3)
    seen = []

    class Record(Update):
        def __call__(self, name, loss, leaves=()):
            seen.append((name, loss.detach()))

    update = Record(method.optimizers())
    update.progress = 0.49
    metrics = method.step(stream(), update)
    assert [name for name, _ in seen] == ["discriminator"]
    torch.testing.assert_close(seen[0][1], metrics["energy_real"])
    update.progress = 0.5
    method.step(stream(), update)
    assert [name for name, _ in seen[1:]] == ["discriminator", "generator"]


def test_the_pulling_away_term_is_the_mean_squared_cosine_of_pairs():
    assert pulling_away(torch.eye(4)).abs() < 1e-6
    codes = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    torch.testing.assert_close(pulling_away(codes), torch.tensor(1 / 3))


def test_the_distance_of_batches_is_that_of_the_paper_and_a_batch_of_equal_fakes_is_far():
    method = OTGAN(nn.Identity(), nn.Identity(), OTGANConfig(latent=2, blur=0.01, iterations=200))
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    mixed, ones = torch.stack([a, b] * 4), a.expand(8, 2)
    assert method.distance(ones, b.expand(8, 2)).item() == pytest.approx(4)
    assert method.distance(ones, 3 * ones).item() == pytest.approx(0, abs=1e-6)
    assert method.distance(mixed, mixed.flip(0)).item() == pytest.approx(0, abs=1e-6)
    assert method.distance(mixed, ones).item() == pytest.approx(2)  # half of each batch has to turn by 90 degrees
    torch.manual_seed(0)
    y = torch.nn.functional.normalize(torch.randn(6, 2, dtype=torch.float64), dim=1)
    x = torch.nn.functional.normalize(torch.randn(6, 2, dtype=torch.float64), dim=1).requires_grad_()
    (gradient,) = torch.autograd.grad(method.transport(x[None], y[None]).sum(), x)
    exact = torch.from_numpy(plan((1 - x @ y.T).detach().numpy()))
    torch.testing.assert_close(gradient, -exact @ y, atol=0.02, rtol=0)


def test_no_unrolled_steps_are_a_plain_gan():
    weights = []
    plain = GANConfig(objective="minimax", latent=4, width=4, lr_generator=None)
    for config in (plain, UnrolledConfig(latent=4, width=4, unroll=0, lr=plain.lr, lr_generator=plain.lr)):
        torch.manual_seed(0)
        method = fit(config.build(SHAPE, 3), stream(), TrainOptions(images=80, batch=8))
        weights.append(dict(method.named_parameters()))
    assert all(torch.equal(weights[1][name], value) for name, value in weights[0].items())


def test_the_unrolled_generator_learns_through_the_steps_of_the_discriminator():
    method = UnrolledConfig(latent=2, width=4, unroll=1, lr=0.5).build(SHAPE, 3)
    method.discriminator = nn.Sequential(nn.Flatten(0), nn.Linear(1, 1, bias=False))
    method.discriminator[1].weight.data.fill_(0.3)
    real, fake, w = torch.tensor([[2.0]]), torch.tensor([[0.7]], requires_grad=True), 0.3
    (ahead,) = method.unrolled(real, fake).values()
    real_sigmoid, fake_sigmoid = torch.sigmoid(torch.tensor([-w * 2.0, w * 0.7]))
    gradient = 0.7 * fake_sigmoid - 2.0 * real_sigmoid
    torch.testing.assert_close(ahead.squeeze(), w - 0.5 * gradient.sign())  # Adam's first step
    (derivative,) = torch.autograd.grad(ahead.squeeze(), fake)  # d/df of -0.5 f sigmoid(w f) / |gradient|
    by_hand = -0.5 * (fake_sigmoid + 0.7 * w * fake_sigmoid * (1 - fake_sigmoid)) / gradient.abs()
    torch.testing.assert_close(derivative.squeeze(), by_hand)


def test_combinations_without_sense_are_refused_in_a_sentence():
    for config, why in (
        (GANConfig(spectral=True), "batch normalisation undoes the bound"),
        (GANConfig(net="resnet", hidden=16), "no fully connected hidden layer, got hidden 16"),
        (GANConfig(net="r3gan"), "use --norm none .*got norm 'batch'"),
        (WGANGPConfig(net="r3gan", norm="none", consistency=2.0, dropout=0.2), "no dropout, got 0.2"),
        (GANConfig(net="r3gan", norm="none", hidden=8), "no fully connected hidden layer, got hidden 8"),
        (WGANGPConfig(norm="batch"), "one image at a time, not batch normalisation"),
        (WGANGPConfig(minibatch=True), "one image at a time, not minibatch discrimination"),
    ):
        with pytest.raises(ValueError, match=why):
            config.build(SHAPE, 3)
    for kind, options, why in (
        (WGANConfig, {"spectral": True, "norm": "none"}, "weight_clip 0.01 has no effect"),
        (WGANGPConfig, {"consistency": 2.0}, "dropout > 0"),
        (UnrolledConfig, {"replay": 64}, "without replay"),
        (GANConfig, {"generators": 0}, "generators must be .*, got 0"),
        (OTGANConfig, {"blur": 0.0}, "blur must be .*, got 0"),
    ):
        with pytest.raises(ValueError, match=why):
            kind(**options)


def test_the_weight_of_fakes_keeps_the_equilibrium_of_began():
    for diversity, at, direction in ((1.0, 0.5, 1), (0.0, 0.5, -1), (1.0, 1.0, 0), (0.0, 0.0, 0)):
        torch.manual_seed(0)
        method = BEGANConfig(latent=4, width=4, code=4, diversity=diversity, gain=0.1).build(SHAPE, 3)
        method.generator, method.decoder = Constant(method.generator, 0.6), Constant(method.decoder, 0.5)
        method.k.fill_(at)
        seen = {}

        class Record(Update):
            def __call__(self, name, loss, leaves=(), seen=seen):
                seen[name] = loss.detach()

        found = method.step(stream(), Record(method.optimizers()))
        real = found["error_real"]
        torch.testing.assert_close(found["error_fake"], torch.tensor(0.1))
        torch.testing.assert_close(seen["discriminator"], real - at * 0.1)
        torch.testing.assert_close(found["convergence"], real + (diversity * real - 0.1).abs())
        step = 0.1 * (diversity * real - 0.1)
        torch.testing.assert_close(method.k, (at + step).clamp(0, 1))
        assert torch.sign(method.k - at) == direction and real > 0.1


class Constant(torch.nn.Module):
    """Images of one grey, whatever `net` says of the input."""

    def __init__(self, net, grey):
        super().__init__()
        self.net, self.grey = net, grey

    def forward(self, z):
        return self.grey + 0 * self.net(z)
