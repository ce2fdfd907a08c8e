"""Unpaired translation: domains with known partners, the translator, CycleGAN, StarGAN, their measures and command."""

import math
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.functional import pil_to_tensor
from toys import CLASSES, SHAPE, images, make, stream

import genlab
from genlab.cli.main import main
from genlab.data import DataError, Images, Pair, Stream, load
from genlab.data.domains import names, of_class, original
from genlab.data.jpeg import jpeg
from genlab.data.options import DataOptions
from genlab.data.styles import STYLES
from genlab.experiment import Experiment
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.gan.image_pool import ImagePool
from genlab.methods.translation.cyclegan import CycleGAN, CycleGANConfig, Frozen
from genlab.methods.translation.stargan import StarGAN, StarGANConfig
from genlab.metrics import similarity as similar
from genlab.metrics.features import ClassifierFeatures
from genlab.metrics.similarity import psnr, ssim
from genlab.metrics.translation import (
    PERTURBATIONS,
    content_preservation,
    cycle_errors,
    hidden_code,
    hidden_information,
    rounded,
    translation,
)
from genlab.nets.translator import Translator
from genlab.training.update import Update

same = lambda x: x


# ---- domains


@pytest.mark.parametrize("data", ["sprites,night:sprites", "digits,textured:digits", "grey:digits,styled:digits"])
def test_test_images_have_partners_and_training_images_have_none(data):
    a, b = (load(side, "test", size=16, channels=3) for side in data.split(","))
    pair, train = (load(f"unpaired:{data}", split, size=16, channels=3) for split in ("test", "train"))
    assert pair.aligned and not train.aligned
    assert torch.equal(pair.a.pixels, a.pixels) and torch.equal(pair.b.pixels, b.pixels)
    whole = [load(side, "train", size=16, channels=3) for side in data.split(",")]
    assert torch.equal(train.a.pixels, whole[0].pixels[0::2]) and torch.equal(train.b.pixels, whole[1].pixels[1::2])


def test_partners_are_functions_of_the_image():
    pair = load("unpaired:sprites,night:sprites", "test")
    again = (STYLES["night"](pair.a.x) * 255).round()
    assert torch.equal(again, pair.b.pixels.float())
    assert torch.equal(pair.a.labels, pair.b.labels) and pair.a.shape == pair.b.shape == (3, 20, 20)


def test_styles_lose_nothing_but_what_eight_bits_lose():
    x = load("digits", "test", size=16).x[:50]
    weave = STYLES["textured"](torch.zeros(1, 1, 16, 16))
    ink = STYLES["textured"](torch.ones(1, 1, 16, 16))
    found = ((STYLES["textured"](x) - weave) / (ink - weave)).mean(1, keepdim=True)
    torch.testing.assert_close(found, x)
    paper = STYLES["styled"](torch.zeros(1, 1, 16, 16))
    torch.testing.assert_close(1 - STYLES["styled"](x) / paper, x)
    for style in STYLES.values():
        assert style(x).min() >= 0 and style(x).max() <= 1


def test_names_tell_the_original_through_every_style():
    assert original("night:binary:mnist:3") == "mnist:3" and original("folder:a:b") == "folder:a:b"
    assert names("unpaired:grey:mnist,night:mnist") == ("grey:mnist", "night:mnist") and names("mnist") == ("mnist",)
    assert names("unpaired:some/folder") == ("A", "B")
    assert not load("unpaired:digits:3,digits:5", "test").aligned
    assert len(load("unpaired:digits,sprites", "train", size=8, channels=1).a) == 1437


def test_one_class_of_a_set_is_a_set():
    threes, everything = load("digits:3", "test"), load("digits", "test")
    assert threes.classes == ("3",) and torch.equal(threes.pixels, everything.pixels[everything.labels == 3])
    with pytest.raises(DataError, match="unknown class of sprites 'ghots': did you mean 'ghost'"):
        load("sprites:ghots")


