"""Conditional GANs, InfoGAN, encoders beside GANs, few labels, and editing in latent space."""

import pytest
import torch
from torch import nn
from toys import CLASSES, SHAPE, images, stream

from genlab.latent.edit import attribute_vector, edit, invert, masked_error
from genlab.methods.gan.bigan import BiGANConfig
from genlab.methods.gan.conditional_gan import ConditionalGANConfig, PairLoss, conditional_accuracy, mismatch
from genlab.methods.gan.infogan import InfoGANConfig, matched_accuracy
from genlab.methods.gan.stack_gan import StackGANConfig
from genlab.methods.gan.triple_gan import TripleGANConfig
from genlab.methods.gan.vae_gan import RECONSTRUCTION, SAMPLE, VAEGANConfig
from genlab.training.update import Update


def build(config):
    torch.manual_seed(0)
    return config.build(SHAPE, CLASSES)


class Linear(nn.Module):
    """z (N, 3) -> x (N, 1, 8, 8), affine, its inverse known."""

    def __init__(self):
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.register_buffer("matrix", torch.randn(64, 3, generator=g))
        self.register_buffer("offset", torch.randn(64, generator=g))

    def forward(self, z):
        return (z @ self.matrix.T + self.offset).view(-1, 1, 8, 8)


def test_matched_accuracy_forgets_names_but_not_mixtures():
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    assert matched_accuracy((labels + 1) % 3, labels) == 1.0
    assert matched_accuracy(torch.tensor([2, 2, 2, 0, 0, 1]), labels) == pytest.approx(4 / 6)
    assert matched_accuracy(torch.zeros(6, dtype=torch.int64), labels) == pytest.approx(2 / 6)


def test_the_information_of_the_categories_needs_no_label():
    method, data = build(InfoGANConfig(latent=4, width=4, hidden=16)), images().subset(slice(0, 60))
    shares = data.labels.bincount(minlength=CLASSES) / 60
    renamed = (data.labels + 1) % CLASSES
    for logits, expected in (
        (100.0 * torch.nn.functional.one_hot(renamed, CLASSES), -(shares * shares.log()).sum().item()),
        (torch.randn(CLASSES).expand(60, -1), 0.0),
    ):
        method.recognise = lambda x, logits=logits: (logits, torch.zeros(60, method.values))
        assert method.evaluate(data)["category_information"] == pytest.approx(expected, abs=1e-6)


def test_infogans_recogniser_reads_the_discriminators_body_and_learns_with_the_generator():
    method = build(InfoGANConfig(latent=4, width=4, hidden=16))
    groups = {name: {p for g in o.param_groups for p in g["params"]} for name, o in method.optimizers().items()}
    assert groups["discriminator"] == set(method.discriminator.parameters())
    assert groups["generator"] == {*method.generator.parameters(), *method.recogniser.parameters()}
    category, values = method.sample_codes(6)
    method.information_loss(method.discriminator.features(images().x[:6]), category, values).backward()
    inner = [p for layer in list(method.discriminator)[:-1] for p in layer.parameters()]
    assert inner and all(p.grad is not None for p in inner)
    assert all(p.grad is None for p in method.discriminator.head.parameters())


def test_infogan_without_a_discriminator_never_looks_at_the_data():
    results = []
    for brightness in (0.0, 1.0):
        method = build(InfoGANConfig(latent=4, width=4, hidden=16, adversarial=False))
        data = iter([(torch.full((8, *SHAPE), brightness), torch.zeros(8, dtype=torch.int64))])
        torch.manual_seed(1)
        method.step(data, Update(method.optimizers()))
        results.append(method.sample_codes(1)[1].new_tensor([p.sum().item() for p in method.parameters()]))
    assert torch.equal(*results)


def test_an_uninformed_generator_learns_as_if_the_information_had_no_weight_and_the_recogniser_learns():
    nets = []
    for how in ({"informed": False}, {"weight_category": 0.0, "weight_values": 0.0}):
        method = build(InfoGANConfig(latent=4, width=4, hidden=16, **how))
        before = [p.clone() for p in method.recogniser.parameters()]
        torch.manual_seed(1)
        method.step(stream(), Update(method.optimizers()))
        nets.append(torch.cat([p.flatten() for p in method.generator.parameters()]))
        moved = any(not torch.equal(a, b) for a, b in zip(before, method.recogniser.parameters()))
        assert moved == (how == {"informed": False})
    torch.testing.assert_close(*nets)


