"""Two styles of a grammar, and the cycle between them."""

from dataclasses import replace

import pytest
import torch
from toys import METHODS, SHAPE, make, source

from genlab.data import Pair, Stream
from genlab.data.grammar_styles import KIND, PARTNER, STYLES, VOCABULARY, common, grammatical, in_style, sentences, text
from genlab.methods.translation.sequence_cycle import nats
from genlab.training.update import Update


def words(line):
    return torch.tensor([[VOCABULARY.index(word) for word in line.split()]])


def test_every_word_has_one_translation_and_back_and_content_has_itself():
    assert torch.equal(PARTNER[PARTNER], torch.arange(len(VOCABULARY)))
    kind, unkind = words("two old cats like a red dog and run ."), words("two mean cats hate a dirty dog and sleep .")
    assert torch.equal(PARTNER[kind], unkind)
    assert grammatical(kind, "kind").all() and not grammatical(kind, "unkind").any()
    assert grammatical(unkind, "unkind").all() and not grammatical(unkind, "kind").any()
    assert not grammatical(words("two mean cats hates a dirty dog and sleep ."), "unkind").any()
    assert in_style(kind, "unkind").sum() == 6 and text(unkind) == ["two mean cats hate a dirty dog and sleep ."]


def test_translated_sentences_are_as_likely_in_the_other_style():
    own = KIND.sample(50, 9, torch.Generator().manual_seed(0))
    tokens = common(own, "kind")
    assert grammatical(tokens, "kind").all() and grammatical(PARTNER[tokens], "unkind").all()
    torch.testing.assert_close(STYLES["unkind"].log_prob(own), KIND.log_prob(own))  # the same indices in both
    assert all(torch.allclose(arc.sum((1, 2)), torch.ones(()).double()) for arc in (KIND.arcs, STYLES["unkind"].arcs))


def test_sentences_are_images_that_can_be_read_back_and_the_sets_are_not_translations():
    kind, unkind = (sentences(style) for style in STYLES)
    tokens = [(images.x * (len(VOCABULARY) - 1)).round().long().flatten(1) for images in (kind, unkind)]
    assert grammatical(tokens[0], "kind").all() and grammatical(tokens[1], "unkind").all()
    assert (PARTNER[tokens[0]] == tokens[1]).all(1).double().mean() < 0.05


def test_a_cycle_of_translators_that_undo_each_other_costs_nothing():
    tokens = torch.randint(4, (3, 5))
    logits = 100.0 * torch.nn.functional.one_hot(tokens, 4)
    assert nats(logits, tokens).item() == pytest.approx(0, abs=1e-6)
    assert nats(torch.zeros(3, 5, 4), tokens).item() == pytest.approx(torch.tensor(4.0).log().item())


def test_the_cycle_and_the_identity_reach_the_translators_and_weight_0_leaves_them_out():
    data = Stream(source("sequence-cycle"), 8)
    torch.manual_seed(0)
    alone = replace(METHODS["sequence-cycle"], cycle=0.0, identity=0.0).build(SHAPE, 3)
    assert set(alone.step(data, Update(alone.optimizers()))) == {"discriminators", "adversarial"}
    method = make("sequence-cycle")
    update = Update(method.optimizers())
    first, *_, last = (method.step(data, update) for _ in range(20))
    assert last["cycle"] < first["cycle"] and last["identity"] < first["identity"]
    x = source("sequence-cycle", 4).a.x
    assert isinstance(source("sequence-cycle"), Pair) and method.translate(x, 0).shape == x.shape
    assert torch.equal(method.tokens(method.translate(x)), method.G(method.one_hot(method.tokens(x))).argmax(2))
    with pytest.raises(ValueError, match="got 2"):
        method.translate(x, 2)