def test_one_class_of_a_folder_is_a_set(tmp_path):
    for k, kind in enumerate(("cat", "dog") * 3):
        (tmp_path / kind).mkdir(exist_ok=True)
        Image.new("RGB", (6, 6), (40 * k, 0, 0)).save(tmp_path / kind / f"{k}.png")
    dogs = load(f"folder:{tmp_path}:dog", size=4)
    assert torch.equal(load(f"{tmp_path}:dog", size=4).pixels, dogs.pixels)
    assert dogs.classes == ("dog",) and dogs.labels.tolist() == [0, 0]
    assert set(dogs.pixels[:, 0, 0, 0].tolist()) <= {40, 120, 200}
    pair = load(f"unpaired:{tmp_path}:cat,folder:{tmp_path}:dog", "test", size=4)
    assert (len(pair.a), len(pair.b), pair.aligned) == (1, 1, False)
    with pytest.raises(DataError, match="unknown class of folder:.* 'dgo': did you mean 'dog'"):
        load(f"folder:{tmp_path}:dgo")


def test_channels_follow_the_style_unless_asked_for():
    shapes = {name: load(name, "test").shape[0] for name in ("grey:sprites", "textured:digits", "night:digits")}
    assert shapes == {"grey:sprites": 1, "textured:digits": 3, "night:digits": 1}
    assert load("unpaired:grey:sprites,sprites", "test").shape == (3, 20, 20)
    assert load("textured:digits", "test", channels=1).shape == (1, 8, 8)


def test_domains_are_labelled_by_their_number_and_share_no_original():
    data = "digits,night:digits,styled:digits"
    train, test = (load(f"domains:{data}", split) for split in ("train", "test"))
    assert train.classes == tuple(data.split(",")) and len(train) == 1437
    whole = load("night:digits")
    assert torch.equal(train.pixels[train.labels == 1], whole.pixels[1::3])
    assert torch.equal(train.factors["class"][train.labels == 1], whole.labels[1::3])
    assert test.labels.bincount().tolist() == [360, 360, 360]


def folder(path, sides=("trainA", "trainB", "testA", "testB")):
    """Grey and coloured pictures of several sizes."""
    for k, side in enumerate(sides):
        (path / side).mkdir(parents=True)
        for i in range(3):
            colour = [40 * k + 10 * i] if i == 0 else [40 * k, 10 * i, 200]
            Image.new("L" if i == 0 else "RGB", (9 + 3 * i, 12), tuple(colour)).save(path / side / f"{i}.png")
    return path


def test_the_usual_folders_are_two_sides_of_any_size_grey_or_in_colour(tmp_path):
    pair = load(f"unpaired:{folder(tmp_path)}", "test", size=8)
    assert pair.shape == (3, 8, 8) and len(pair.a) == len(pair.b) == 3 and not pair.aligned
    assert pair.a.pixels[0].unique().tolist() == [80] and pair.b.pixels[1, :, 0, 0].tolist() == [120, 10, 200]
    x, y = next(Stream(load(f"unpaired:{tmp_path}", size=8), 2))
    assert x.shape == y.shape == (2, 3, 8, 8)


def test_a_missing_side_is_named(tmp_path):
    folder(tmp_path, ("trainA", "testB"))
    (tmp_path / "testA").mkdir()
    with pytest.raises(
        DataError, match=r"needs pictures in trainA, trainB, testA, testB; there are none in trainB, tes"
    ):
        load(f"unpaired:{tmp_path}")
    (tmp_path / "testA" / "x.png").write_text("no picture")
    folder(tmp_path / "more", ("trainB",))
    (tmp_path / "more" / "trainB").rename(tmp_path / "trainB")
    with pytest.raises(DataError, match="no readable image in .*testA"):
        load(f"unpaired:{tmp_path}", "test")
    with pytest.raises(DataError, match="'unpaired:FOLDER' or 'domains:A,B,C', not 'unpaired:nowhere'"):
        load("unpaired:nowhere")


