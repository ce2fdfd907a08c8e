"""Every figure on a page stands in a stored result: none is copied by hand, none outlives what it was measured by."""

import json
import re
from pathlib import Path

import pytest
from test_docs import ROWS, SHOWN_BY

from genlab.reporting.claims import read_claims

RESULTS = Path(__file__).parents[1] / "recipes" / "results"
CLAIMS = read_claims(RESULTS / "claims.toml")
PAGES = sorted(RESULTS.glob("*.md"))
BLOCK = re.compile(r"<!-- results: ([a-z0-9-]+).*?<!-- end of results -->", re.DOTALL)
NO_FIGURES = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)|arXiv:\S+|\d+×\d+|ε = [\d.]+|^#.*$", re.DOTALL | re.MULTILINE)
FIGURE = re.compile(r"(?<![\w.-])\d[\d,]*\.\d+(?!\.\d)|(?<![\w.-])\d[\d,]*(?= (?:%|±))|(?<=± )\d[\d,.]*\d|(?<=± )\d")
# Tables that were measured before claims were stored, by page; there shall be none.
BY_HAND = {"attacks": 1, "gans": 1, "likelihood": 1}

# Figures of the text of a section that nothing measures: options, chance, differences, and what the tables by hand say.
NOT_MEASURED = {
    "Beside other libraries": ["1.2"],
    "Learnt beforehand": ["60"],
    "Few labels": ["1.4"],
    "Cheaper layers": ["95"],
    "Lottery tickets": ["1.3"],
    "Certificates": ["99.9", "2.46"],
    "Objectives on MNIST": ["3.5"],
    "BEGAN": ["0.1", "0.001"],
    "EBGAN early in training": ["0.1"],
    "What metrics see": ["2.6"],
    "Word sequences": ["0.001", "0.0003", "0.001"],
    "Flows": ["1.05"],
    "Latents and codes": ["2.5"],
    "The bound and the likelihood": ["0.01"],
    "Without a cycle: depth, and closeness by features": ["12.5"],
}


def numbers(tree):
    """All numbers of stored figures and tables: of what was measured over seeds the mean and the deviation alone."""
    if isinstance(tree, dict) and "mean" in tree:
        tree = [tree["mean"], tree["sd"]]
    if isinstance(tree, dict | list):
        return [x for each in (tree.values() if isinstance(tree, dict) else tree) for x in numbers(each)]
    return [float(tree)] if isinstance(tree, int | float) and not isinstance(tree, bool) else []


def stored(names):
    """The numbers that are measured for these claims."""
    paths = [RESULTS / f"{name}.json" for name in names]
    results = [json.loads(path.read_text()) for path in paths if path.exists()]
    return [x for result in results for x in numbers([result["figures"], result.get("tables")])]


def stands(figure, measured):
    """Whether a number rounds to `figure`, as it is or in percent."""
    digits = len(figure.partition(".")[2])
    written, half = float(figure.replace(",", "")), 0.5001 * 10**-digits
    return any(abs(factor * x - written) <= half for x in measured for factor in (1, 100))


def unfounded(text, measured):
    words = " ".join(NO_FIGURES.sub(" ", text).split())
    return [figure for figure in FIGURE.findall(words) if not stands(figure, measured)]


def test_a_figure_is_found_as_it_is_and_in_percent():
    text = "`--eps 0.3`, arXiv:1412.6572, 28×28: 12.3 ± 0.4, 97 %, 1,234.5; version 1.2.3, ε = 0.7"
    assert unfounded(text, []) == ["12.3", "0.4", "97", "1,234.5"]
    assert unfounded(text, [12.345, 0.36, 0.974, 1234.52]) == []
    assert unfounded(text, [12.36, 0.36, 0.976, 1234.52]) == ["12.3", "97"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_figures_in_the_text_of_a_section_stand_in_its_stored_results(page):
    wrong = {}
    for section in re.split(r"^## ", page.read_text(), flags=re.MULTILINE):
        title = section.partition("\n")[0]
        text = re.sub(r"^\|.*$", "", BLOCK.sub("", section), flags=re.MULTILINE)
        found = unfounded(text, stored(set(BLOCK.findall(section))))
        if found != NOT_MEASURED.get(title, []):
            wrong[title] = found
    assert wrong == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_ever_fewer_tables_are_written_by_hand(page):
    tables = re.findall(r"^\|[-|]+\|$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    assert len(tables) == BY_HAND.get(page.stem, 0)


def test_figures_of_the_index_stand_in_stored_results():
    wrong = {}
    for number, _, where, result in ROWS:
        files = [SHOWN_BY[name] for name in re.findall(r"\[(\w+)\]", where)]
        pages = [BLOCK.findall((RESULTS.parent / file).read_text()) for file in files if file.endswith(".md")]
        named = [
            claim.name
            for claim in CLAIMS.values()
            if any(f"recipes/{file} " in command for command in claim.commands for file in files)
        ]
        if found := unfounded(result, stored({*named, *(name for page in pages for name in page)})):
            wrong[number] = found
    assert not wrong
