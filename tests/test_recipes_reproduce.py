"""Claims: what is measured and stored, what a check finds, and that the repository's own results hold."""

import json
import re
import runpy
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO

import pytest
from command_lines import check_line
from recipe_runs import RECIPES, run

from genlab.cli.main import main
from genlab.reporting.claims import Claim, faults, filled, read_claims, read_result, rendered
from genlab.reporting.measured import ClaimError, Figure, Rows, summary, value_cell

RESULTS = RECIPES / "results"
CLAIMS = read_claims(RESULTS / "claims.toml")
TINY = """
[[claim]]
name = "tiny"
source = "nobody"
commands = ["genlab train classifier --net shallow --images 64 --seed {seed} --out {out}"]
seeds = [3]
minutes = 0.1
[[claim.figure]]
name = "accuracy"
read = ["results.json", "accuracy"]
at_least = 0.0
paper = "1.0"
"""


def reproduce(*words):
    """Status and output of the recipe's command line."""
    out, argv = StringIO(), sys.argv
    sys.argv = [str(RECIPES / "reproduce.py"), *map(str, words)]
    try:
        with redirect_stdout(out), pytest.raises(SystemExit) as done:
            runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        sys.argv = argv
    return done.value.code, out.getvalue()


@pytest.fixture
def started(monkeypatch):
    """The command lines of genlab for which processes are started; they run in this one, which has imported torch."""
    lines, other = [], subprocess.run

    def start(words, **options):
        if words[:3] != [sys.executable, "-m", "genlab"]:
            return other(words, **options)
        lines.append(words[3:])
        return subprocess.CompletedProcess(words, main(words[3:]))

    monkeypatch.setattr(subprocess, "run", start)
    return lines


def test_the_stored_results_are_as_claimed_and_the_tables_are_made_of_them():
    status, out = reproduce("--check")
    assert status == 0 and "as claimed" in out


def test_every_stored_result_is_of_a_claim_and_stands_in_a_table():
    pages = "".join(path.read_text() for path in RESULTS.glob("*.md"))
    for path in RESULTS.glob("*.json"):
        assert path.stem in CLAIMS and re.search(f"<!-- results: {path.stem}(/[^ ]+)? -->", pages), path.stem


@pytest.mark.parametrize("command", [command for claim in CLAIMS.values() for command in claim.commands])
def test_the_commands_of_claims_have_options_that_exist(command, monkeypatch):
    line = re.sub(r"\{(data|out)\}", "DIR", command).replace("{seed}", "0")
    check_line(line if line.startswith("genlab") else f"python {line}", monkeypatch)


def test_a_claim_is_measured_once_stored_with_its_origin_and_checked(tmp_path, started):
    (tmp_path / "claims.toml").write_text(TINY)
    (tmp_path / "page.md").write_text("# Page\n<!-- results: tiny -->\n<!-- end of results -->\nafter\n")
    assert reproduce("--check", "--results", tmp_path)[0] == 2  # nothing is stored for the table
    assert "holds" in run("reproduce", tmp_path)

    stored = read_result(tmp_path / "tiny.json")
    accuracy = json.loads((tmp_path / "runs" / "tiny" / "3" / "results.json").read_text())["accuracy"]
    assert stored["figures"]["accuracy"] == summary([accuracy])
    assert stored["runs"][0]["seed"] == 3
    assert stored["runs"][0].keys() >= {"commit", "date", "torch", "processor", "minutes"}

    assert reproduce("--check", "--results", tmp_path)[0] == 2  # the table is empty
    assert reproduce("--render", "--results", tmp_path)[0] == 0
    assert reproduce("--check", "--results", tmp_path)[0] == 0
    assert f"| accuracy | 1.0 | {accuracy:.4g} | ≥ 0 |" in (tmp_path / "page.md").read_text()
    assert (tmp_path / "page.md").read_text().endswith("<!-- end of results -->\nafter\n")

    run("reproduce", tmp_path)
    assert [line[:2] for line in started] == [["train", "classifier"]]  # finished seeds are not trained again


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"commands": 3}', '{"commands": [], "figures": 3}'])
def test_a_damaged_seed_is_named(content, tmp_path, capfd):
    (tmp_path / "claims.toml").write_text(TINY)
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    (tmp_path / "runs" / "tiny" / "3.json").write_text(content)
    assert reproduce("--results", tmp_path, "--out", tmp_path / "runs")[0] == 2
    error = capfd.readouterr().err
    assert "tiny/3.json" in error and error.count("\n") == 1 and not (tmp_path / "tiny.json").exists()


@pytest.fixture
def read(tmp_path):
    def claims(text):
        (tmp_path / "claims.toml").write_text(text)
        return read_claims(tmp_path / "claims.toml")

    return claims


def test_a_word_of_a_command_may_have_spaces(read, tmp_path):
    claim = next(iter(read(TINY).values()))
    words = claim.words("recipes/some.py --methods 'packs of 4' hinge --out {out}", 0, "", tmp_path / "an out")
    assert words == ["recipes/some.py", "--methods", "packs of 4", "hinge", "--out", str(tmp_path / "an out")]