# ---- translator


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
def test_translators_keep_every_size_that_their_stride_divides_and_refuse_others(levels):
    stride = 2**levels
    net = Translator((3, 32, 32), 2, 1, levels).eval()
    for h, w in ((max(4, 2 * stride), 32), (6 * stride, 4 * stride)):
        y = net(torch.rand(1, 3, h, w))
        assert y.shape == (1, 3, h, w) and y.min() >= 0 and y.max() <= 1
    for h, w in ((2, 2), *([(8 * stride, 8 * stride + 1)] if levels else [])):
        with pytest.raises(ValueError, match=rf"multiples of {stride} and .* got {h}x{w}"):
            net(torch.rand(1, 3, h, w))
    if levels:
        with pytest.raises(ValueError, match=f"got 32x{32 + stride // 2}"):
            Translator((3, 32, 32 + stride // 2), 2, 1, levels)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_image_is_normalised_by_itself_in_both_layouts(layout):
    torch.manual_seed(0)
    norm = next(m for m in Translator((3, 8, 8), 4, 1).modules() if isinstance(m, nn.InstanceNorm2d))
    h = 5 + 3 * torch.randn(3, 4, 6, 5)
    exact = (h - h.mean((2, 3), keepdim=True)) / (h.var((2, 3), correction=0, keepdim=True) + norm.eps).sqrt()
    torch.testing.assert_close(norm(h.contiguous(memory_format=layout)), exact)


def test_a_translation_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    net, x = Translator((3, 16, 16), 4, 2), torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(net(x)[2:3], net(x[2:3]))


# ---- CycleGAN


def test_exchanged_domains_give_the_mirrored_result():
    a, b = make("cyclegan"), make("cyclegan")
    b.G, b.F, b.D_X, b.D_Y = b.F, b.G, b.D_Y, b.D_X
    data, (of_a, of_b) = stream(4, "cyclegan"), (Update(method.optimizers()) for method in (a, b))
    for _ in range(5):
        x, y = next(data)
        mine, theirs = a.step(iter([(x, y)]), of_a), b.step(iter([(y, x)]), of_b)
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    for one, other in ((a.G, b.F), (a.F, b.G), (a.D_X, b.D_Y), (a.D_Y, b.D_X)):
        assert all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters()))
    assert not torch.equal(next(a.G.parameters()), next(a.F.parameters()))
    assert torch.equal(a.translate(x, 1), b.translate(x, 0)) and torch.equal(a.translate(x, 0), b.translate(x, 1))


class Shift(nn.Module):
    """Adds a number to every pixel; a generator whose losses can be told by hand."""

    def __init__(self, by):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, x):
        return x + self.by


