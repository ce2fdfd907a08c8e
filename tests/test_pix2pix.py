"""Translation from pairs: tasks, U-Net, patch discriminator and the losses, against closed forms."""

import pytest
import torch
from toys import SHAPE, images, make, stream

from genlab.data import Images
from genlab.data.pairs import GREY, Edges, Inpainting, SuperResolution, paired, task
from genlab.data.resize import luma
from genlab.methods.translation.pix2pix import Pix2PixConfig
from genlab.metrics.features import ClassifierFeatures
from genlab.metrics.partner import against_partners
from genlab.nets.classifiers import cnn
from genlab.nets.patch import PatchDiscriminator, deepest, receptive_field
from genlab.nets.unet import UNet
from genlab.training.update import Update


def picture(channels=3, side=8, n=4):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


# --- patch discriminator


@pytest.mark.parametrize(("layers", "side"), [(0, 1), (1, 16), (2, 34), (3, 70)])
def test_one_score_sees_a_patch_of_the_stated_size(layers, side):
    net = PatchDiscriminator((1, 96, 96), 1, layers, norm=False)  # normalisation would see the whole image
    x = torch.rand(1, 1, 96, 96, requires_grad=True)
    scores = net(x)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    seen = x.grad[0, 0] != 0
    assert seen.any(0).sum() == seen.any(1).sum() == side == receptive_field(layers) == net.patch


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_an_image_too_small_for_the_patches_is_refused_by_its_size(layers):
    least = 3 * 2**layers
    assert PatchDiscriminator((3, least, least), 4, layers)(picture(side=least)).shape == (4, 1, 1, 1)
    assert [deepest((3, least, side)) for side in (least, 99, least - 1)] == [layers, layers, layers - 1]
    with pytest.raises(ValueError, match=f"at least {least}x{least}, got {least}x{least - 1}"):
        PatchDiscriminator((3, least, least - 1), 4, layers)
    with pytest.raises(ValueError, match="got -1"):
        receptive_field(-1)


# --- U-Net


def test_a_u_net_keeps_every_size_that_its_stride_divides_and_refuses_others_by_name():
    net = UNet((3, 8, 8), 2, width=4, levels=2)
    for h, w in [(8, 8), (4, 12), (20, 16)]:
        y = net(torch.rand(2, 3, h, w))
        assert y.shape == (2, 2, h, w) and 0 <= y.min() and y.max() <= 1
    with pytest.raises(ValueError, match="multiples of 4, got 8x10"):
        net(torch.rand(2, 3, 8, 10))
    with pytest.raises(ValueError, match="3 times, which images of 20x20"):
        UNet((3, 20, 20), 3, levels=3)
    assert [UNet((1, side, side), 1, 4).stride for side in (8, 20, 28, 32)] == [8, 4, 4, 32]


def test_skip_connections_carry_what_the_bottleneck_does_not():
    net = UNet((1, 16, 16), 1, width=4, noise=0.0)
    torch.nn.init.zeros_(net.down[-1][1].weight)
    x = picture(1, 16)
    y = net(x)
    assert (y[0] - y[1]).abs().max() > 1e-4
    for up in net.up[1:]:
        half = up[1].weight.shape[0] // 2
        torch.nn.init.zeros_(up[1].weight[half:])  # what comes through the skip
    torch.testing.assert_close(net(x)[0], net(x)[1])


def test_dropout_draws_anew_in_eval_mode_unless_there_is_no_noise():
    x = picture(1, 16)
    noisy, plain = (UNet((1, 16, 16), 1, width=4, noise=noise).eval() for noise in (0.5, 0.0))
    assert not torch.equal(noisy(x), noisy(x)) and torch.equal(plain(x), plain(x))


# --- tasks


def test_super_resolution_gives_the_mean_of_every_block():
    x = picture(side=12)
    given, wanted = SuperResolution(4)(x)
    blocks = lambda image: image.unflatten(3, (3, 4)).unflatten(2, (3, 4))
    assert torch.equal(wanted, x)
    torch.testing.assert_close(blocks(given), blocks(x).mean((3, 5), keepdim=True).expand(-1, -1, -1, 4, -1, 4))
    with pytest.raises(ValueError, match="12x12 cannot be divided by the factor 5"):
        SuperResolution(5)(x)


def test_a_hole_is_a_grey_square_in_any_place_and_the_rest_is_left_alone():
    x = picture(side=6, n=400)
    given, wanted = Inpainting(4)(x)
    hidden = (given == GREY).all(1)
    assert torch.equal(wanted, x) and torch.equal(given.movedim(1, -1)[~hidden], x.movedim(1, -1)[~hidden])
    assert (hidden.sum((1, 2)) == 16).all() and (hidden.any(1).sum(1) == 4).all() and (hidden.any(2).sum(1) == 4).all()
    corners = 3 * hidden.any(2).int().argmax(1) + hidden.any(1).int().argmax(1)
    counts = corners.bincount(minlength=9)
    assert len(counts) == 9 and counts.min() > 25 and counts.max() < 70  # 44 are expected, 6 deviate
    with pytest.raises(ValueError, match="7x7 does not fit into images of 6x6"):
        Inpainting(7)(x)