def test_codes_are_uniform_and_pictures_have_a_row_per_category():
    method = build(InfoGANConfig(latent=4, width=4, hidden=16, categories=5, values=3)).eval()
    category, values = method.sample_codes(2000)
    assert category.bincount(minlength=5).min() > 300 and values.abs().max() <= 1 and values.std() > 0.5
    assert {name: len(x.images) for name, x in method.pictures(images()).items() if name != "samples"} == {
        f"value{i}": 25 for i in (1, 2, 3)
    }


def test_mismatched_labels_are_all_wrong_and_reach_every_other_class():
    y = torch.arange(5).repeat(200)
    wrong = mismatch(y, 5)
    assert not (wrong == y).any() and ((0 <= wrong) & (wrong < 5)).all()
    assert all(wrong[y == c].unique().numel() == 4 for c in range(5))


def test_the_discriminator_pays_for_liking_a_mismatched_pair_only_if_asked():
    y, fake = torch.tensor([0, 1, 2, 0]), torch.full((4, CLASSES + 1), -20.0)
    indifferent = torch.full((4, CLASSES + 1), 20.0)  # calls every real pair right, whatever the label
    for heads in ("joint", "separate"):
        assert PairLoss(heads, mismatched=False).discriminator(indifferent, fake, y) < 1e-3
        assert PairLoss(heads, mismatched=True).discriminator(indifferent, fake, y) > 5


def test_separate_heads_let_the_generator_hear_of_realism_alone():
    y, fake = torch.tensor([1, 2]), torch.zeros(2, CLASSES + 1, requires_grad=True)
    PairLoss("separate", mismatched=True).generator(fake, y).backward()
    assert (fake.grad[:, -1] < 0).all() and (fake.grad.gather(1, y[:, None]) < 0).all() and not fake.grad[:, 0].any()
    fake.grad = None
    PairLoss("joint", mismatched=True).generator(fake, y).backward()
    assert not fake.grad[:, -1].any()


def test_conditional_accuracy_counts_samples_of_the_class_asked_for():
    class Painter:
        classes = 3

        def sample(self, n, y):
            return torch.where(y == 2, 0, y).float().view(-1, 1, 1, 1).expand(n, *SHAPE)  # draws 0 for 2

    class Reader(nn.Linear):
        device = torch.device("cpu")

        def forward(self, x):
            return nn.functional.one_hot(x[:, 0, 0, 0].long(), 3).float()

    assert conditional_accuracy(Painter(), Reader(1, 1), each=10) == pytest.approx(2 / 3)


def test_stage_two_refines_what_stage_one_drew():
    method = build(StackGANConfig(latent=4, width=4)).eval()
    small, large = method.stages(torch.tensor([0, 1, 2]))
    assert small.shape == (3, 1, 4, 4) and large.shape == (3, 1, 8, 8)
    large.sum().backward()
    assert all(p.grad is None for p in method.generator.parameters())


@pytest.mark.parametrize("gaussian", [False, True])
def test_bigan_encodes_to_the_latents_it_draws(gaussian):
    method = build(BiGANConfig(latent=4, width=4, gaussian=gaussian)).eval()
    x = images().x[:5]
    assert method.encode(x).shape == (5, 4) and method.reconstruct(x).shape == x.shape
    assert method.discriminator(x, method.encode(x)).shape == (5, 1)
    assert torch.equal(method.encode(x, noise=True), method.encode(x)) is not gaussian


def test_three_kinds_tell_reconstructions_from_samples_and_two_do_not():
    x = images().x[:5]
    for kinds in (2, 3):
        method = build(VAEGANConfig(latent=4, width=4, kinds=kinds)).eval()
        assert torch.equal(method.loss_as(RECONSTRUCTION, x), method.loss_as(SAMPLE, x)) is (kinds == 2)
        assert method.realism(x).shape == (5,)


def test_triple_gan_never_uses_a_hidden_label():
    results = []
    for shift in (0, 1):
        method = build(TripleGANConfig(labels_per_class=2, latent=4, width=4, pseudo_start=0.0))
        update, source = Update(method.optimizers()), stream(batch=32)
        x, y = next(source)
        method.collect(x, y)
        assert (method.known == 2).all()
        hidden = ((x, (y + shift) % CLASSES) for x, y in source)
        for step in range(3):
            torch.manual_seed(step)
            method.step(hidden, update)
        results.append(method.state_dict())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_triple_gan_collects_the_first_images_of_every_class():
    method = build(TripleGANConfig(labels_per_class=2, latent=4, width=4))
    x, y = torch.rand(7, *SHAPE), torch.tensor([1, 1, 0, 1, 2, 0, 0])
    for part in (slice(0, 3), slice(3, 7)):
        method.collect(x[part], y[part])
    assert method.known.tolist() == [2, 2, 1]
    assert torch.equal(method.labelled_x[:5], x[[2, 5, 0, 1, 4]]) and not method.labelled_x[5:].any()
    _, drawn = method.labelled(500)
    assert drawn.bincount().tolist() == pytest.approx([200, 200, 100], abs=50)