class Mean(nn.Module):
    """Scores an image by its mean, times a number."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.scale * x.mean((1, 2, 3), keepdim=True)


def test_losses_are_those_of_the_paper():
    method = CycleGAN(Shift(0.1), Shift(-0.3), Mean(), Mean(), (1, 2, 2), CycleGANConfig(identity=5.0))
    seen = {}
    x, y = torch.full((3, 1, 2, 2), 0.4), torch.full((3, 1, 2, 2), 0.9)
    found = method.step(iter([(x, y)]), lambda name, loss: seen.setdefault(name, loss.item()))
    adversarial = (2 * 0.5 - 1) ** 2 + (2 * 0.6 - 1) ** 2
    cycle, identity = 2 * (0.2 + 0.2), 2 * (0.1 + 0.3)
    assert found["adversarial"].item() == pytest.approx(adversarial)
    assert seen["generators"] == pytest.approx(adversarial + 10 * cycle + 5 * identity)
    judged_x, judged_y = ((0.8 - 1) ** 2 + 1.2**2) / 2, ((1.8 - 1) ** 2 + 1.0**2) / 2
    assert seen["discriminators"] == pytest.approx(judged_x + judged_y)


def test_discriminators_see_past_translations_from_pools_that_keep_their_size():
    method = CycleGANConfig(width=4, blocks=1, pool=8).build(SHAPE, 0)
    shown, update = [], Update(method.optimizers())
    method.D_Y.register_forward_pre_hook(lambda _, x: shown.append(x[0].detach().clone()))
    data = stream(4, "cyclegan")
    for step in range(4):
        torch.manual_seed(step)
        shown.clear()
        method.step(data, update)
        fake, _, old = shown  # for the generators, then real and old for the discriminator
        assert torch.equal(fake, old) == (step < 2)
    assert len(method.pool_y.images) == 8 and method.pool_x.filled.all()


def test_pools_survive_a_restart_bit_for_bit():
    whole, part, rest = (ImagePool(6, (1, 2, 2)) for _ in range(3))
    batches = torch.rand(20, 3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    for pool, some in ((whole, batches), (part, batches[:10])):
        for k, batch in enumerate(some):
            torch.manual_seed(k)
            pool.swap(batch)
    rest.load_state_dict(part.state_dict())
    for k, batch in enumerate(batches[10:], 10):
        torch.manual_seed(k)
        given = rest.swap(batch)
    torch.manual_seed(19)
    assert torch.equal(rest.images, whole.images) and torch.equal(rest.filled, whole.filled)
    assert not torch.equal(given, batches[-1])


def test_the_frozen_network_stays_as_it_was_trained():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3))
    frozen = Frozen(net)
    method = nn.Sequential(frozen).train()
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    x = (3 + torch.rand(4, 1, 8, 8)).requires_grad_()
    method(x).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())
    assert x.grad.abs().sum() > 0 and all(p.grad is None for p in frozen.parameters())


def test_the_perceptual_loss_needs_a_classifier_and_its_features_come_from_that_run(tmp_path):
    run = tmp_path / "net"
    trained = Experiment(ClassifierConfig(width=4), DataOptions(), images=64).run(run, pictures=1)
    method = CycleGANConfig(cycle=0.0, perceptual=1.0, classifier=run, width=4, blocks=1).build((1, 8, 8), 0)
    x = torch.rand(2, 1, 8, 8, device=trained.device)
    torch.testing.assert_close(trained.net[-1](method.to(x.device).features(x)), trained(x))
    for bad in (CycleGANConfig(perceptual=1.0), CycleGANConfig(classifier=run)):
        with pytest.raises(ValueError, match="perceptual"):
            bad.build((1, 8, 8), 0)


def test_one_set_is_no_data_for_two_domains(capsys):
    assert main(["train", "cyclegan", "--data", "digits"]) == 2
    assert "learns from two sets, as in --data unpaired:A,B, got one set of images" in capsys.readouterr().err
    with pytest.raises(ValueError, match="two domains to translate to, 0 and 1, got 2"):
        make("cyclegan").translate(images(2).x, to=2)


# ---- StarGAN


def test_stargan_losses_are_those_of_the_paper():
    """A generator that draws the domain's number, and a critic whose every part is known."""

    class Draw(nn.Module):
        def __init__(self):
            super().__init__()
            self.tone = nn.Parameter(torch.tensor([0.2, 0.7]))

        def forward(self, x, domain):
            return (domain.float() @ self.tone).view(-1, 1, 1, 1).expand_as(x)

    class Judge(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(3.0))

        def forward(self, x):
            total = self.slope * x.sum((1, 2, 3))
            return torch.stack([total, 0 * total, 0 * total + math.log(3)], 1)

    method, seen = StarGAN(Draw(), Judge(), 2, StarGANConfig(n_critic=1)), {}
    x, y = torch.tensor([0.1, 0.9]).view(2, 1, 1, 1).expand(2, 1, 2, 2), torch.tensor([0, 1])
    torch.manual_seed(0)
    found = method.step(iter([(x, y)] * 9), lambda name, loss: seen.setdefault(name, loss.item()))
    torch.manual_seed(0)
    shown, _, target = torch.randint_like(y, 2), torch.rand(2, 1, 1, 1), torch.randint_like(y, 2)
    tone = torch.tensor([0.2, 0.7])
    distance = 3 * 4 * (x[:, 0, 0, 0].mean() - tone[shown].mean()).item()
    recognised = -math.log(1 / 4) / 2 - math.log(3 / 4) / 2
    assert found["penalty"].item() == pytest.approx((3 * 2 - 1) ** 2)
    assert seen["critic"] == pytest.approx(10 * 25 - distance + recognised, rel=1e-5)
    asked = sum(-math.log((1, 3)[t] / 4) for t in target.tolist()) / 2
    cycle = 2 * (0.1 + 0.2) / 2
    score = 3 * 4 * tone[target].mean().item()
    assert seen["generator"] == pytest.approx(asked + 10 * cycle - score, rel=1e-5)


