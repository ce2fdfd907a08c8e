"""The command line as a user meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toys import METHODS

from genlab.cli.main import main
from genlab.core.registry import OTHER_NAMES
from genlab.data import SOURCES
from genlab.data.options import DataOptions
from genlab.experiment import Experiment
from genlab.loading import load
from genlab.methods import METHODS as METHODS_OF_GENLAB
from genlab.plugins import gather


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A classifier that knows digits a little, and a GAN that does not."""
    folder = tmp_path_factory.mktemp("runs")
    Experiment(METHODS["classifier mlp"], DataOptions(), images=8000).run(folder / "classifier", pictures=1)
    Experiment(replace(METHODS["gan"], lr=2e-4), DataOptions(), images=64).run(folder / "gan", pictures=1)
    return folder


def test_help_is_quick_and_names_every_command():
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "genlab", "--help"], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in ("train", "sample", "attack", "report", "list"))
    assert seconds < 2, seconds  # 0.1 s on a free machine; the import of torch alone would take longer than this


@pytest.mark.parametrize(
    "words",
    [
        "distillation --teachers RUN --net mlp --width 4 --images 64",
        "cyclegan --data unpaired:grey:digits,textured:digits --channels 1 --classifier RUN --perceptual 1 --cycle 0 "
        "--width 4 --blocks 1 --levels 1 --batch 2 --images 4",
    ],
)
def test_methods_that_build_on_another_run_train_load_and_continue(words, runs, tmp_path, capsys):
    command = ["train", *words.replace("RUN", str(runs / "classifier")).split(), "--out", str(tmp_path / "run")]
    for _ in range(2):  # the second finds everything done
        assert main(command) == 0
    assert load(tmp_path / "run") and str(runs / "classifier") in (tmp_path / "run" / "config.json").read_text()


@pytest.mark.parametrize(
    ("option", "command"),
    [
        ("--teachers", "distillation --teachers"),
        ("--others", "adversarial-training --others"),
        (
            "--classifier",
            "cyclegan --data unpaired:grey:digits,night:grey:digits --channels 1 --perceptual 1 --classifier",
        ),
    ],
)
@pytest.mark.parametrize(
    ("run", "fault"),
    [
        ("nosuch", "nosuch is not a run: it has no config.json"),
        ("RUNS/gan", "it holds a GAN"),
        ("RUNS/classifier --size 12", "it was trained on images (1, 8, 8) in 10 classes"),
    ],
)
def test_an_option_that_names_a_run_says_what_it_takes(option, command, run, fault, runs, tmp_path, capsys):
    value, *more = run.replace("RUNS", str(runs)).split(" ")
    assert main(["train", *command.split(), value, *more, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"genlab: {option} must name the run directory of a classifier of images (1, "), error
    assert f"got {value!r}: " in error and fault in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_student_without_teachers_and_a_perceptual_loss_without_classifier_are_refused_by_name(capsys):
    assert main(["train", "distillation"]) == 2
    assert "--teachers must name at least one run directory of a classifier, got none" in capsys.readouterr().err
    assert main(["train", "cyclegan", "--data", "unpaired:digits,night:digits", "--perceptual", "1"]) == 2
    assert "--perceptual above 0 and --classifier, the run directory of a classifier" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "sample", "attack", "report"])
def test_help_of_a_command_does_not_import_torch(command):
    code = (
        f"import sys; from genlab.cli.main import main\ntry: main(['{command}', '--help'])\nexcept SystemExit: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"], capture_output=True, text=True
    )
    assert "usage: genlab" in done.stdout and done.stdout.endswith("False\n"), done.stderr