def test_inversion_finds_the_latent_of_a_linear_generator():
    generator, z = Linear(), torch.randn(4, 3)
    found = invert(generator, generator(z), torch.zeros(4, 3), steps=300, lr=0.1)
    assert torch.allclose(found, z, atol=1e-3)
    assert torch.equal(invert(generator, generator(z), z + 1, steps=0), z + 1)
    x = torch.randn(4, 1, 8, 8)  # not in the range: least squares
    best = torch.linalg.lstsq(generator.matrix, (x.flatten(1) - generator.offset).T).solution.T
    assert torch.allclose(invert(generator, x, torch.zeros(4, 3), steps=300, lr=0.1), best, atol=1e-3)


def test_every_image_is_inverted_on_its_own():
    generator, x = Linear(), torch.rand(5, 1, 8, 8)
    whole = invert(generator, x, torch.zeros(5, 3), steps=50)
    assert torch.allclose(whole[3:4], invert(generator, x[3:4], torch.zeros(1, 3), steps=50), atol=1e-5)


def test_an_edit_weighs_the_wish_the_distance_and_the_realism():
    generator, z0 = Linear(), torch.randn(4, 3)
    wish, mask = torch.rand(1, 8, 8), torch.zeros(1, 8, 8)
    mask[:, :4] = 1
    constraint = masked_error(wish, mask)
    near = 0.3
    found = edit(generator, None, constraint, z0, near=near, steps=400, lr=0.1)
    rows = mask.flatten() > 0  # ridge regression, in closed form
    a, b = generator.matrix[rows], wish.flatten()[rows] - generator.offset[rows]
    left = a.T @ a / rows.sum() + near * torch.eye(3)
    best = torch.linalg.solve(left, (b @ a / rows.sum() + near * z0).T).T
    assert torch.allclose(found, best, atol=1e-3)
    assert (constraint(generator(found)) < constraint(generator(z0))).all()
    stay = edit(generator, None, constraint, z0, near=1e4, steps=200)
    assert (stay - z0).abs().max() < 0.01 < (found - z0).abs().max()
    bright = lambda x: x.flatten(1).sum(1)
    lifted = edit(generator, bright, constraint, z0, near=near, real=0.01, steps=200)
    assert (bright(generator(lifted)) > bright(generator(found))).all()


def test_editing_leaves_the_networks_as_they_were():
    method = build(VAEGANConfig(latent=4, width=4)).train()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    x = images().x[:3]
    z = invert(method.decoder, x, torch.zeros(3, 4), steps=2)
    edit(method.decoder, method.discriminator, masked_error(x, torch.ones(1, 8, 8)), z, steps=0)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert all(part.training for part in method.modules()) and all(p.grad is None for p in method.parameters())


def test_an_attribute_vector_is_the_difference_of_means():
    having, lacking = torch.tensor([[1.0, 2.0], [3.0, 2.0]]), torch.tensor([[0.0, 5.0]])
    assert attribute_vector(having, lacking).tolist() == [2.0, -3.0]


def test_bad_input_is_answered_in_a_sentence():
    with pytest.raises(ValueError, match="categories must be at least 2 .*, got 1"):
        InfoGANConfig(categories=1)
    for config in (ConditionalGANConfig(), StackGANConfig()):
        with pytest.raises(ValueError, match="at least 2 classes, .* got 0"):
            config.build(SHAPE, 0)
    with pytest.raises(ValueError, match="labels_per_class must be at least 1 .*, got 0"):
        TripleGANConfig(labels_per_class=0)
    with pytest.raises(ValueError, match=r"labels must be whole numbers \(3,\), got torch.int64 \(2,\)"):
        build(ConditionalGANConfig(latent=4, width=4)).sample(3, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="2 images need as many latents to start from, got 3"):
        invert(Linear(), torch.rand(2, 1, 8, 8), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="got 0 and 2"):
        attribute_vector(torch.zeros(0, 3), torch.zeros(2, 3))