def test_the_edges_of_a_square_are_its_outline():
    x = torch.zeros(1, 1, 6, 6)
    x[:, :, 2:4, 2:4] = 1
    line = Edges()(x)[0][0, 0] == 0
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[1, 2:4] = expected[3, 2:4] = expected[2:4, 1] = expected[2:4, 3] = True
    assert torch.equal(line, expected)
    assert (Edges(20)(0.15 * x)[0] == 1).all() and not (Edges(10)(0.15 * x)[0] == 1).all()


def test_a_grey_input_has_the_luma_of_the_colours():
    x = picture()
    given, wanted = task("colour")(x)
    assert torch.equal(wanted, x) and torch.equal(given[:, :1].expand_as(x), given)
    torch.testing.assert_close(luma(given), luma(x))
    with pytest.raises(ValueError, match="have 1"):
        task("colour")(x[:, :1])


def test_a_partner_is_the_image_in_its_style():
    from genlab.data.styles import night

    x = picture()
    given, wanted = task("partner:night")(x)
    assert torch.equal(given, x) and torch.equal(wanted, night(x)) and not torch.equal(given, wanted)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("inpaint:8", "did you mean 'inpainting'"),
        ("inpainting", "whole number"),
        ("super-resolution:1", "at least 2, got 1"),
        ("partner:nihgt", "did you mean 'night'"),
        ("edges:0", "1 to 100 percent, got 0"),
    ],
)
def test_a_task_that_does_not_exist_is_met_with_what_would_help(words, said):
    with pytest.raises(ValueError, match=said):
        task(words)(picture())


def test_the_pairs_of_a_set_are_decided_by_the_seed_alone():
    first, again, other = (paired(Inpainting(4), images(), seed) for seed in (0, 0, 1))
    assert (
        first.aligned and torch.equal(first.b.pixels, images().pixels) and torch.equal(first.a.labels, images().labels)
    )
    assert torch.equal(first.a.pixels, again.a.pixels) and not torch.equal(first.a.pixels, other.a.pixels)


# --- losses


def test_the_l1_distance_alone_draws_the_median_of_what_may_be():
    method = Pix2PixConfig("inpainting:8", gan=0.0, width=4, levels=1, lr=0.05).build(SHAPE, 3)
    x = torch.tensor([0.2] * 6 + [1.0] * 4).view(-1, 1, 1, 1).expand(-1, *SHAPE)  # the mean is 0.52
    batches, update = ((x, torch.zeros(len(x))) for _ in range(80)), Update(method.optimizers())
    for _ in range(80):
        method.step(batches, update)
    assert (method.translate(torch.full((1, *SHAPE), GREY)) - 0.2).abs().max() < 0.03


def test_the_discriminator_judges_pairs_and_not_pictures():
    method = make("pix2pix")
    given, wanted = method.task(next(stream())[0])
    judge = lambda a: method.discriminator(torch.cat([a, wanted], 1))
    assert not torch.allclose(judge(given), judge(given.roll(1, 0)))


def test_a_loss_of_weight_0_is_left_out_and_one_must_remain():
    assert make("pix2pix l1").discriminator is None and make("pix2pix gan").discriminator.patch == 1
    with pytest.raises(ValueError, match="must not all be 0"):
        Pix2PixConfig(gan=0.0, l1=0.0).build(SHAPE, 3)
    with pytest.raises(ValueError, match="to=0"):
        make("pix2pix").translate(picture(1), to=0)


# --- figures


def test_perfect_outputs_have_no_error_and_any_others_do():
    torch.manual_seed(0)
    test = Images((picture(n=40) * 255).byte(), torch.arange(40) % 3, ("a", "b", "c"), "noise")
    judge = ClassifierFeatures(cnn(test.shape, 3, 4).eval(), "untrained", test.shape)
    best, worse = (against_partners(x, test, judge) for x in (test.x, 1 - test.x))
    assert best["partner error"] == 0 and best["SSIM"] == 1 and best["PSNR"] == torch.inf
    assert best["FID[untrained]"] < 1e-3 < worse["FID[untrained]"]
    assert abs(worse["partner error"] - (1 - 2 * test.x).abs().mean()) < 1e-6


def test_two_sets_are_refused_in_a_sentence():
    method = make("pix2pix")
    with pytest.raises(ValueError, match="one set of images"):
        method.step(stream(8, "cyclegan"), Update(method.optimizers()))