def test_a_check_names_what_differs(read):
    claim = next(iter(read(TINY).values()))
    result = {"commands": claim.commands, "seeds": [3], "figures": {"accuracy": summary([0.5, 0.7])}, "runs": []}
    assert faults(claim, result) == []
    assert "other commands or seeds" in faults(claim, result | {"seeds": [4]})[0]
    assert "no result is stored" in faults(claim, result | {"figures": {}})[0]
    forged = {"accuracy": summary([0.5, 0.7]) | {"mean": 0.9}}
    assert "not those of its values" in faults(claim, result | {"figures": forged})[0]
    low = {"accuracy": summary([-0.5])}
    assert "-0.5, claimed is ≥ 0" in faults(claim, result | {"figures": low})[0]


@pytest.mark.parametrize(
    "values, shown",
    [
        ([0.5], "0.5"),
        ([3, 3], "3 ± 0"),
        ([12032, 12032], "12032 ± 0"),
        ([0.9701, 0.9799], "0.9750 ± 0.0069"),
        ([638, 921], "780 ± 200"),
        ([9000, 14000], "11500 ± 3500"),
    ],
)
def test_a_cell_has_two_digits_of_the_deviation(values, shown):
    assert value_cell(summary(values)) == shown


def test_a_mean_holds_within_the_tolerance_or_the_bounds():
    near = Figure("a", ["f"], expected=1.0, tolerance=0.1)
    assert near.holds(1.05) and near.holds(0.95) and not near.holds(1.2) and not near.holds(0.8)
    between = Figure("a", ["f"], at_least=1.0, at_most=2.0)
    assert between.holds(1.0) and between.holds(2.0) and not between.holds(0.9) and not between.holds(2.1)
    assert not near.holds(float("nan")) and not between.holds(float("nan"))


def test_a_figure_is_read_by_keys_indices_and_the_values_of_its_row(tmp_path):
    rows = [{"net": "a", "error": 1}, {"net": "b", "error": 2}, {"net": "b", "error": 3}]
    (tmp_path / "f.json").write_text(json.dumps({"rows": rows}))

    def number(*steps):
        return Figure("x", ["f.json", *steps], at_least=0).measured(tmp_path)

    assert number("rows", {"net": "a"}, "error") == 1 and number("rows", 2, "error") == 3
    for steps in (("rows", {"net": "b"}, "error"), ("rows", 3, "error"), ("none",), ("rows", 0, "net"), ("rows",)):
        with pytest.raises(ClaimError, match="'x'"):
            number(*steps)


@pytest.mark.parametrize(
    "old, new, said",
    [
        ('name = "tiny"', 'name = "../tiny"', "small letters"),
        ("seeds = [3]", "seeds = [3, 3]", "each only once"),
        ("seeds = [3]", "", "no 'seeds'"),
        ("genlab train", "rm -r", "a command must be of genlab or recipes/NAME.py"),
        ("genlab train classifier", "recipes/../../x.py", "a command must be"),
        ("at_least = 0.0", "", "needs expected with tolerance"),
        ("at_least = 0.0", "expected = 1.0", "needs expected with tolerance"),
        ("at_least", "at_last", "unknown key 'at_last'"),
        ("[[claim]]", "[[claim", "not readable as TOML"),
        ("seeds = [3]", "seeds = 3", "seeds must be"),
        (TINY, "claim = 'x'", "claim must be tables"),
        ("[[claim.figure]]", "figure = 'x'\n[claim.other]", "figure must be tables"),
        ("at_least = 0.0", "expected = 1.0\ntolerance = -1.0", "tolerance must be at least 0, got -1"),
    ],
)
def test_a_malformed_claim_is_named(read, old, new, said):
    with pytest.raises(ClaimError, match=re.escape(said)):
        read(TINY.replace(old, new))


ERRORS = Rows("errors", ["f.json"], ("net", "T"), ("error", "bytes"))


