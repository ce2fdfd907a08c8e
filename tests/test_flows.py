"""Flows: they invert, their log-determinants are those of autograd's Jacobian, and their densities integrate to one."""

from math import log, pi

import pytest
import torch
from torch.autograd.functional import jacobian
from toys import images, make, stream

from genlab.data.points import swiss_roll
from genlab.likelihood.units import dequantise
from genlab.methods.likelihood.flow import FlowConfig
from genlab.nets.coupling import ConvNet, Coupling, MaskedCoupling, PointNet, checkerboard
from genlab.nets.flow import ActNorm, Affine, Chain, InvertibleConv1x1, Layer, Logit
from genlab.nets.glow import flow
from genlab.nets.glow_references import normflows, unfused_glow
from genlab.nets.multiscale import Flatten, Squeeze
from genlab.theory.plane import train_points
from genlab.training.loop import fit
from genlab.training.method import TrainOptions

IMAGE, POINT = (4, 4, 4), (4,)
LAYERS = {
    "affine": (Affine(-2.0, 1.0), IMAGE),
    "logit": (Logit(0.05), IMAGE),
    "flatten": (Flatten(IMAGE), IMAGE),
    "squeeze": (Squeeze(), IMAGE),
    "actnorm": (ActNorm(4), IMAGE),
    "actnorm of points": (ActNorm(4), POINT),
    "mix": (InvertibleConv1x1(4), IMAGE),
    "mix of points": (InvertibleConv1x1(4), POINT),
    "additive": (Coupling(ConvNet(2, 2, 8), affine=False), IMAGE),
    "affine coupling": (Coupling(ConvNet(2, 4, 8), swap=True), IMAGE),
    "additive checkerboard": (MaskedCoupling(ConvNet(4, 4, 8), checkerboard(4, 4), affine=False), IMAGE),
    "affine checkerboard": (MaskedCoupling(ConvNet(4, 8, 8), checkerboard(4, 4, odd=True)), IMAGE),
    "coupling of points": (MaskedCoupling(PointNet(4, 8, 8), checkerboard(4)), POINT),
    **{
        f"{kind} {shape}": (flow(kind, shape, 2, 2, 8), shape)
        for kind in ("nice", "realnvp", "glow")
        for shape in ((1, 8, 8), (3, 4, 4), (2,), (3,))
    },
    **{f"{kind}, all positions": (flow(kind, (1, 8, 8), 2, 1, 2, True, 2), (1, 8, 8)) for kind in ("realnvp", "glow")},
}


def stirred(layer, shape, seed=0):
    """The layer away from its start, and inputs in [0, 1]."""
    torch.manual_seed(seed)
    x = 0.05 + 0.9 * torch.rand(5, *shape)
    layer.train()(x)  # ActNorm measures
    for p in layer.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    return layer.eval(), x


def jacobians(layer, x):
    """(N, D, D) of a layer that looks at every example alone."""
    found = jacobian(lambda v: layer(v)[0].sum(0).flatten(), x)  # (D, N, ...)
    return found.flatten(2).transpose(0, 1)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_invert_and_know_their_determinant(name):
    layer, x = stirred(*LAYERS[name])
    z, log_det = layer(x)
    assert torch.allclose(layer.inverse(z), x, atol=1e-4)
    found = torch.linalg.slogdet(jacobians(layer, x).double())[1].float()
    assert torch.allclose(torch.as_tensor(log_det).expand(5), found, atol=1e-3)


class Matrix(Layer):
    """x -> (x_1 + x_2, 2 x_1), whose Jacobian is [[1, 1], [2, 0]]."""

    def forward(self, x):
        return torch.stack([x[:, 0] + x[:, 1], 2 * x[:, 0]], 1), log(2)

    def inverse(self, z):
        return torch.stack([z[:, 1] / 2, z[:, 0] - z[:, 1] / 2], 1)


def test_the_examples_of_a_change_of_variables():
    """x = 2 z + 1 halves the density; J = [[1, 1], [2, 0]] and its inverse have determinants -2 and -1/2."""
    z = torch.rand(100, 1)
    line = Affine(0.5, -0.5)  # from x back to z
    x = line.inverse(z)
    assert torch.allclose(x, 2 * z + 1) and torch.allclose(line(x)[0], z)
    assert line(x)[1] == pytest.approx(log(1 / 2))  # p(x) = p(z) / 2
    layer, points = Matrix(), torch.randn(3, 2)
    z, log_det = layer(points)
    assert jacobians(layer, points)[0].tolist() == [[1, 1], [2, 0]] and torch.allclose(layer.inverse(z), points)
    assert torch.linalg.det(jacobians(layer, points)[0]).item() == pytest.approx(-2) and log_det == pytest.approx(
        log(2)
    )
    back = jacobian(lambda v: layer.inverse(v[None])[0], z[0])
    assert torch.linalg.det(back).item() == pytest.approx(-0.5)


