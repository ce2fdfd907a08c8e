"""Two styles of one grammar, for the translation of sequences without pairs: sentences that are kind or unkind.

Both have the rules of `genlab.data.grammar`, with uneven probabilities, so that every word has a frequency of its own.
Nouns, numbers, "and" and the full stop are their common content; verbs and adjectives are of one style, and every one
has one opposite in the other. So the correct translation of a sentence is known, word by word.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.data.grammar import COUNTS, Grammar, Rules, rules
from genlab.data.images import Images
from genlab.data.seeds import generator

OPPOSITES = {  # kind -> unkind
    **{"likes": "hates", "like": "hate", "sees": "bites", "see": "bite", "runs": "sleeps", "run": "sleep"},
    **{"old": "mean", "red": "dirty"},
}
WEIGHTS = {  # of a word among those that may come next, relative to the rules of the grammar
    **dict.fromkeys(("see", "sees"), 2.0),
    **{"old": 2.0, "cat": 1.5, "cats": 1.5, "two": 0.6},
}


def uneven(rules: Rules) -> Rules:
    """The rules with every probability times the weight of its word, normalised."""
    found = {}
    for state, choices in rules.items():
        weighted = {word: (p * WEIGHTS.get(word, 1.0), then) for word, (p, then) in choices.items()}
        total = sum(p for p, _ in weighted.values())
        found[state] = {word: (p / total, then) for word, (p, then) in weighted.items()}
    return found


def reworded(rules: Rules, words: dict[str, str]) -> Rules:
    """The same rules with other words."""
    return {state: {words.get(word, word): way for word, way in choices.items()} for state, choices in rules.items()}


KIND = Grammar(uneven(rules()))
UNKIND = Grammar(reworded(KIND.rules, OPPOSITES))  # word i of one is the translation of word i of the other
STYLES = {"kind": KIND, "unkind": UNKIND}
VOCABULARY = (*KIND.words, *OPPOSITES.values())  # the tokens of both styles
PARTNER = torch.tensor(  # token -> that of its translation; content words are their own
    [VOCABULARY.index({**OPPOSITES, **{b: a for a, b in OPPOSITES.items()}}.get(word, word)) for word in VOCABULARY]
)


def common(tokens: Tensor, style: str) -> Tensor:
    """Tokens of a style's own grammar, int64 (N, T), as indices into VOCABULARY."""
    return torch.tensor([VOCABULARY.index(word) for word in STYLES[style].words])[tokens]


def in_style(tokens: Tensor, style: str) -> Tensor:
    """Tokens of VOCABULARY (N, T) -> bool (N, T): whether the word is of the style, or content."""
    return torch.tensor([word in STYLES[style].words for word in VOCABULARY])[tokens]


def grammatical(tokens: Tensor, style: str) -> Tensor:
    """Tokens of VOCABULARY (N, T) -> bool (N,): whether all words are of the style and break no rule."""
    words = STYLES[style].words
    own = torch.tensor([words.index(word) if word in words else 0 for word in VOCABULARY])[tokens]
    return STYLES[style].grammatical(own) & in_style(tokens, style).all(1)


def sentences(style: str, split: str = "train", size: int = 3) -> Images:
    """1,000 lists of sentences of size x size words in a style, as grey images (N, 1, size, size): token t has the
    level round(255 t / (words - 1)). No list of one style is the translation of one of the other on purpose."""
    tokens = STYLES[style].sample(COUNTS[split], size * size, generator("grammar", style, split))
    levels = (common(tokens, style) * 255 / (len(VOCABULARY) - 1)).round().byte()
    return Images(levels.view(-1, 1, size, size), torch.zeros(len(tokens), dtype=torch.int64), ("sentences",), style)


def text(tokens: Tensor) -> list[str]:
    """One line of words for each row of tokens (N, T) of VOCABULARY."""
    return [" ".join(VOCABULARY[word] for word in row) for row in tokens.tolist()]