def test_list_names_methods_data_attacks_and_defences(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("methods", "gan", "vae", "data", "cifar10", "attacks", "pgd", "median"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "gna"], "did you mean 'gan'"),
        (["train", "gan", "--data", "mnits"], "did you mean 'mnist'"),
        (["train", "gan", "--data", "folder:nowhere"], "nowhere"),
        (["sample", "nowhere"], "nowhere is not a run"),
        (["report", "nowhere"], "nowhere is not a run"),
        (["attack", "nowhere"], "nowhere is not a run"),
        (["attack", "x", "--attacks", "fgms"], "did you mean 'fgsm'"),
        (["attack", "x", "--defence", "medain"], "did you mean 'median'"),
        (["attack", "x", "--eps", "big"], "--eps must be numbers as in 0.1 or 8/255, got 'big'"),
        (["attack", "x", "--eps", "-1"], "--eps must be at least 0 and at most 1, got -1.0"),
        (["train", "gan", "--images", "0"], "--images must be at least 1 and at most 10,000,000,000, got 0"),
        (["train", "gan", "--width=-1"], "--width must be at least 1 and at most 65,536, got -1"),
        (["train", "gan", "--lr", "nan"], "--lr must be a finite number, above 0 and at most 10,000, got nan"),
        (
            ["train", "gan", "--width", "abc"],
            "--width must be a whole number, at least 1 and at most 65,536, got 'abc'",
        ),
        (["train", "gan", "--crop", "-1"], "--crop must be at least 0 and at most 1,000, got -1"),
        (["sample", "run", "--temperature", "nan"], "--temperature must be a finite number, above 0"),
        (["evaluate", "run", "--n", "1000000000000"], "--n must be at least 2 and at most 1,000,000"),
        (["list", "all"], "takes no options"),
    ],
)
def test_bad_input_gets_one_sentence_and_status_2(arguments, words, capsys):
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert words in error and error.startswith("genlab: ") and error.count("\n") == 1 and not out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "gan", "--imges", "5"], "--images"),
        (["train", "gan", "--image", "5"], "--images"),  # no abbreviations
        (["train", "gan", "--precision", "half"], "bfloat16"),
        (["sample", "run", "--sed", "1"], "--seed"),
    ],
)
def test_a_misspelt_option_is_met_with_the_right_one_and_status_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, error = capsys.readouterr()
    assert caught.value.code == 2 and words in out + error


def test_train_writes_a_run_and_the_same_command_continues_it(tmp_path, capsys):
    words = ["train", "vae", "--width", "4", "--out", str(tmp_path / "r"), "--shift", "0.1", "--images"]
    assert main([*words, "128"]) == 0 and main([*words, "192"]) == 0
    assert (tmp_path / "r" / "report.html").exists()
    assert main([*words, "192", "--lr", "0.5"]) == 2
    assert "options.lr is None there and 0.5 here; choose another --out" in capsys.readouterr().err


def test_an_option_left_out_on_resume_is_named_and_not_what_follows_from_it(tmp_path, capsys):
    words = ["train", "classifier", "--net", "mlp", "--width", "4", "--out", str(tmp_path / "r"), "--images"]
    assert main([*words, "64", "--data", "sprites", "--size", "8"]) == 0
    assert main([*words, "128", "--size", "8"]) == 2
    error = capsys.readouterr().err
    assert "data.data is 'sprites' there and 'digits' here" in error and "resume it with the old --data" in error


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("gan --batch 1", "--batch must be at least 2 for GAN with these options, got 1"),
        ("gan --generators 3 --batch 4", "--batch must be at least 6 for GAN with these options, got 4"),
        ("ebgan --batch 1", "--batch must be at least 2 for EBGAN"),
        ("ot-gan --batch 3", "--batch must be at least 2 and a multiple of 2 for OTGAN"),
        ("classifier --net vgg --size 4 --dropout 0.1 --batch 1", "--batch must be at least 2 for Classifier"),
        ("gan --replay 10", "--batch must be at least 2 and at most 10 for GAN with these options, got 64"),
    ],
)
def test_a_batch_that_a_method_cannot_learn_from_is_refused_and_nothing_is_left(words, sentence, capsys):
    assert main(["train", *words.split(), "--images", "64", "--out", "run"]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and not list(Path().iterdir())


def test_sample_takes_a_temperature_where_there_is_one(runs, capsys):
    Experiment(METHODS["flow nice"], DataOptions(), images=64).run(runs / "flow", pictures=1)
    pictures = []
    for t in ("0.1", "1.0"):
        assert main(["sample", str(runs / "flow"), "--n", "4", "--temperature", t, "--out", f"{t}.png"]) == 0
        pictures.append(Path(f"{t}.png").read_bytes())
    assert pictures[0] != pictures[1]
    assert main(["sample", str(runs / "gan"), "--temperature", "0.5"]) == 2
    assert "--temperature 0.5: a GAN has no temperature" in capsys.readouterr().err


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory):
    run = tmp_path_factory.mktemp("diffusion") / "run"
    Experiment(METHODS["diffusion conditional"], DataOptions(), images=64).run(run, pictures=1)
    return str(run)