def test_the_domain_asked_for_reaches_the_generator_and_no_other_exists():
    method = make("stargan").eval()
    x = images(4).x
    each = torch.cat([method.translate(x, to=k) for k in range(CLASSES)])
    apart = (each.unflatten(0, (CLASSES, 4)) - each[:4]).abs().flatten(1).amax(1)
    assert apart[0] == 0 and apart[1:].min() > 1e-3  # a constant plane must survive the normalisation
    torch.testing.assert_close(method.translate(x, torch.tensor([2, 0, 1, 1]))[1], each[1])
    for bad in (CLASSES, -1):
        with pytest.raises(ValueError, match=f"domains 0 to 2, got {bad}"):
            method.translate(x, to=bad)
    with pytest.raises(ValueError, match="at least 2 domains, as in --data domains:A,B, got 1"):
        StarGANConfig().build(SHAPE, 1)


# ---- measures


def test_psnr_and_ssim_are_those_of_closed_forms():
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.8
    assert psnr(x, x + 0.1).tolist() == pytest.approx([20.0] * 3, abs=1e-4)
    torch.testing.assert_close(ssim(x, x), torch.ones(3, dtype=torch.float64))
    flat = lambda value: torch.full((1, 1, 16, 16), value)
    assert ssim(flat(0.2), flat(0.6)).item() == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4), rel=1e-5)
    # an image and its mirrored contrast about the same mean: only the covariance changes its sign
    g = torch.exp(-(torch.arange(11.0) - 5).square() / 4.5).double()
    w = torch.outer(g, g) / g.sum() ** 2
    bump = 0.5 + 0.3 * (x[:1, :1, :11, :11] / 0.8 - 0.5)
    bump = bump - (w * (bump - 0.5)).sum().float()
    variance = (w * (bump.double() - 0.5).square()).sum()
    expected = (9e-4 - 2 * variance) / (9e-4 + 2 * variance)
    assert ssim(bump, 1 - bump).item() == pytest.approx(expected.item(), abs=1e-4)
    with pytest.raises(ValueError, match=r"\(3, 3, 16, 16\) and \(1, 1, 16, 16\)"):
        ssim(x, flat(0.2))


@pytest.mark.parametrize("shape", [(1, 16, 20), (3, 11, 11), (3, 8, 8), (1, 3, 4)])
def test_ssim_of_many_images_is_that_of_each_alone(shape, monkeypatch):
    from skimage.metrics import structural_similarity

    monkeypatch.setattr(similar, "AT_ONCE", 2)
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 5, *shape, generator=g)
    window = {(1, 16, 20): 11, (3, 11, 11): 11, (3, 8, 8): 7, (1, 3, 4): 3}[shape]
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "win_size": window}
    alone = [
        structural_similarity(a.double().numpy(), b.double().numpy(), data_range=1.0, channel_axis=0, **how)
        for a, b in zip(x, y)
    ]
    assert ssim(x, y).tolist() == pytest.approx(alone, rel=1e-12)


def test_without_scikit_image_its_figures_are_left_out_and_the_log_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(similar, "find_spec", lambda name: None)
    similar._installed.cache_clear()
    x = torch.rand(2, 3, 16, 16)
    assert similar.similarity(x, x) == similar.similarity(x, x) == {}
    assert caplog.text.count("pip install 'genlab[similarity]'") == 1
    similar._installed.cache_clear()


def partners():
    x = images(40)
    return Pair(x, Images(255 - x.pixels, x.labels, x.classes, "negative"), aligned=True)


def test_the_true_translation_has_no_error_and_another_has_its_own():
    pair, negative = partners(), lambda x: 1 - x
    found = cycle_errors(negative, negative, pair)
    assert found["cycle error"] == pytest.approx(0, abs=1e-6) and found["partner error"] == pytest.approx(0, abs=1e-6)
    assert found["SSIM"] == pytest.approx(1, abs=1e-6)
    found = cycle_errors(lambda x: 1 - x / 2, negative, pair)
    assert found["cycle error"] == pytest.approx(found["partner error"])
    assert found["partner error"] == pytest.approx(pair.a.x.mean().item() / 2, rel=1e-5)
    assert set(cycle_errors(same, same, Pair(pair.a, pair.b))) == {"cycle error"}


