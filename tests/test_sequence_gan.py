"""The grammar against enumeration, and the gradients of sequence GANs against the exact one."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from toys import stream

from genlab.data.grammar import GRAMMAR, grammar
from genlab.data.sources import load
from genlab.methods.gan.sequence_gan import SequenceGANConfig
from genlab.metrics.sequences import distinct_ngrams
from genlab.training.update import Update

TINY = SequenceGANConfig(levels=3, rollouts=0, baseline=False, width=4, width_discriminator=4)
ALL = torch.tensor(list(product(range(3), repeat=2)))  # of two tokens


def build(config=TINY, shape=(1, 1, 2)):
    torch.manual_seed(0)
    return config.build(shape, 1)


def words(text):
    return torch.tensor([[GRAMMAR.words.index(word) for word in text.split()]])


# --- the grammar


@pytest.mark.parametrize("error", [0.0, 0.1])
def test_the_probabilities_of_all_sequences_sum_to_one(error):
    every = torch.tensor(list(product(range(len(GRAMMAR.words)), repeat=3)))
    assert GRAMMAR.log_prob(every, error).exp().sum().item() == pytest.approx(1)


def test_probabilities_and_rules_are_those_of_the_grammar():
    right = "two red cats see a dog and run ."
    by_hand = 0.5 * 0.2 * 0.3 * 0.35 * 0.5 * 0.3 * 0.3 * 0.3 * 0.7
    assert GRAMMAR.log_prob(words(right)).exp().item() == pytest.approx(by_hand)
    assert GRAMMAR.grammatical(words(right)).all() and GRAMMAR.text(words(right)) == [right]
    wrong = words("two red cats see a dog and runs .")  # a verb that disagrees with a subject five words before it
    assert not GRAMMAR.grammatical(wrong).any() and GRAMMAR.log_prob(wrong, 0.01).isfinite().all()
    with pytest.raises(ValueError, match="the grammar has 16 words, but tokens are from 0 to 16"):
        GRAMMAR.log_prob(torch.tensor([[0, 16]]))


def test_images_of_the_grammar_hold_its_sentences():
    images, method = grammar("train"), SequenceGANConfig("likelihood").build((1, 3, 3), 1)
    tokens = method.tokens(images.x)
    assert len(GRAMMAR.words) == 16 and GRAMMAR.grammatical(tokens).all() and len(tokens.unique()) == 16
    assert torch.equal(method.images(tokens), images.x) and load("grammar", "test", size=4).shape == (1, 4, 4)
    frequency = (tokens[:, 0] == GRAMMAR.words.index("a")).float().mean()
    assert frequency == pytest.approx(0.5, abs=0.06)


# --- gradients


def test_a_sampled_token_has_no_gradient_and_the_remedies_have_one():
    for objective, differentiable in (("reinforce", False), ("gumbel", True), ("soft", True)):
        method = build(replace(TINY, objective=objective), (1, 2, 2))
        x = method.draw(5)
        assert x.requires_grad == differentiable and torch.allclose(x.sum(2), torch.ones(5, 4))
        method.adversarial_loss(5).backward()
        assert all(p.grad.abs().sum() > 0 for p in method.generator.parameters())


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_the_policy_gradient_is_that_of_the_expected_reward_whatever_the_baseline(constant):
    method, reward = build(), torch.rand(9)
    x, parameters = method.one_hot(ALL), list(method.generator.parameters())
    log_prob = method.log_prob(method.images(ALL))
    assert log_prob.exp().sum().item() == pytest.approx(1)
    exact = torch.autograd.grad((log_prob.exp() * reward).sum(), parameters)
    losses = [method.policy_loss(x[i : i + 1], (reward[i] + constant).expand(1, 2)) for i in range(9)]
    expected = (torch.stack(losses) * log_prob.exp().detach()).sum()
    for found, true in zip(torch.autograd.grad(expected, parameters), exact, strict=True):
        torch.testing.assert_close(-found, true, atol=1e-6, rtol=1e-4)


def test_rollouts_estimate_the_expected_reward_of_a_prefix():
    method = build(replace(TINY, rollouts=1000))
    with torch.no_grad():
        reward = method.discriminator(method.one_hot(ALL)).sigmoid().view(3, 3)
        second = method.log_prob(method.images(ALL)).exp().view(3, 3)
        expected = (second * reward).sum(1) / second.sum(1)
    found = method.values(method.one_hot(ALL)).view(3, 3, 2)
    torch.testing.assert_close(found[..., 1], reward)
    torch.testing.assert_close(found[..., 0], expected[:, None].expand(3, 3), atol=0.01, rtol=0)


def test_equal_rewards_teach_nothing_with_the_baseline():
    method = build(replace(TINY, baseline=True))
    method.policy_loss(method.one_hot(ALL), torch.full((9, 2), 0.7)).backward()
    assert all(p.grad.abs().max() < 1e-6 for p in method.generator.parameters())


def test_tokens_are_drawn_from_the_distribution_that_is_learnt():
    method = build()
    torch.manual_seed(1)
    drawn = method.draw(20_000).argmax(2) @ torch.tensor([3, 1])
    expected = method.log_prob(method.images(ALL)).exp()
    torch.testing.assert_close(drawn.bincount(minlength=9) / 20_000, expected.detach(), atol=0.012, rtol=0)


def test_scheduled_sampling_replaces_the_inputs_and_not_the_targets():
    method, tokens = build(), ALL
    every = [method.likelihood_loss(tokens, share) for share in (0.0, 1e-9)]
    torch.testing.assert_close(*every)
    torch.manual_seed(0)
    assert method.likelihood_loss(tokens, 1.0) != every[0]


def test_the_discriminator_alone_is_left_out_of_maximum_likelihood():
    method = SequenceGANConfig("likelihood", levels=4, width=4).build((1, 8, 8), 3)
    metrics = method.step(stream(), Update(method.optimizers()))
    assert method.discriminator is None and set(metrics) == {"generator"} and "nats" in method.evaluate(stream().source)
    assert build(replace(TINY, objective="soft"), (1, 8, 8)).evaluate(stream().source) == {}


def test_distinct_ngrams_are_counted():
    assert distinct_ngrams(torch.tensor([[0, 1, 0, 1], [0, 1, 2, 3]]), 2) == 4 / 6
    with pytest.raises(ValueError, match="no n-grams of 5"):
        distinct_ngrams(torch.zeros(2, 4), 5)


def test_sequences_of_another_length_are_refused():
    method = SequenceGANConfig(levels=4, width=4, width_discriminator=4).build((1, 2, 2), 0)
    for call in (method.tokens, method.log_prob):
        with pytest.raises(ValueError, match=r"4 tokens, of images \(1, 2, 2\), got images \(1, 3, 3\), of 9"):
            call(torch.rand(2, 1, 3, 3))