def test_sample_takes_steps_guidance_and_classes_where_there_are_such(runs, diffusion, capsys):
    from PIL import Image

    words = ["sample", diffusion, "--n", "4"]
    given = (["--steps", "2"], ["--steps", "5"], ["--guidance", "0"], ["--classes", "3,7"])
    for i, extra in enumerate(given):
        assert main([*words, *extra, "--out", f"{i}.png"]) == 0
    assert "3.png (rows: classes 3, 7)" in capsys.readouterr().out and Image.open("3.png").size == (152, 152)
    assert Path("0.png").read_bytes() != Path("1.png").read_bytes()
    for run, extra, sentence in (
        (diffusion, ["--classes", "3,x"], "--classes must be numbers as in 3,7, got '3,x'"),
        (diffusion, ["--classes", "3,10"], "labels must be from 0 to 9"),
        (diffusion, ["--steps", "0"], "--steps must be at least 1"),
        (str(runs / "gan"), ["--steps", "5"], "--steps 5: a GAN has no steps"),
        (str(runs / "gan"), ["--guidance", "2"], "--guidance 2.0: a GAN has no guidance"),
        (str(runs / "gan"), ["--classes", "3"], "--classes 3: a GAN does not draw images of a class"),
        (str(runs / "gan"), ["--gif", "a.gif"], "a GAN draws images at once: use --interpolate"),
        (str(runs / "gan"), ["--gif", "a.png"], "--gif a.png must end in .gif"),
        (str(runs / "classifier"), ["--interpolate", "3"], "a Classifier has no latents to walk between"),
    ):
        assert main(["sample", run, "--n", "4", *extra, "--out", "no.png"]) == 2
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1, extra
    assert not any(map(os.path.exists, ("no.png", "a.gif")))


def test_sample_writes_walks_and_animations(runs, diffusion, capsys):
    from PIL import Image

    gan = str(runs / "gan")
    for run in (gan, diffusion):
        assert main(["sample", run, "--n", "8", "--interpolate", "4", "--out", "walk.png"]) == 0
        assert "(rows: 2 walks between two images)" in capsys.readouterr().out
        assert Image.open("walk.png").size == (4 * 72 + 8, 2 * 72 + 8)
        assert main(["sample", run, "--n", "2", "--interpolate", "4", "--gif", "walk.gif"]) == 0
        assert Image.open("walk.gif").n_frames == 6  # there and back
    assert main(["sample", diffusion, "--n", "4", "--steps", "3", "--classes", "1", "--gif", "out/way.gif"]) == 0
    assert Image.open("out/way.gif").n_frames >= 3  # equal frames are merged


def test_sample_draws_the_asked_number_and_is_reproducible(runs, capsys):
    from PIL import Image

    for name in ("a", "b"):
        assert main(["sample", str(runs / "gan"), "--n", "6", "--out", f"out/{name}.png", "--seed", "4"]) == 0
    a, b = (open(f"out/{name}.png", "rb").read() for name in "ab")
    assert a == b and Image.open("out/a.png").size == (3 * 72 + 8, 2 * 72 + 8)
    assert main(["sample", str(runs / "gan"), "--n", "0"]) == 2
    assert main(["sample", str(runs / "classifier")]) == 2
    assert "does not generate images" in capsys.readouterr().err