def test_a_table_has_the_mean_and_deviation_of_every_number_over_the_seeds(tmp_path):
    measured = []
    for error in (1, 3):
        rows = [{"net": "a", "T": None, "error": error, "more": "x"}, {"net": "b", "T": 2, "error": 5.0, "bytes": 7}]
        (tmp_path / "f.json").write_text(json.dumps(rows))
        measured.append(ERRORS.measured(tmp_path))
    table = ERRORS.summary(measured)
    assert table[0] == {"net": "a", "T": None, "error": summary([1, 3]), "bytes": None}
    assert table[1]["bytes"] == summary([7, 7])
    lines = ERRORS.rendered(table)
    assert lines[0] == "| net | T | error | bytes |" and lines[2] == "| a | – | 2.0 ± 1.4 | – |"
    wide = Rows("errors", ["f.json"], ("net", "T"), ("error",), across="T").rendered(table)
    assert wide[0] == "| net | T – | T 2 |" and wide[2:] == ["| a | 2.0 ± 1.4 | – |", "| b | – | 5 ± 0 |"]
    deep = Rows("success", ["f.json"], ("net",), ("success.value", "l2.median"), where={"source": "none"})
    nested = {"net": "a", "source": "none", "success": {"value": 0.5}, "l2": {"median": 2}}
    (tmp_path / "f.json").write_text(json.dumps([nested, nested | {"source": "a", "net": "b"}]))
    found = deep.summary([deep.measured(tmp_path)])
    assert deep.rendered(found) == ["| net | success | l2, median |", "|---|---|---|", "| a | 0.5 | 2 |"]
    with pytest.raises(ClaimError, match="'success' must be numbers"):
        Rows("success", ["f.json"], ("net",), ("success",)).measured(tmp_path)
    with pytest.raises(ClaimError, match="must be one of several rows"):
        Rows("errors", ["f.json"], ("net",), ("error",), across="net")
    with pytest.raises(ClaimError, match="other rows"):
        ERRORS.summary([measured[0], measured[1][:1]])

    claim = Claim("tiny", "nobody", ["genlab train gan"], (0, 1), 1.0, table=(ERRORS,))
    result = {"commands": claim.commands, "seeds": [0, 1], "figures": {}, "runs": [], "tables": {"errors": table}}
    assert faults(claim, result) == [] and "| b | 2 | 5 ± 0 |" in rendered(claim, result, "errors")
    forged = [table[0] | {"error": summary([1, 3]) | {"mean": 9.0}}]
    assert "not those of its values" in faults(claim, result | {"tables": {"errors": forged}})[0]
    assert "no rows of these columns" in faults(claim, result | {"tables": {}})[0]
    with pytest.raises(ClaimError, match="no table 'other'"):
        rendered(claim, result, "other")


@pytest.mark.parametrize(
    "content, said",
    [("{}", "list of rows"), ('[{"net": "a"}]', "no 'T'"), ('[{"net": "a", "T": 1, "error": "x"}]', "must be numbers")],
)
def test_a_table_without_words_or_numbers_is_named(content, said, tmp_path):
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(ClaimError, match=said):
        ERRORS.measured(tmp_path)


def test_two_claims_of_one_name_are_refused(read):
    with pytest.raises(ClaimError, match="two claims"):
        read(TINY + TINY)


def test_a_table_of_an_unknown_claim_is_refused(tmp_path):
    with pytest.raises(ClaimError, match="'nosuch'"):
        filled("<!-- results: nosuch -->\n<!-- end of results -->", CLAIMS, tmp_path)


@pytest.mark.parametrize("words, said", [(["--only", "nosuch"], "unknown claim"), (["--within", "soon"], "--within")])
def test_bad_options_get_one_sentence(words, said, capfd):
    assert reproduce(*words)[0] == 2
    assert said in capfd.readouterr().err


GOOD = {"commands": [], "seeds": [0], "figures": {"f": summary([1.0])}, "runs": [{"minutes": 1.0, "commit": None}]}


@pytest.mark.parametrize(
    "damage, said",
    [
        ({"figures": {"f": 3}}, "'f' must have mean"),
        ({"figures": {"f": {}}}, "'f' must have mean"),
        ({"figures": {"f": summary([1.0]) | {"values": "x"}}}, "'f' must have mean"),
        ({"figures": {"f": summary([1.0]) | {"values": []}}}, "'f' must have mean"),
        ({"runs": [{}]}, "a run must have minutes"),
        ({"tables": {"t": [3]}}, "'t' must be a list of rows"),
        ({"tables": 3}, "tables must be lists"),
    ],
)
def test_a_damaged_result_is_named(damage, said, tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(GOOD))
    assert read_result(tmp_path / "x.json") == GOOD
    (tmp_path / "x.json").write_text(json.dumps(GOOD | damage))
    with pytest.raises(ClaimError, match=rf"x.json: .*{said}"):
        read_result(tmp_path / "x.json")


def test_a_cell_of_another_form_and_a_page_of_another_coding_are_named(tmp_path, capfd):
    claim = Claim("tiny", "nobody", ["genlab train gan"], (0,), 1.0, table=(ERRORS,))
    row = {"net": "a", "T": 1, "error": 5, "bytes": None}
    result = {"commands": claim.commands, "seeds": [0], "figures": {}, "runs": [], "tables": {"errors": [row]}}
    assert "has no mean, sd and n" in faults(claim, result)[0]
    (tmp_path / "claims.toml").write_text(TINY)
    (tmp_path / "p.md").write_bytes(b"\xff")
    assert reproduce("--check", "--results", tmp_path)[0] == 2
    assert "p.md is not UTF-8" in capfd.readouterr().err
    assert reproduce("--check", "--results", tmp_path / "nothere")[0] == 2
    assert "--results must be a folder with claims.toml" in capfd.readouterr().err