def test_the_matrix_starts_as_a_rotation_and_its_factors_give_the_determinant():
    torch.manual_seed(0)
    mix = InvertibleConv1x1(6)
    assert torch.allclose(mix.weight() @ mix.weight().T, torch.eye(6), atol=1e-5)
    for p in mix.parameters():
        p.data.add_(0.3 * torch.randn_like(p))
    sign, log_det = torch.linalg.slogdet(mix.weight())
    assert log_det.item() == pytest.approx(mix.log_diagonal.sum().item(), abs=1e-4)
    assert torch.allclose(mix.eval()(torch.zeros(2, 6, 5, 7))[1], 35 * (mix.log_scale.sum() + log_det), atol=1e-3)


@pytest.mark.parametrize("kind", [ActNorm, InvertibleConv1x1])
def test_the_first_batch_of_training_leaves_white_and_is_the_only_one_measured(kind):
    torch.manual_seed(0)
    layer, x = kind(4), 3 + 5 * torch.randn(200, 4, 6, 6)
    assert layer.eval()(x)[0].std() > 3
    z, _ = layer.train()(x)
    assert z.mean((0, 2, 3)).abs().max() < 1e-4
    again, _ = layer(10 * x)
    assert again.std() > 5
    if kind is ActNorm:
        assert torch.allclose(z.std((0, 2, 3)), torch.ones(4), atol=1e-3)
    restored = kind(4)
    restored.load_state_dict(layer.state_dict())
    assert torch.allclose(restored.train()(10 * x)[0], again)


def test_actnorm_takes_no_deviation_far_below_the_others():
    x = torch.cat([torch.randn(500, 1), torch.zeros(500, 1)], 1)
    z, _ = ActNorm(2, least=0.1).train()(x + 1e-3)
    assert z[:, 1].abs().max() < 1 and ActNorm(2, least=0.1).train()(x)[1] < log(1 / 0.05)


@pytest.mark.parametrize("net", ["nice", "realnvp", "glow"])
def test_pixels_come_back_exactly_also_on_28x28_and_after_bfloat16(net):
    config = FlowConfig(net=net, width=8, steps=2, position_bias=net == "glow")
    for shape in ((1, 8, 8), (1, 28, 28), (3, 16, 16)):
        torch.manual_seed(0)
        x = torch.randint(256, (40, *shape)) / 255
        method = config.build(shape, 0).train()
        with torch.autocast("cpu", torch.bfloat16):
            density = method.density(dequantise(x))
        assert density.isfinite().all() and density.dtype == torch.float32
        method.eval()
        with torch.no_grad():
            assert torch.equal(method.reconstruct(x), x)
            z = method.encode(x)
            assert z.shape == (40, method.dimensions)
            assert torch.equal(method.interpolate(x[:2], x[2:4], 3)[[0, 2, 3, 5]], x[[0, 2, 1, 3]])


def test_training_in_bfloat16_stays_finite_and_invertible():
    method = make("flow glow")
    fit(method, stream(32), TrainOptions(images=800, precision="bfloat16", clip=1.0))
    x = images().x
    with torch.no_grad():
        assert torch.equal(method.reconstruct(x), x)
        with torch.autocast("cpu", torch.bfloat16):
            z, log_det = method.net(dequantise(x))
            back = method.net.inverse(z)
        assert log_det.isfinite().all() and (back - x).abs().mean() < 0.05


@pytest.mark.parametrize("net", ["nice", "realnvp", "glow"])
def test_the_density_of_points_integrates_to_one(net):
    torch.manual_seed(0)
    points = swiss_roll(5000, spread=0.15)
    method = train_points(FlowConfig(net=net, steps=4, width=32, lr=5e-3).build((2,), 0), points, 150)
    line = torch.linspace(-6, 6, 181)
    with torch.no_grad():
        mass = method.log_prob(torch.cartesian_prod(line, line)).exp().sum() * (line[1] - line[0]) ** 2
        gaussian = -log(2 * pi) - 0.5 - points.x.var(0).log().sum() / 2 - 0.5
        assert mass.item() == pytest.approx(1, abs=0.01)
        assert method.evaluate(points)["nats"] < -gaussian.item() + (0.05 if net == "nice" else -0.05)
        z = method.encode(points.x)
    assert torch.allclose(method.decode(z), points.x, atol=1e-3) and method.sample(9).shape == (9, 2)


