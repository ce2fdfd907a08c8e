"""Common spaces of two domains: what is tied, and what each part of the loss measures."""

import pytest
import torch
from toys import SHAPE, images, make, stream

from genlab.data import Pair
from genlab.methods.translation import common_space
from genlab.methods.translation.cogan import agreement
from genlab.methods.translation.common_space import CommonSpaceConfig
from genlab.training.update import Update


def shared(first, second):
    """How many parameters are in both, and in all."""
    one, two = ({id(p) for p in net.parameters()} for net in (first, second))
    return len(one & two), len(one | two)


def test_tied_domains_share_the_layers_next_to_the_code_and_start_alike():
    apart, tied = make("common-space"), make("common-space tied")
    for first, second in (apart.encoders, apart.decoders):
        assert shared(first, second)[0] == 0
    (lower, upper), (other, same) = tied.encoders
    assert upper is same and shared(lower, other)[0] == 0
    (opening, closing), (same, other) = tied.decoders
    assert opening is same and shared(closing, other)[0] == 0
    x = next(stream())[0]
    assert torch.equal(tied.translate(x, 1), tied.translate(x, 0))
    assert not torch.allclose(apart.translate(x, 1), apart.translate(x, 0))


def test_domains_may_start_alike_with_nothing_tied():
    alike = CommonSpaceConfig(alike=True, latent=2, width=4).build(SHAPE, 0)
    assert all(shared(*pair)[0] == 0 for pair in (alike.encoders, alike.decoders))
    x = next(stream())[0]
    assert torch.equal(alike.translate(x, 1), alike.translate(x, 0))


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_codes_are_as_many_halvings_smaller_as_there_are_levels(levels):
    method = CommonSpaceConfig(levels=levels, latent=2, width=4, domain_adversarial=0.1).build((1, 16, 16), 0)
    x = torch.rand(3, 1, 16, 16)
    code = method.encoders[0](x)
    assert code.shape == (3, 2, 16 >> levels, 16 >> levels)
    assert method.translate(x).shape == x.shape and method.critic(code).shape == (3,)


def test_coupled_generators_differ_in_the_last_layer_and_discriminators_in_the_first():
    method = make("cogan")
    for nets, own in ((method.generators, -1), (method.discriminators, 0)):
        theirs = [{id(p) for p in net[own].parameters()} for net in nets]
        both = [{id(p) for p in net.parameters()} for net in nets]
        assert both[0] - both[1] == theirs[0] and both[1] - both[0] == theirs[1] and both[0] & both[1]
    assert shared(*make("cogan apart").generators)[0] == shared(*make("cogan apart").discriminators)[0] == 0


def test_one_latent_gives_both_domains_the_same_features():
    method = make("cogan").eval()
    with torch.no_grad():
        for mine, other in zip(method.generators[0][-1].parameters(), method.generators[1][-1].parameters()):
            other.copy_(mine)
    first, second = method.pairs(5)
    assert first.shape == (5, *SHAPE) and torch.equal(first, second) and not torch.equal(first[0], first[1])


def test_agreement_counts_the_pairs_of_one_class():
    method = make("cogan").eval()

    class Judge:
        def __init__(self, classes):
            self.classes = torch.tensor(classes)

        def __call__(self, x):
            return x

        def logits(self, x):
            return torch.nn.functional.one_hot(self.classes, 3).float()

    assert agreement(method, [Judge([0, 1, 2, 2]), Judge([0, 2, 2, 1])], n=4) == (0.5, 6 / 16)
    assert agreement(method, [Judge([1, 1, 1, 1]), Judge([1, 1, 1, 1])], n=4) == (1, 1)  # nothing was learnt


def test_every_part_of_the_loss_is_its_formula_when_codes_carry_no_noise(monkeypatch):
    monkeypatch.setattr(common_space, "noisy", lambda code: code)
    torch.manual_seed(0)
    config = CommonSpaceConfig(adversarial=0.0, cycle=1.0, semantic=1.0, domain_adversarial=1.0, latent=2, width=4)
    method, data = config.build(SHAPE, 3), stream(name="common-space")
    x = next(data)
    with torch.no_grad():
        codes = [encode(image) for encode, image in zip(method.encoders, x)]
        across = [method.translate(x[0], 1), method.translate(x[1], 0)]
        again = [method.encoders[1](across[0]), method.encoders[0](across[1])]
        back = [method.translate(across[0], 0), method.translate(across[1], 1)]
        scores = [method.critic(code) for code in codes]
    error = lambda drawn, true: sum((a - b).abs().mean() for a, b in zip(drawn, true))
    expected = {
        "reconstruction": error([method.recode(image, i, i) for i, image in enumerate(x)], x),
        "kl": sum(code.square().mean() for code in codes) / 2,
        "cycle": error(back, x),
        "semantic": error(again, codes),
        "critic": ((scores[1] - 1).square().mean() + scores[0].square().mean()) / 2,
    }
    data.images = 0
    found = method.step(data, Update(method.optimizers()))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_pictures_show_original_reconstruction_translation_and_the_partner_of_aligned_data():
    method = make("common-space").eval()
    plain, aligned = (Pair(images(), images(seed=2), aligned=aligned) for aligned in (False, True))
    for data, kinds in ((plain, 3), (aligned, 4)):
        shown = method.pictures(data)["to_first"]
        rows = dict(zip(shown.rows, shown.images.split(shown.columns), strict=True))
        assert len(rows) == kinds and torch.equal(rows["original"][0], data.b.x[0])
        torch.testing.assert_close(rows["translated"][0], method.translate(data.b.x[:1], 0)[0])
    assert "to_first partner error" in method.evaluate(aligned) and "to_first reconstruction error" in method.evaluate(
        plain
    )


def test_what_cannot_be_is_refused_by_name():
    with pytest.raises(ValueError, match="semantic must be at least 0 .*, got -1.0"):
        CommonSpaceConfig(semantic=-1.0)
    with pytest.raises(ValueError, match="multiples of 4 and at least 8, got 8x10"):
        CommonSpaceConfig().build((1, 8, 10), 3)
    with pytest.raises(
        ValueError, match="levels=3, these networks take images whose sides are multiples of 8 and at least 16, got 8x8"
    ):
        CommonSpaceConfig(levels=3).build((1, 8, 8), 3)
    with pytest.raises(ValueError, match="0 and 1, got 2"):
        make("common-space").translate(images().x, to=2)
    for name in ("common-space", "cogan"):
        method = make(name)
        with pytest.raises(ValueError, match="two sets, as in --data unpaired:A,B"):
            method.step(stream(), Update(method.optimizers()))