def test_sample_writes_the_format_that_the_suffix_names(runs, capsys):
    from PIL import Image

    for suffix, kind in ((".jpg", "JPEG"), (".JPEG", "JPEG"), (".webp", "WEBP"), (".tiff", "TIFF"), (".gif", "GIF")):
        assert main(["sample", str(runs / "gan"), "--n", "4", "--out", f"grid{suffix}"]) == 0
        assert Image.open(f"grid{suffix}").format == kind
    for name, got in (("out/grid.jpgg", ".jpgg"), ("out/grid", "no suffix")):
        assert main(["sample", str(runs / "gan"), "--out", name]) == 2
        assert f"--out {name} must end in one of .png, .jpg, " in (error := capsys.readouterr().err) and got in error
    assert not Path("out").exists()


def test_attack_prints_a_table_and_leaves_json_picture_and_page(runs, capsys):
    words = ["attack", str(runs / "classifier"), "--attacks", "fgsm,pgd", "--eps", "0.05,0.3", "--n", "40"]
    assert main([*words, "--defence", "none,bits"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("fgsm", "pgd", "noise-linf", "worst case", "bits"))
    found = json.loads((runs / "classifier" / "attack.json").read_text())
    assert {(row["model"], row["source"]) for row in found["rows"]} == {
        ("none", "none"), ("bits", "none"), ("bits, adaptive", "bits, adaptive")}  # fmt: skip
    assert "data:image/png" in (runs / "classifier" / "attack.html").read_text()
    assert (runs / "classifier" / "attack.png").exists()
    assert main(["attack", str(runs / "gan")]) == 2
    assert "not a classifier" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--attacks", "pgd:stps=3"], "did you mean 'steps'"),
        (["--attacks", "pgd:steps"], "pgd:option=value, got 'steps'"),
        (["--attacks", "pgd:steps=x"], "steps must be a whole number, at least 1 and at most 1,000,000, got 'x'"),
        (["--defence", "median:kk=3"], "'median:kk=3' has an option that does not fit"),
    ],
)
def test_options_behind_names_that_do_not_fit_are_named(runs, capsys, words, sentence):
    assert main(["attack", str(runs / "classifier"), "--n", "5", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_options_of_attacks_and_defences_stand_behind_their_names(runs, capsys):
    run = str(runs / "classifier")
    few = ["--n", "5", "--overwrite", "--attacks", "pgd:steps=2:restarts=2", "--defence", "median:k=5"]
    assert main(["attack", run, *few]) == 0
    assert "verdict" in capsys.readouterr().out
    found = json.loads((runs / "classifier" / "attack.json").read_text())
    assert "steps=2" in found["rows"][0]["config"] and found["verdicts"][0]["defence"] == "median:k=5"


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--attacks", "pgd:steps=0"], "steps must be at least 1 and at most 1,000,000, got 0 in 'pgd:steps=0'"),
        (["--defence", "none,gaussian:sigma=1e308"], "got 1e+308 in 'gaussian:sigma=1e308'"),
        (["--defence", "median:k=99"], "--defence 'median:k=99': k must not exceed the image of 8 x 8, got 99"),
        (["--eps", ","], "--eps must be a comma-separated list, got ','"),
        (["--attacks", ","], "--attacks must be a comma-separated list, got ','"),
    ],
)
def test_what_an_attack_or_a_defence_may_not_be_is_said_before_the_model_is_loaded(
    runs, capsys, words, sentence, monkeypatch
):
    monkeypatch.setattr("genlab.load", lambda run: pytest.fail("the model was loaded"))
    run = str(runs / "classifier")
    assert main(["attack", run, "--overwrite", *words]) == 2 and sentence in capsys.readouterr().err


