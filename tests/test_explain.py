"""Explanations against models whose reasons are known, and the attack that moves a map but not the answer."""

import pytest
import torch
from torch import nn

from attacks.core.ball import L2, Linf
from attacks.explanation import ExplanationAttack, relu_as_softplus
from attacks.noise import RandomNoise
from genlab import DataOptions
from genlab.data import Stream
from genlab.explain.dream import deep_dream
from genlab.explain.filters import degrees, maximise_filters
from genlab.explain.grad_cam import grad_cam
from genlab.explain.gradients import class_output, input_gradient, integrated_gradients, saliency, smooth_grad
from genlab.explain.guided import guided_backpropagation, guided_gradient
from genlab.explain.layers import activations
from genlab.explain.lime import lime, superpixels
from genlab.explain.lrp import lrp
from genlab.explain.maximise import maximise, maximise_through
from genlab.explain.measure import deletion, overlap, rank_correlation, top_pixels
from genlab.explain.mimic import answers, fidelity, mimic, pixels
from genlab.explain.occlusion import occlusion
from genlab.explain.style import gram, style_distance, style_transfer
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.nets.classifiers import cnn, mlp, resnet, shallow
from genlab.nets.spatial_transformer import SpatialTransformer
from genlab.training.loop import fit
from genlab.training.method import TrainOptions

X, Y = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])


class Linear(nn.Module):
    """logits = W x"""

    def __init__(self):
        super().__init__()
        g = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(3, 3, 8, 8, generator=g))

    def forward(self, x):
        return torch.einsum("kchw,nchw->nk", self.weight, x)


def net(classes=3, shape=(3, 8, 8)):
    torch.manual_seed(0)
    return cnn(shape, classes, 4)


