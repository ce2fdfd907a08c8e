"""Sentences of a small probabilistic grammar of 16 words, whose exact probability is known.

The grammar is right-linear: from a state it emits a word and goes to the next state. Subject and verb agree in number,
across adjectives, objects and "and", as in "two old cats see a red dog and run ." Sentences follow each other; the last
one may be cut off. One word is one pixel of a grey image, row by row, at the levels 0, 17, ..., 255.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genlab.data.images import Images
from genlab.data.seeds import generator

Rules = dict[str, dict[str, tuple[float, str]]]  # state -> word -> probability, next state
COUNTS = {"train": 1_000, "test": 1_000}  # lists of sentences
NOUNS = {"one": ("cat", "dog"), "many": ("cats", "dogs")}
VERBS = {"one": ("sees", "likes", "runs"), "many": ("see", "like", "run")}


def rules() -> Rules:
    """The states are named by what comes next and, behind it, the number of the subject."""
    found: Rules = {"sentence": {"a": (0.5, "subject one"), "two": (0.5, "subject many")}}
    for number, (sees, likes, runs) in VERBS.items():
        verb, end, thing = f"verb {number}", f"end {number}", f"object {number}"
        found[f"subject {number}"] = phrase(f"subject {number}", number, verb)
        found[verb] = {sees: (0.35, thing), likes: (0.35, thing), runs: (0.3, end)}
        found[thing] = {"a": (0.5, f"{thing}, one"), "two": (0.5, f"{thing}, many")}
        for of in NOUNS:
            found[f"{thing}, {of}"] = phrase(f"{thing}, {of}", of, end)
        found[end] = {"and": (0.3, verb), ".": (0.7, "sentence")}
    return found


def phrase(state: str, number: str, then: str) -> dict[str, tuple[float, str]]:
    """Adjectives, any number of them, and a noun."""
    return {word: (0.2, state) for word in ("old", "red")} | {word: (0.3, then) for word in NOUNS[number]}


@dataclass(frozen=True)
class Grammar:
    """A right-linear grammar; the first state begins every sequence. Tokens are indices into `words`."""

    rules: Rules

    @cached_property
    def words(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(word for choices in self.rules.values() for word in choices))

    @cached_property
    def arcs(self) -> Tensor:
        """(states, words, states): the probability of a word and the next state, given a state; float64."""
        states = list(self.rules)
        found = torch.zeros(len(states), len(self.words), len(states), dtype=torch.float64)
        for i, choices in enumerate(self.rules.values()):
            for word, (probability, then) in choices.items():
                found[i, self.words.index(word), states.index(then)] = probability
        return found

    def sample(self, n: int, length: int, g: torch.Generator) -> Tensor:
        """Tokens int64 (n, length)."""
        state, tokens = torch.zeros(n, dtype=torch.int64), []
        for _ in range(length):
            arc = torch.multinomial(self.arcs[state].flatten(1), 1, generator=g)[:, 0]
            tokens.append(arc // len(self.arcs))
            state = arc % len(self.arcs)
        return torch.stack(tokens, 1)

    def log_prob(self, tokens: Tensor, error: float = 0.0) -> Tensor:
        """log P(tokens) (N,) in nats, by the forward algorithm; float64.

        error: the probability that a word is replaced by a random one. Without errors, -inf for tokens that break a
            rule.

        Raises:
            ValueError: a token is not one of the grammar's words.
        """
        if int(tokens.min()) < 0 or int(tokens.max()) >= len(self.words):
            raise ValueError(
                f"the grammar has {len(self.words)} words, but tokens are from {int(tokens.min())} to "
                f"{int(tokens.max())}"
            )
        anything = self.arcs.sum(1, keepdim=True) / len(self.words)
        arcs = ((1 - error) * self.arcs + error * anything).to(tokens.device)
        at = one_hot(torch.zeros_like(tokens[:, 0]), len(arcs)).double()  # P(words so far, state)
        for word in tokens.T:
            at = torch.einsum("ns,nst->nt", at, arcs[:, word].transpose(0, 1))
        return at.sum(1).log()

    def grammatical(self, tokens: Tensor) -> Tensor:
        """bool (N,): whether tokens (N, length) break no rule."""
        return self.log_prob(tokens).isfinite()

    def text(self, tokens: Tensor) -> list[str]:
        """One line of words for each row of tokens (N, length)."""
        return [" ".join(self.words[word] for word in row) for row in tokens.tolist()]


GRAMMAR = Grammar(rules())


def grammar(split: str = "train", size: int = 3) -> Images:
    """1,000 lists of sentences of size x size words, as images (N, 1, size, size)."""
    tokens = GRAMMAR.sample(COUNTS[split], size * size, generator("grammar", split))
    pixels = (tokens * (255 // (len(GRAMMAR.words) - 1))).byte().view(-1, 1, size, size)
    return Images(pixels, torch.zeros(len(tokens), dtype=torch.int64), ("sentences",), "grammar")