def test_a_code_too_faint_to_see_is_found_because_disturbances_destroy_it():
    """Two ways back from a nearly grey picture: one reads the original off its last bits, one does not."""
    pair = partners()
    honest = hidden_information(lambda x: x, lambda y: y, pair)
    secret = hidden_information(lambda x: 0.5 + x / 2550, lambda y: ((y - 0.5) * 2550).clamp(0, 1), pair)
    name = {disturbance.split()[0]: f"cycle error, {disturbance}" for disturbance in PERTURBATIONS}
    assert honest[name["8"]] < 0.003 and honest[name["noise"]] < 0.03
    assert secret[name["8"]] > 0.1 and secret[name["noise"]] > 0.2 and secret[name["JPEG"]] > 0.1
    assert cycle_errors(lambda x: 0.5 + x / 2550, lambda y: (y - 0.5) * 2550, pair)["cycle error"] < 1e-3
    assert honest["error of back(y)"] == pytest.approx((2 * pair.a.x - 1).abs().mean().item(), rel=1e-5)


def test_the_hidden_code_is_shown_amplified_with_what_destroys_it():
    pair = partners()
    there, back = (lambda x: (1 - x) * 0.9 + x / 100), (lambda y: 1 - y)
    shown = hidden_code(there, back, pair, times=5)
    rows = dict(zip(shown.rows, shown.images.unflatten(0, (len(shown.rows), -1))))
    x = rows["original"]
    torch.testing.assert_close(rows["hidden code × 5"], (0.5 + 5 * (there(x) - (1 - x))).clamp(0, 1))
    assert len(rows) == 4 + len(PERTURBATIONS) and torch.equal(rows["and back"], back(there(x)))


def test_disturbances_are_small_and_stay_images():
    x = load("sprites", "test").x[:20]
    for disturb in PERTURBATIONS.values():
        y = disturb(x)
        assert y.shape == x.shape and y.dtype == x.dtype and y.min() >= 0 and y.max() <= 1
        assert torch.equal(y, disturb(x)) and (y - x).abs().mean() < 0.1
    assert torch.equal(rounded(x), x) and not torch.equal(jpeg(x), x)
    assert (jpeg(x, 95) - x).abs().mean() < (jpeg(x, 30) - x).abs().mean()
    assert jpeg(x[:, :1]).shape == (20, 1, 20, 20)


class ByBrightness(nn.Module):
    """A perfect classifier of the toys."""

    def forward(self, x):
        return -50 * (x.mean((1, 2, 3))[:, None] - torch.tensor([0.15, 0.45, 0.75])).square()


def test_class_preserved_is_the_share_whose_class_the_judge_still_sees():
    judge = ClassifierFeatures(nn.Sequential(ByBrightness(), nn.Identity()), "rule", SHAPE)
    x = images(300)
    assert content_preservation(same, x, judge) == 1.0
    assert content_preservation(lambda x: 1 - x, x, judge) == pytest.approx(
        (x.labels == 1).float().mean().item(), abs=1e-6
    )
    found = translation(same, same, Pair(x, x, aligned=True), judge)
    assert found["content preservation"] == found["classifier accuracy"] == 1.0
    assert found["FID[rule]"] == pytest.approx(0, abs=1e-6) and found["partner error"] == 0


def test_between_other_classes_the_judge_tells_the_sides_apart():
    judge = ClassifierFeatures(nn.Sequential(ByBrightness(), nn.Identity()), "rule", SHAPE)
    x = images(300)
    dark, grey = (of_class(x, name) for name in x.classes[:2])
    stays, moves = (translation(there, same, Pair(dark, grey), judge) for there in (same, lambda x: x + 0.3))
    assert "content preservation" not in stays and stays["classifier accuracy"] == 1
    assert (stays["target-domain accuracy"], moves["target-domain accuracy"]) == (0, 1)