MAPS = {
    "saliency": saliency,
    "smooth_grad": lambda *a: smooth_grad(*a, n=3),
    "integrated_gradients": integrated_gradients,
    "occlusion": occlusion,
    "grad_cam": grad_cam,
    "guided_backpropagation": guided_backpropagation,
    "lrp": lrp,
    "lrp, z+": lambda *a: lrp(*a, rule="z+"),
    "lime": lambda m, x, y: lime(m, x, y, torch.arange(64).view(8, 8).expand(len(x), 8, 8) // 16, n=40),
}


# --- what every map keeps


@pytest.mark.parametrize("name", MAPS)
def test_maps_leave_the_model_as_it_was_and_rows_alone(name):
    model = nn.Sequential(nn.BatchNorm2d(3), net())
    model[1].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.get_rng_state()
    with torch.no_grad():
        found = MAPS[name](model, X, Y)
    assert found.shape == (4, 8, 8) and found.isfinite().all() and not found.requires_grad
    assert model.training and not model[1].training and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    if name not in ("smooth_grad", "lime"):  # whose noise depends on the place in the batch
        torch.testing.assert_close(MAPS[name](model, X[2:], Y[2:]), found[2:])


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("y", [torch.tensor([0, 1, 3, 0]), torch.tensor([0, 1, -1, 0])])
def test_a_class_that_the_model_does_not_have_is_refused(name, y):
    with pytest.raises(ValueError, match="class below 3"):
        MAPS[name](net(), X, y)


# --- closed forms


def test_the_slope_of_a_linear_model_is_its_weight():
    model = Linear()
    weight = model.weight.detach()[Y]
    torch.testing.assert_close(input_gradient(model, X, Y), weight)
    torch.testing.assert_close(saliency(model, X, Y), weight.abs().amax(1))
    torch.testing.assert_close(smooth_grad(model, X, Y, n=5), weight.abs().amax(1))
    torch.testing.assert_close(integrated_gradients(model, X, Y, baseline=0.5), ((X - 0.5) * weight).sum(1))


def test_integrated_gradients_are_complete():
    model = net()
    with torch.no_grad():
        rise = class_output(model(X), Y) - class_output(model(torch.zeros_like(X)), Y)
    torch.testing.assert_close(integrated_gradients(model, X, Y, steps=400).sum((1, 2)), rise, rtol=0.02, atol=1e-4)


def test_a_slope_that_has_saturated_says_nothing_but_its_integral_does():
    model = lambda x: torch.stack([-(0.5 - x.mean((1, 2, 3))).relu(), x.mean((1, 2, 3)) * 0], 1)
    x, y = torch.full((1, 3, 8, 8), 0.9), torch.tensor([0])
    assert saliency(model, x, y).abs().max() == 0
    assert integrated_gradients(model, x, y, steps=90).sum().item() == pytest.approx(0.5, abs=1e-3)


def test_occlusion_finds_the_pixel_that_counts_and_black_hides_nothing_on_black():
    model = lambda x: torch.stack([10 * x[:, 0, 2, 5], torch.full((len(x),), 5.0)], 1)
    x, y = torch.zeros(1, 1, 8, 8), torch.tensor([0])
    x[0, 0, 2, 5] = 1.0
    found = occlusion(model, x, y, size=1, value=0.0)
    expected = torch.zeros(1, 8, 8)
    expected[0, 2, 5] = torch.tensor(5.0).sigmoid() - torch.tensor(-5.0).sigmoid()
    torch.testing.assert_close(found, expected)
    wide = occlusion(model, x, y, size=3, value=0.0, stride=2)
    assert wide[0, 2, 5] > 0 and wide[0, 6:].abs().max() == 0
    assert occlusion(model, 0 * x, y, value=0.0).abs().max() == 0
    with pytest.raises(ValueError, match=r"side in \[1, 8\] and moves by at least 1, got 9 and 1"):
        occlusion(model, x, y, size=9)


def test_grad_cam_before_a_mean_is_the_class_activation_map():
    torch.manual_seed(0)
    layer, head = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(5, 3)
    model = nn.Sequential(layer, nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    with torch.no_grad():
        expected = torch.einsum("nk,nkhw->nhw", head.weight[Y] / 64, layer(X)).relu()
    torch.testing.assert_close(grad_cam(model, X, Y), expected)
    in_place = nn.Sequential(layer, nn.ReLU(inplace=True), *model[2:])
    assert not torch.equal(grad_cam(in_place, X, Y), grad_cam(in_place, X, Y, in_place[1]))
    with pytest.raises(ValueError, match="needs a convolution"):
        grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), X, Y)
    with pytest.raises(ValueError, match=r"maps \(N, K, h, w\)"):
        grad_cam(model, X, Y, head)


def test_guided_backpropagation_is_the_gradient_where_there_is_no_relu_and_lets_no_negative_one_through_any():
    without = shallow((3, 8, 8), 3, 4)
    assert torch.equal(guided_gradient(without, X, Y), input_gradient(without, X, Y))
    first, second = nn.Linear(192, 2), nn.Linear(2, 3)
    with torch.no_grad():
        first.bias.fill_(100.0)  # every unit is on
        second.weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0], [-5.0, -6.0]]))
    model = nn.Sequential(nn.Flatten(), first, nn.ReLU(inplace=True), second)
    passed = second.weight.detach()[Y].clamp(min=0)
    torch.testing.assert_close(guided_gradient(model, X, Y).flatten(1), passed @ first.weight.detach())
    assert not model[2]._forward_hooks


@pytest.mark.parametrize("build", [cnn, mlp, shallow, resnet])
@pytest.mark.parametrize("rule", ["epsilon", "z+"])
def test_relevance_is_conserved(build, rule):
    torch.manual_seed(0)
    model = build((3, 8, 8), 3, 16).double()
    for layer in model.modules():
        if getattr(layer, "bias", None) is not None:
            nn.init.zeros_(layer.bias)
    x = X.double()
    logit = class_output(model.eval()(x), Y)
    torch.testing.assert_close(lrp(model, x, Y, rule, eps=1e-9).sum((1, 2)), logit, rtol=1e-4, atol=1e-4)