def test_report_is_made_again_from_the_files(runs):
    (runs / "gan" / "report.html").unlink()
    assert main(["report", str(runs / "gan")]) == 0 and (runs / "gan" / "report.html").exists()


def test_an_interrupted_command_says_how_to_go_on_and_exits_with_the_signal(tmp_path, monkeypatch):
    monkeypatch.setattr("genlab.core.distributed.device", lambda: torch.device("cpu"))  # CUDA survives no fork
    words = ["train", "vae", "--images", "100000000", "--log-every", "640", "--out", str(tmp_path / "r")]
    process = os.fork()
    if process == 0:  # that need not import torch again
        status = 1
        try:
            sys.stderr = open(tmp_path / "stderr", "w")
            status = main(words)
            sys.stderr.flush()
        finally:
            os._exit(status)
    while not (tmp_path / "r" / "metrics.jsonl").exists():
        assert os.waitpid(process, os.WNOHANG) == (0, 0)
        time.sleep(0.05)
    os.kill(process, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 143
    error = (tmp_path / "stderr").read_text()
    assert "the same command resumes" in error and "Traceback" not in error
    assert list((tmp_path / "r" / "checkpoints").glob("*.sha256"))


@pytest.mark.parametrize(
    "name, what, found",
    [
        ("PGD", "attacks", "pgd"),
        ("MI-FGSM", "attacks", "mifgsm"),
        ("BIM", "attacks", "ifgsm"),
        ("AutoAttack", "attacks", "auto"),
        ("C&W", "attacks", "cw-l2"),
        ("dcgan", "methods", "gan"),
        ("WGAN_GP", "methods", "wgan-gp"),
        ("realnvp", "methods", "flow"),
        ("fgms", "attacks", "fgsm"),
    ],
)
def test_other_spellings_and_names_of_the_literature_are_understood(name, what, found, capsys):
    words = ["train", name] if what == "methods" else ["attack", "x", "--attacks", name]
    assert main(words) == 2 and f"did you mean {found!r}?" in capsys.readouterr().err


def test_other_names_lead_to_names_that_exist():
    known = {*SOURCES, *gather("METHODS", METHODS_OF_GENLAB), *gather("ATTACKS", {}), *gather("DEFENCES", {})}
    assert {*OTHER_NAMES.values()} <= known and not {*OTHER_NAMES} & known


def test_augmentations_have_a_help_text(capsys):
    with pytest.raises(SystemExit):
        main(["train", "gan", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert all(
        word in out for word in ("random horizontal flip", "random crop", "random rotation", "random translation")
    )


def test_samples_go_into_a_folder_one_by_one(runs, capsys):
    from PIL import Image

    assert main(["sample", str(runs / "gan"), "--n", "11", "--out", "out/"]) == 0
    files = sorted(Path("out").iterdir())
    assert [file.name for file in files] == [f"{i:02d}.png" for i in range(11)]
    assert {Image.open(file).size for file in files} == {(8, 8)}
    assert main(["sample", str(runs / "gan"), "--out", "out/"]) == 2
    assert "--out out/ is not empty" in capsys.readouterr().err


def test_the_shell_completes_commands_methods_and_options(capsys):
    assert main(["completion"]) == 0
    Path("completion.bash").write_text(capsys.readouterr().out)
    Path("genlab").write_text(f'#!/bin/sh\nexec {sys.executable} -m genlab "$@"\n')
    Path("genlab").chmod(0o755)

    def completed(*words):
        code = 'source completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _genlab; echo "${COMPREPLY[@]}"'
        env = os.environ | {"PATH": f".:{os.environ['PATH']}"}
        return subprocess.run(
            ["bash", "-c", code, "bash", *words], capture_output=True, text=True, env=env
        ).stdout.split()

    assert completed("genlab", "tra") == ["train", "translate"]
    assert completed("genlab", "train", "wg") == ["wgan", "wgan-gp"]
    assert completed("genlab", "attack", "--sa") == ["--save-images"]
    assert main(["completion", "fish"]) == 2
