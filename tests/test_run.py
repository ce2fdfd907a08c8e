"""The run directory, the report, and experiments that fill them."""

import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from toys import METHODS

import genlab
from genlab.core.picture import as_picture, in_rows
from genlab.data.options import DataOptions
from genlab.experiment import Experiment
from genlab.loading import config_of, data_of, load
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.grid import grid, save_grid
from genlab.reporting.labelled import groups_png, labelled_grid, save_picture
from genlab.reporting.plots import front
from genlab.reporting.report import Report
from genlab.reporting.spread import plus_minus, spread
from genlab.run import Run, RunError
from genlab.training.method import TrainOptions

TINY = TrainOptions(images=64, batch=16, log_every=32, save_every=32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "gan"
    experiment = Experiment(METHODS["gan"], DataOptions("digits"), **vars(TINY))
    return experiment.run(path, pictures=2), path, experiment


def test_a_run_holds_all_that_the_readme_promises(trained):
    method, path, _ = trained
    names = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    assert {"config.json", "metrics.jsonl", "results.json", "report.html"} <= names
    assert {"samples/samples-000000032.png", "samples/samples-000000064.png"} <= names
    assert [row["images"] for row in Run(path).metrics()] == [32, 64]
    config = json.loads((path / "config.json").read_text())
    assert config["experiment"]["training"]["seed"] == 0 and config["versions"]["torch"] and "git" in config


def test_a_loaded_run_is_the_trained_method(trained):
    method, path, _ = trained
    again = genlab.load(path)
    assert not again.training and not any(p.requires_grad for p in again.parameters())
    torch.manual_seed(0)
    expected = method.sample(4)
    torch.manual_seed(0)
    torch.testing.assert_close(again.sample(4), expected)


def test_a_loaded_run_is_the_average_if_there_is_one(tmp_path):
    options = TrainOptions(images=64, batch=16, half_life=50)
    method = Experiment(METHODS["classifier mlp"], DataOptions("digits"), **vars(options)).run(tmp_path / "r")
    assert all(torch.equal(p, q) for p, q in zip(method.parameters(), load(tmp_path / "r").parameters(), strict=True))
    live = Run(tmp_path / "r").checkpoints.load()["method"]
    assert not torch.equal(live["net.2.weight"], method.net[2].weight.cpu())


def test_options_survive_the_way_through_json(trained):
    _, path, experiment = trained
    assert config_of(Run(path)) == experiment.method and data_of(Run(path)) == experiment.data


def test_the_same_command_continues_and_another_experiment_is_refused_naming_the_difference(tmp_path):
    def go(images, lr=0.05):
        options = TrainOptions(images=images, batch=16, log_every=16)
        return Experiment(ClassifierConfig(net="mlp", width=8, lr=lr), **vars(options)).run(tmp_path / "r")

    go(32)
    longer = go(64)
    assert [row["images"] for row in Run(tmp_path / "r").metrics()] == [16, 32, 48, 64]
    with pytest.raises(RunError, match=r"options.lr is 0.05 there and 0.1 here; choose another --out"):
        go(64, lr=0.1)
    before = (tmp_path / "r" / "config.json").read_bytes()
    with pytest.raises(
        RunError, match="r was trained for 64 images, more than the 32 of --images; choose another --out"
    ):
        go(32)
    assert (tmp_path / "r" / "config.json").read_bytes() == before
    assert torch.equal(load(tmp_path / "r").net[2].weight, longer.net[2].weight)


def test_an_interrupted_training_does_not_become_shorter_than_it_is(tmp_path):
    def go(images, stop_after=10**9):
        def stop(seen, method):
            if seen >= stop_after:
                raise KeyboardInterrupt

        options = TrainOptions(images=images, batch=16, save_every=16)
        experiment = Experiment(ClassifierConfig(net="mlp", width=8), **vars(options))
        return experiment.run(tmp_path / "r", hooks=[(16, stop)])

    with pytest.raises(KeyboardInterrupt):
        go(96, stop_after=64)
    seen, before = Run(tmp_path / "r").seen(), (tmp_path / "r" / "config.json").read_bytes()
    with pytest.raises(RunError, match=f"r was trained for {seen} images, more than the 32 of --images"):
        go(32)
    assert seen >= 48 and (tmp_path / "r" / "config.json").read_bytes() == before
    go(80)  # shorter than it was to be, longer than it is
    assert [row["images"] for row in Run(tmp_path / "r").metrics()][-1] == 80


@pytest.mark.parametrize("name", ["results.json", "metrics.jsonl", "report.html", "real.png", "samples", "checkpoints"])
def test_what_stands_in_the_place_of_a_file_of_the_run_is_refused_before_training(name, tmp_path):
    experiment = Experiment(METHODS["gan"], DataOptions("digits"), **vars(TINY))
    experiment.run(tmp_path / "r", hooks=[(1, lambda images, method: True)])
    there = tmp_path / "r" / name
    if there.exists():
        there.rename(tmp_path / "aside")
    there.mkdir() if "." in name else there.touch()
    with pytest.raises(RunError, match=f"{name} is not a (regular file|folder)"):
        experiment.run(tmp_path / "r", hooks=[(1, lambda images, method: pytest.fail("it trains"))])


def test_results_that_are_damaged_are_refused_before_training(tmp_path):
    Run.create(tmp_path / "r", {})
    (tmp_path / "r" / "results.json").write_text("[")
    with pytest.raises(RunError, match="results.json is not readable as JSON"):
        Run.create(tmp_path / "r", {})


def test_figures_of_a_classifier_are_those_of_the_test_split(tmp_path):
    experiment = Experiment(ClassifierConfig(net="mlp", width=64), images=20_000, batch=50)
    method = experiment.run(tmp_path / "r")
    test = experiment.data.load("test")
    right = (method(test.x).argmax(1) == test.labels).float().mean().item()
    assert Run(tmp_path / "r").results()["accuracy"] == pytest.approx(right) and right > 0.85


@pytest.mark.parametrize("name", ["../outside.png", "/tmp/outside.png", "a/../../outside", "."])
def test_names_that_leave_the_run_are_refused(name, tmp_path):
    run = Run.create(tmp_path / "r", {})
    with pytest.raises(RunError, match="leads outside of the run"):
        run.file(name)
    assert run.file("samples", "a.png") == tmp_path / "r" / "samples" / "a.png"


def test_what_is_no_run_is_refused_in_a_sentence(tmp_path):
    for open_run in (load, Run, lambda path: Run.create(path, {}), Experiment.of, Experiment(METHODS["gan"]).run):
        with pytest.raises(ValueError, match=r"must be (text or )?(a path|of class Run).*got 3"):
            open_run(3)
    with pytest.raises(RunError, match="has no config.json"):
        Run(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match="not readable"):
        Run(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match="exists and is not a run"):
        Run.create(tmp_path / "full", {})
    with pytest.raises(RunError, match="no checkpoint yet"):
        about = {**Experiment(METHODS["gan"]).options(), "shape": [1, 8, 8], "classes": 10}
        load(Run.create(tmp_path / "new", about))


@pytest.mark.parametrize("method", ["os:system", "genlab.run:Run", "no.such:Thing", ""])
def test_a_configuration_can_only_name_methods(method, tmp_path):
    run = Run.create(tmp_path / "r", {"method": method, "options": {"command": "touch owned"}})
    with pytest.raises(RunError):
        config_of(run)


def test_lines_that_a_kill_cut_short_or_a_resume_repeats_are_dropped(tmp_path):
    run = Run.create(tmp_path / "r", {})
    for images in (10, 20, 30):
        run.log({"images": images})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"images": 4')
    assert [row["images"] for row in run.metrics()] == [10, 20, 30]
    run.truncate_log(2)
    run.log({"images": 30})
    assert (run.path / "metrics.jsonl").read_text() == '{"images": 10}\n{"images": 20}\n{"images": 30}\n'


def test_a_run_keeps_the_weights_with_the_best_validation_figure(tmp_path):
    data = DataOptions("digits", hold_out=True)
    options = {"images": 3000, "batch": 50, "best_by": "max:accuracy", "half_life": 100}
    experiment = Experiment(ClassifierConfig(net="mlp", width=8, lr=3.0), data, **options)  # it wanders
    method = experiment.run(tmp_path / "r", pictures=1)
    kept = Run(tmp_path / "r").checkpoints.load()["best"]
    assert method.evaluate(data.load("validation"))["accuracy"] == kept["best"] and 0 < kept["images"] <= 3000
    assert all(torch.equal(a, b) for a, b in zip(method.parameters(), load(tmp_path / "r").parameters()))
    again = experiment.run(tmp_path / "r", pictures=1)
    assert all(torch.equal(a, b) for a, b in zip(method.parameters(), again.parameters()))


@pytest.mark.parametrize(
    ("options", "hold_out", "sentence"),
    [
        ({"best_by": "accuracy"}, True, "as in max:accuracy or min:loss, got 'accuracy'"),
        ({"best_by": "max:acc"}, True, "'acc' is not a metric of this method; its metrics: accuracy"),
        ({"best_by": "max:accuracy"}, False, "exclude them with --hold-out"),
        ({"patience": 3}, True, "--patience needs --best-by, got 3"),
    ],
)
def test_a_figure_to_choose_by_is_refused_before_training(options, hold_out, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        data = DataOptions("digits", hold_out=hold_out)
        Experiment(ClassifierConfig(net="mlp", width=8), data, images=64, **options).run(tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_the_report_is_one_self_contained_page(trained):
    page = (trained[1] / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 3  # a grid and curves
    assert not re.search(r'(src|href)="(?!data:)', page) and "discriminator" in page


def test_the_report_escapes_what_it_is_given(tmp_path):
    page = Report("<a>").section("<b>").table(["<c>"], [["<d>", 0.123456, True]]).warnings(["<e>"])
    text = page.save(tmp_path / "deep" / "r.html").read_text()
    assert not re.search(r"<[acde]>", text) and "&lt;d&gt;" in text and "0.1235" in text


def test_a_run_shows_real_images_and_samples_over_the_training(trained):
    _, out, _ = trained
    page = (out / "report.html").read_text()
    assert "real images, held out" in page and re.search(r"samples after [\d,]+ images", page)
    assert 'name="viewport"' in page and "git " in page and '<div class="table">' in page
    assert Run(out)._repr_html_().startswith("<iframe srcdoc=")
    assert "without a report" in Run.create(out.parent / "empty", {})._repr_html_()


def test_sample_grids_are_spread_over_the_training(tmp_path):
    run = Run.create(tmp_path / "run", {})
    for images in range(100, 1100, 100):
        save_picture(torch.zeros(1, 1, 2, 2), run.file("samples", f"samples-{images:09d}.png"))
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", Report("r").run(run).html())
    assert captions == [f"samples after {n} images" for n in ("100", "400", "700", "1,000")]


def test_a_labelled_grid_has_its_labels_and_the_images_unchanged():
    x = torch.rand(4, 1, 16, 16)
    bare = labelled_grid(x, 2, tile=16)
    assert bare.size == (2 * (24 + 4), 2 * (16 + 4))
    pixels = torch.tensor(np.asarray(bare.convert("L")), dtype=torch.int64)
    assert torch.equal(pixels[:16, 4:20], x[0, 0].mul(255).round().long())
    named = labelled_grid(x, 2, tile=16, rows=["original", "adversarial"], heads=["a"], captions=["7", "→ 3\n0.98"])
    assert named.width > bare.width and named.height == bare.height + 16 + 2 * 2 * 16
    assert labelled_grid(x, 2, tile=16, captions=["much too long to fit"]).width == bare.width
    assert bare.width < labelled_grid(x, 2, tile=16, heads=["night:sprites"]).width <= 2 * (2 * 16 + 4)


def test_a_picture_of_rows_has_as_many_columns_as_images():
    x = torch.full((20, 1, 4, 4), 2.0)
    picture = in_rows({"a": x, "b": x[:16]})
    assert picture.columns == 16 and picture.rows == ("a", "b") and len(picture.images) == 32
    assert picture.images.max() == 1 and as_picture(x).images is x


def test_reports_and_images_show_themselves_in_notebooks():
    assert "<h1>a</h1>" in Report("a").facts(clean_accuracy="99 %")._repr_html_()
    assert "clean accuracy <b>99 %</b>" in Report("a").facts(clean_accuracy="99 %").html()
    assert genlab.DataOptions("digits").load("test")._repr_png_()[:4] == b"\x89PNG"


def test_a_standard_deviation_stands_beside_its_mean():
    header = ["net", "error", "error (sd)", "seconds", "(sd)", "note"]
    rows = [["cnn", 0.0432, 0.0021, 12, 0.0, "sd"], ["mlp", None, None, 3.5, 0.25, "none"]]
    (table,) = Report("r").table(header, rows).tables
    assert table.header == ["net", "error", "seconds", "note"]
    assert table.rows == [("cnn", "0.0432 ± 0.0021", "12", "sd"), ("mlp", "–", "3.50 ± 0.25", "none")]


def test_the_end_of_a_recipe_shows_tables_and_writes_results_and_report(tmp_path, capsys):
    header, rows = (
        ["network", "errors"],
        [["student [30]", 10.25], ["teacher", 7], ["a name that is longer than any line " * 3, None]],
    )
    report = Report("r").section("Errors").table(header, rows).warnings(["weights were nan"])
    finish(tmp_path / "out", report, records(header, rows))
    shown = capsys.readouterr().out
    assert "…" not in shown and all(
        word in shown.replace("\n", "")
        for word in ("Errors", "student [30]", "10.25", "warning: weights were nan", "report.html")
    )
    assert json.loads((tmp_path / "out" / "results.json").read_text())[1] == {"network": "teacher", "errors": 7}
    assert "student [30]" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(TypeError):
        finish(tmp_path / "none", report, {"x": torch.zeros(1)})
    assert not (tmp_path / "none").exists()


def test_the_spread_is_that_of_a_sample_and_nothing_of_one_value():
    assert plus_minus([1.0, 2.0, 3.0]) == "2.0 ± 1.0" and plus_minus([2.0]) == "2.0"
    assert spread(iter([1.0, 2.0, 6.0])) == (3.0, pytest.approx(7**0.5)) and spread([0.5]) == (0.5, 0.0)


def test_a_pareto_front_leaves_out_what_another_point_equals_or_betters():
    points = {"cheap": (1.0, 9.0), "as cheap": (1.0, 9.5), "worse": (2.0, 9.0), "good": (3.0, 2.0), "dear": (4.0, 5.0)}
    assert front(points) == ["cheap", "good"]


def test_a_grid_puts_every_pixel_where_it_belongs(tmp_path):
    x = torch.zeros(5, 3, 4, 6)
    x[:, 0] = torch.arange(5).view(5, 1, 1) / 5
    picture = Image.open(save_grid(x, tmp_path / "sub" / "g.png", columns=2, tile=6))
    assert picture.size == (1 + 2 * 7, 1 + 3 * 5)
    for i in range(5):
        assert picture.getpixel((1 + 7 * (i % 2), 1 + 5 * (i // 2))) == (round(255 * i / 5), 0, 0)
    assert picture.getpixel((0, 0)) == picture.getpixel((10, 12)) == (255, 255, 255)
    assert grid(torch.rand(4, 1, 8, 8)).size == (8 * 19, 8 * 19)
    with pytest.raises(ValueError, match=r"\(0, 1, 8, 8\)"):
        grid(torch.rand(0, 1, 8, 8))


def test_tiny_images_are_enlarged_smoothly_and_tiles_do_not_run_into_each_other():
    x = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8), torch.zeros(1, 8, 8)])
    x[2, :, :, 4:] = 1
    tiles = np.asarray(grid(x, 3, gap=0, tile=64))
    assert tiles.shape == (64, 192) and (tiles[:, :64] == 0).all() and (tiles[:, 64:128] == 255).all()
    assert len(np.unique(tiles[:, 128:])) > 2  # between black and white there is grey
    assert set(np.unique(np.asarray(grid(x, 3, gap=0, tile=24)))) == {0, 255}  # three times: as squares


def test_groups_of_images_begin_a_row_with_their_name():
    x = torch.rand(5, 1, 8, 8)
    picture = Image.open(io.BytesIO(groups_png({"real": x, "fake": x[:2]}, columns=3)))
    alone = labelled_grid(
        torch.cat([x, torch.ones(1, 1, 8, 8), x[:2], torch.ones(1, 1, 8, 8)]), 3, rows=["real", "", "fake"]
    )
    assert picture.size == alone.size and picture.convert("RGB").tobytes() == alone.tobytes()