def test_with_biases_epsilon_is_the_input_times_the_gradient_and_z_plus_is_conserved_and_has_the_sign_of_the_logit():
    model = net().double()
    x = X.double()
    for layer in model.modules():
        if getattr(layer, "bias", None) is not None:
            nn.init.uniform_(layer.bias, -0.1, 0.1)
    expected = ((x - 0.5) * input_gradient(model, x, Y)).sum(1)  # the network subtracts 0.5 before its first weights
    torch.testing.assert_close(lrp(model, x, Y, eps=1e-9), expected, rtol=1e-4, atol=1e-6)
    found, logit = lrp(model, x, Y, "z+"), class_output(model(x), Y)
    torch.testing.assert_close(found.sum((1, 2)), logit)
    assert (found * logit[:, None, None].sign() >= 0).all()
    assert lrp(model, x, Y, eps=1.0).abs().sum() < expected.abs().sum()
    with pytest.raises(ValueError, match="epsilon with a finite eps of at least 0, or z\\+, got 'gamma'"):
        lrp(model, x, Y, "gamma")
    with pytest.raises(ValueError, match="sees every pixel"):
        lrp(nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(48, 3)), X, Y)


def test_lime_reads_a_model_that_is_linear_in_superpixels():
    groups = (torch.arange(64).view(8, 8) // 16)[None]  # four stripes
    adds = torch.tensor([0.3, -0.1, 0.0, 0.2])

    def model(x):
        p = 0.2 + (x.mean(1).view(len(x), 4, 16).mean(2) * adds).sum(1)
        return torch.stack([p, 1 - p], 1).log()

    found = lime(model, torch.ones(1, 3, 8, 8), torch.tensor([0]), groups, ridge=1e-6)
    torch.testing.assert_close(found, adds[groups], atol=1e-4, rtol=1e-3)


def test_superpixels_are_connected_by_place_and_colour():
    x = torch.zeros(1, 8, 8)
    x[:, :, 4:] = 1.0
    assert (superpixels(x, 2, colour=5.0) == superpixels(x, 2, colour=5.0)[0, 0]).eq(x[0] == 0).all()
    assert superpixels(x, 64).unique().tolist() == list(range(64))
    with pytest.raises(ValueError, match="1 to 64 superpixels, got 65"):
        superpixels(x, 65)


def test_the_liked_picture_of_a_linear_model_is_white_where_the_weight_is_above_the_price():
    model = Linear()
    for price in (torch.tensor(0.7), torch.linspace(0.5, 0.9, len(X))):  # of all, of each
        found = maximise(model, Y, torch.full_like(X, 0.5), l1=price, steps=60, lr=0.1)
        assert torch.equal(found, (model.weight.detach()[Y] > price.view(-1, 1, 1, 1)).float())


def test_the_image_that_a_linear_filter_responds_to_most_is_a_corner_of_the_box():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, 8)  # as large as the image
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(5, 3))
    channels = torch.tensor([4, 0])
    found = maximise_filters(model, layer, channels, torch.full((2, 3, 8, 8), 0.5), steps=40, lr=0.1)
    assert torch.equal(found, (layer.weight.detach()[channels] > 0).float())
    with torch.no_grad():
        torch.testing.assert_close(degrees(model, layer, found), layer(found).flatten(1))
    flat = maximise_filters(model, layer, channels, 0 * X[:2] + 0.5, smooth=1e4, steps=40, lr=0.01)
    assert flat.std((2, 3)).max() < 0.05
    with pytest.raises(ValueError, match="a channel below 5 each, got \\[5, 0\\]"):
        maximise_filters(model, layer, torch.tensor([5, 0]), X[:2])


def test_activations_are_those_before_an_in_place_layer_of_images_of_any_size():
    torch.manual_seed(0)
    model = net()
    larger = torch.rand(2, 3, 12, 20)
    before, after = activations(model, larger, [model[1], model[2]])
    assert before.min() < 0 and torch.equal(before.relu(), after)
    with pytest.raises(ValueError, match="does not use its layer Conv2d"):
        activations(model, X, [nn.Conv2d(3, 3, 1)])