# ---- the command


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs")
    tiny = dict(width=4, blocks=1, levels=1)
    for name, config, data in (
        ("cycle", CycleGANConfig(**tiny), "unpaired:digits,night:digits"),
        ("star", StarGANConfig(n_critic=1, width_critic=4, **tiny), "domains:digits,night:digits,styled:digits"),
        ("net", ClassifierConfig(width=4), "digits"),
    ):
        Experiment(config, DataOptions(data), images=16, batch=8).run(path / name, pictures=1)
    return path


@pytest.fixture
def pictures(tmp_path):
    """Digits as files: a mixture of formats, two with the same stem, one broken."""
    path = tmp_path / "pictures"
    x = load("digits", "test").x
    for k, name in enumerate(("a.png", "b.png", "b.bmp", "c.webp", "side-by-side.bmp")):
        path.mkdir(exist_ok=True)
        Image.fromarray((x[k, 0] * 255).byte().numpy()).save(path / name, **({"lossless": True} if k == 3 else {}))
    (path / "d.jpg").write_text("no picture")
    return path


def shown(path):
    return pil_to_tensor(Image.open(path)).int()[None]


def test_translate_writes_every_picture_under_its_name_and_a_grid(runs, pictures, tmp_path, capsys):
    os.mkfifo(pictures / "fifo.png")
    assert main(["translate", str(runs / "cycle"), "--images", str(pictures), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "skipped" in out and "d.jpg" in out and "5 images" in out and "1 no regular files ('fifo.png')" in out
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["a.png", "b.bmp.png", "b.png.png", "c.png", "side-by-side.bmp.png", "side-by-side.png"]
    method = genlab.load(runs / "cycle", "cpu")
    expected = (method.translate(load("digits", "test").x[:1]) * 255).round().int()
    assert (shown(tmp_path / "out" / "a.png") - expected).abs().max() <= 1
    assert Image.open(tmp_path / "out" / "side-by-side.png").width == 6 * 68


def test_the_way_back_and_the_names_of_domains(runs, pictures, tmp_path, capsys):
    command = lambda run, *more: main(
        [
            "translate",
            str(runs / run),
            "--images",
            str(pictures),
            "--out",
            str(tmp_path / "-".join([run, *more])),
            *more,
        ]
    )
    assert command("cycle", "--back") == command("cycle", "--to", "0") == command("cycle", "--to", "digits") == 0
    a, b, c = (shown(tmp_path / name / "a.png") for name in ("cycle---back", "cycle---to-0", "cycle---to-digits"))
    assert torch.equal(a, b) and torch.equal(a, c)
    assert command("star", "--to", "2") == command("star", "--to", "styled:digits") == 0
    assert torch.equal(shown(tmp_path / "star---to-2" / "c.png"), shown(tmp_path / "star---to-styled:digits" / "c.png"))


@pytest.mark.parametrize(
    ("run", "more", "words"),
    [
        ("nowhere", [], "is not a run"),
        ("net", [], "holds a Classifier, which does not translate images"),
        ("cycle", ["--to", "2"], "(digits, night:digits) or 0 to 1, got '2'"),
        ("star", ["--to", "day"], "or 0 to 2, got 'day'"),
        ("cycle", ["--back", "--to", "1"], "give one of them"),
        ("cycle", ["--images", "nothing"], "--images nothing is not a folder of images"),
        ("cycle", ["--images", "."], "--images . holds no images"),
        ("cycle", ["--out", "PICTURES"], "must be a separate folder"),
        ("cycle", ["--out", "/proc/x"], "--out /proc/x cannot be written: /proc is not writable"),
    ],
)
def test_bad_requests_get_one_sentence_and_leave_nothing(runs, pictures, run, more, words, capsys):
    more = [str(pictures) if word == "PICTURES" else word for word in more]
    before = sorted(pictures.iterdir())
    given = dict(zip(more[::2], more[1::2]))
    for option, value in (("--images", str(pictures)), ("--out", "out")):
        more += [] if option in given else [option, value]
    assert main(["translate", str(runs / run), *more]) == 2
    out, error = capsys.readouterr()
    assert words in error and error.count("\n") == 1 and not out
    assert sorted(pictures.iterdir()) == before and not list(Path().iterdir())