def test_the_bound_of_an_identity_is_a_cross_entropy():
    """Untrained, it takes pixels for N(1/2, I): of even noise that costs 8 bits and the divergence between the two."""
    method = FlowConfig(net="nice", steps=1, width=4, logit=0.0).build((1, 4, 4), 0).eval()
    x = torch.randint(256, (2000, 1, 4, 4), generator=torch.Generator().manual_seed(0)) / 255
    nats = -method.log_prob(x).mean() / 16
    expected = log(256) + log(2 * pi) / 2 + 1 / 24  # E z² / 2 of z uniform on [-1/2, 1/2]
    assert nats.item() == pytest.approx(expected, abs=0.01)


def test_temperature_scales_the_latents():
    method, data = make("flow glow"), stream(32)
    fit(method, data, TrainOptions(images=1600))
    torch.manual_seed(0)
    cold = method.sample(200, temperature=0.0)
    assert torch.equal(cold, cold[:1].expand_as(cold))
    spread = [method.sample(200, temperature=t).std(0).mean() for t in (0.3, 0.7, 1.0)]
    assert spread[0] < spread[1] < spread[2]


def test_log_prob_is_an_average_over_the_noise_and_images_come_in_eight_bits():
    method, x = make("flow nice").eval(), images().x[:4]
    assert not torch.equal(method.log_prob(x), method.log_prob(x))
    levels = method.sample(5) * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    points = FlowConfig(net="nice").build((2,), 0).eval()
    assert torch.equal(points.log_prob(torch.ones(2, 2)), points.log_prob(torch.ones(2, 2)))


@pytest.mark.parametrize(
    ("options", "shape", "sentence"),
    [
        (
            dict(levels=3),
            (1, 28, 28),
            "--levels: the flow halves the sides 3 times, which images of 28x28 .* do not allow",
        ),
        (dict(net="realnvp"), (1, 9, 8), "halves the sides once, which images of 9x8 .* do not allow"),
        (dict(steps=0), (1, 8, 8), "steps must be at least 1 .*, got 0"),
        (dict(net="nice", dense=2), (1, 8, 8), "--dense are for realnvp and glow, not for --net nice"),
        (dict(net="nice", position_bias=True), (1, 8, 8), "for realnvp and glow, not for --net nice"),
        (dict(net="nice"), (1,), r"at least 2 dimensions, got the shape \(1,\)"),
        (dict(logit=1.5), (1, 8, 8), "logit must be at least 0 and below 1, got 1.5"),
    ],
)
def test_flows_that_cannot_be_are_refused_in_a_sentence(options, shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        FlowConfig(**options).build(shape, 0)


def test_images_and_latents_of_another_size_are_refused_in_a_sentence():
    method = make("flow glow")
    for use, x, wanted in (
        (method.log_prob, torch.zeros(2, 1, 4, 4), r"\(N, 1, 8, 8\) here, got \(2, 1, 4, 4\)"),
        (method.encode, torch.zeros(2, 1, 4, 4), r"\(N, 1, 8, 8\) here"),
        (method.decode, torch.zeros(2, 3), r"\(N, 64\) here, got \(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=wanted):
            use(x)


def test_the_flow_it_is_timed_against_knows_its_determinant_too():
    net, x = stirred(unfused_glow((1, 8, 8), 2, 8), (1, 8, 8))
    found = torch.linalg.slogdet(jacobians(net, x).double())[1].float()
    assert torch.allclose(net(x)[1], found, atol=1e-3)


def test_normflows_sees_the_same_latents():
    pytest.importorskip("normflows")
    assert normflows((1, 8, 8), 1, 4)(torch.rand(3, 1, 8, 8)).shape == (3,)


def test_chains_add_no_tensor_for_layers_that_keep_the_volume():
    net = Chain([Squeeze(), Flatten((4, 2, 2)), Affine(1.0, 2.0)])
    assert net(torch.rand(2, 1, 4, 4))[1] == 0.0 and isinstance(net(torch.rand(2, 1, 4, 4))[1], float)