def test_a_dream_amplifies_what_a_layer_sees():
    model = net()
    strength = lambda x: activations(model, x, [model[5]])[0].detach().square().sum((1, 2, 3))
    found = deep_dream(model, model[5], X, octaves=2, steps=4)
    assert found.shape == X.shape and 0 <= found.min() and found.max() <= 1
    assert (strength(found) > 1.5 * strength(X)).all()
    layer = nn.Conv2d(1, 1, 1, bias=False)  # a = 2 x: what is positive becomes more so
    nn.init.constant_(layer.weight, 2.0)
    grey = torch.full((1, 1, 8, 8), 0.5)
    torch.testing.assert_close(deep_dream(layer, layer, grey, 1, steps=3, step_size=0.1), grey + 0.3)
    with pytest.raises(ValueError, match="5 octaves make the image 2x2 pixels"):
        deep_dream(model, model[5], X, octaves=5)


def test_gram_matrices_in_closed_form_forget_the_place():
    a = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])  # two channels, two positions
    torch.testing.assert_close(gram(a), torch.tensor([[[2.5, 0.5], [0.5, 5.0]]]))
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    shuffled = X.flatten(2)[:, :, torch.randperm(64)].view_as(X)
    with torch.no_grad():
        torch.testing.assert_close(style_distance(model, [model[1]], shuffled, X), torch.zeros(4))
        assert (style_distance(model, [model[1]], 0.5 * X, X) > 0.1).all()


def test_a_transfer_comes_nearer_to_the_style_and_without_weight_stays():
    model = net()
    style = X[:, :, :6].roll(1, 0)
    found = style_transfer(model, X, style, model[4], [model[2], model[5]], weight=10.0, smooth=0.0, steps=20)
    with torch.no_grad():
        before, after = (style_distance(model, [model[2], model[5]], x, style) for x in (X, found))
    assert found.shape == X.shape and (after < 0.5 * before).all()
    stays = style_transfer(model, X, style, model[4], [model[2]], weight=0.0, smooth=0.0, steps=2)
    torch.testing.assert_close(stays, X)
    with pytest.raises(ValueError, match="4 images need as many styles, got 2"):
        style_transfer(model, X, style[:2], model[4], [model[2]])


def test_a_tree_mimics_a_network_that_is_a_tree_and_its_questions_are_the_rule():
    def rule(x):
        bright, left = x[:, :, 4:6, 2:4].mean((1, 2, 3)) > 0.5, x[:, :, :2, :2].mean((1, 2, 3)) > 0.5
        return nn.functional.one_hot(torch.where(bright, 0, torch.where(left, 1, 2)), 3).float()

    x = (torch.rand(600, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    y = answers(rule, x)
    found = mimic(x[:300], y[:300], pixels(x, 2), depth=2)
    assert fidelity(found, x[300:], y[300:]) == 1.0
    assert "row 2, column 1" in found.text() and "row 0, column 0" in found.text()
    assert fidelity(mimic(x[:300], y[:300], pixels(x, 2), depth=1), x[300:], y[300:]) < 0.9
    with pytest.raises(ValueError, match="depth of at least 1, got 0"):
        mimic(x, y, pixels(x), 0)
    with pytest.raises(ValueError, match="sides from 1 to 8 pixels, got 9"):
        pixels(x, 9)


def test_through_a_generator_the_prior_holds_the_latent_back():
    target = torch.tensor([1.0, -2.0])
    generator = lambda z: z[:, :, None, None].expand(-1, -1, 2, 2)
    model = lambda x: -(x[:, :, 0, 0] - target).square().sum(1, keepdim=True)
    for prior in (0.0, 2.0):
        found = maximise_through(
            model, torch.zeros(3, dtype=torch.int64), generator, torch.zeros(3, 2), prior, 400, 0.1
        )
        torch.testing.assert_close(found[:, :, 0, 0], (target / (1 + prior / 2)).expand(3, 2), atol=1e-2, rtol=1e-2)


def test_maps_are_measured():
    maps = torch.arange(64.0).view(1, 8, 8)
    assert top_pixels(maps, 0.25).flatten().tolist() == [False] * 48 + [True] * 16
    assert overlap(maps, maps).item() == 1 and overlap(maps, -maps).item() == 0
    assert rank_correlation(maps, 2 * maps + 1).item() == pytest.approx(1)
    assert rank_correlation(maps, -maps).item() == pytest.approx(-1)
    model = lambda x: torch.stack([x.mean((1, 2, 3)).log(), (1 - x.mean((1, 2, 3))).log()], 1)
    left = deletion(model, torch.full((1, 1, 8, 8), 0.8), torch.tensor([0]), maps, (0.25, 0.5))
    assert left == pytest.approx([0.6, 0.4])
    with pytest.raises(ValueError, match=r"lies in \(0, 1\], got 0"):
        top_pixels(maps, 0.0)


# --- the attack


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.6)])
def test_the_map_moves_and_the_answer_stays(ball):
    torch.manual_seed(0)
    data = DataOptions("digits")
    train, test = data.load("train"), data.load("test").subset(slice(0, 40))
    method = ClassifierConfig(width=4).build(train.shape, 10).to(train.device)
    fit(method, Stream(train, 32), TrainOptions(images=9600, batch=32, schedule="cosine"))
    answer = method(test.x).argmax(1)
    before = saliency(method, test.x, answer)
    adv = ExplanationAttack(ball, steps=30)(method, test.x, test.labels)
    assert torch.equal(method(adv).argmax(1), answer)
    assert (ball.size(adv - test.x) <= ball.eps * (1 + 1e-5)).all()
    common = lambda x: overlap(before, saliency(method, x, answer)).mean()
    assert common(adv) < common(RandomNoise(ball)(method, test.x, test.labels)) - 0.15


def test_relu_is_softened_only_meanwhile_also_after_an_exception():
    model, x = net(), torch.rand(2, 3, 8, 8)
    before = model(x)
    with pytest.raises(RuntimeError, match="stop"), relu_as_softplus(model, 1.0):
        assert not torch.allclose(model(x), before)
        raise RuntimeError("stop")
    assert torch.equal(model(x), before)
    with relu_as_softplus(model, 1e4):
        torch.testing.assert_close(model(x), before, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["spatial transformer", "around the first layer"])
def test_relevance_that_bypasses_the_first_layer_is_refused(kind):
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(64, 3)

        def forward(self, x):
            return self.head((x + self.first(x).relu()).flatten(1))

    behind = nn.Sequential(SpatialTransformer((1, 8, 8)), nn.Flatten(), nn.Linear(64, 3))
    model = behind if kind == "spatial transformer" else Around()
    with pytest.raises(ValueError, match="all paths go through its first layer"):
        lrp(model, torch.rand(2, 1, 8, 8), torch.tensor([0, 1]))


def test_maps_are_the_same_in_inference_mode_and_of_networks_that_begin_in_place():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 3))
    x, y = torch.rand(2, 1, 8, 8), torch.tensor([0, 1])
    for method in (guided_backpropagation, lrp):
        expected = method(model, x, y)
        with torch.inference_mode():
            assert torch.equal(method(model, x, y), expected)
    with pytest.raises(ValueError, match="finite eps of at least 0, .*nan"):
        lrp(model, x, y, "epsilon", float("nan"))


def test_a_layer_may_hold_content_and_style():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 100, 3))
    found = style_transfer(model, torch.rand(1, 1, 9, 9), torch.rand(1, 1, 5, 7), model[0], [model[0]], steps=1)
    assert found.shape == (1, 1, 9, 9)
    for wrong in ({"steps": 0}, {"weight": float("nan")}):
        with pytest.raises(ValueError, match="must be"):
            style_transfer(model, torch.rand(1, 1, 9, 9), torch.rand(1, 1, 5, 7), model[0], [model[0]], **wrong)
