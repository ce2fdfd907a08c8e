"""What users type, for everything that has a name: each method of `genlab list` from the first training to the report,
each attack and each defence, and `--help` of every command, method and recipe."""

import dataclasses
import io
import json
import runpy
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from PIL import Image

from attacks.plugin import ATTACKS, DEFENCES
from genlab.cli.main import COMMANDS, main
from genlab.core.registry import resolve
from genlab.loading import load
from genlab.plugins import gather, methods

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.py"))
CLASSES = ("black", "dark", "light", "white")
UNPAIRED = "unpaired:folder:{pictures}:black,folder:{pictures}:white"
DATA = {"cyclegan": UNPAIRED, "cogan": UNPAIRED, "common-space": UNPAIRED}
DATA["domain-adversarial"] = "unpaired:{pictures},night:{pictures}"  # all others: labelled pictures
SMALL = {  # what makes a method small, or what it cannot start without
    "autoencoder": "--hidden 16 --code 2",
    "bigan": "--hidden 16 --latent 4",
    **dict.fromkeys(("diffusion", "flow-matching"), "--steps 2 --likelihood-images 2"),
    "cyclegan": "--blocks 1 --levels 1",
    "distillation": "--teachers {classifier}",
    "energy-model": "--steps 2 --pool 40",
    "flow": "--steps 1",
    "gan": "--hidden 16",
    "infogan": "--hidden 16",
    "loss-sensitive": "--hidden 16",
    "ot-gan": "--embedding 8 --n-generator 1",
    "pix2pix": "--task inpainting:4",
    "pixelcnn": "--layers 1 --levels 8",
    "pixelrnn": "--layers 1 --levels 8 --width 6",
    "pretraining": "--sizes 16 8 --images-per-layer 8",
    "semi-supervised": "--labels-per-class 3",
    "sequence-gan": "--levels 4 --rollouts 0",
    "stargan": "--blocks 1 --levels 1 --n-critic 2 --width-critic 4",
    "triple-gan": "--labels-per-class 3",
    "unrolled": "--hidden 16 --unroll 2",
    "vae": "--evaluation-samples 2",
    "vq-vae": "--codes 4 --dim 4 --prior-width 4 --prior-layers 1",
    "wgan": "--hidden 16 --n-critic 2",
    "wgan-gp": "--hidden 16 --n-critic 2",
}
WITHOUT_WIDTH = {"pretraining"}
AGAIN = {"classifier", "gan", "cyclegan", "vae"}  # one of each family goes on, and is trained when it is finished
# What attacks may take, at most.
CHEAP = {"steps": 3, "queries": 150, "images": 64, "batch": 8, "searches": 2, "generations": 1, "passes": 100}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of four classes, as a user would have it: 12 images to train with and 8 to test."""
    folder, g = tmp_path_factory.mktemp("pictures"), torch.Generator().manual_seed(0)
    for split, n in (("train", 12), ("test", 8)):
        for i, picture in enumerate(torch.randint(60, (n, 8, 8), generator=g)):
            path = folder / split / CLASSES[i % 4] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((picture + 60 * (i % 4)).byte().numpy()).save(path)
    return folder


@pytest.fixture(scope="module")
def classifier(pictures, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "classifier"
    genlab(f"train classifier --net mlp --width 16 --images 240 --out {run} --data {pictures} --size 8 --channels 1")
    return run


def genlab(line):
    """What the command prints; it must succeed."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main(line.split()) == 0, line
    return printed.getvalue()


@pytest.mark.parametrize("name", methods())
def test_a_method_trains_samples_and_reports(name, pictures, classifier, monkeypatch):
    data = DATA.get(name, "{pictures}").format(pictures=pictures)
    small = SMALL.get(name, "").format(classifier=classifier) + ("" if name in WITHOUT_WIDTH else " --width 4")
    command = f"train {name} {small} --data {data} --size 8 --channels 1 --batch 4 --out run --images"
    monkeypatch.setattr("genlab.reporting.plots.curves", lambda *lines, **how: b"")  # they take longer than all else
    for length in (4, 12, 12) if name in AGAIN else (12,):
        assert "done" in genlab(f"{command} {length}")
    images = [json.loads(line)["images"] for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert 12 <= images[-1] and (4 <= images[0] < 12) == (name in AGAIN)
    method = load("run")
    if hasattr(method, "sample"):
        genlab("sample run --n 3 --out grid.png")
        assert Image.open("grid.png").size == (2 * 72 + 8, 2 * 72 + 8)
        if name not in DATA:
            assert "nearest[pixels]" in genlab("evaluate run --n 8 --features pixels")
    if type(method).forward is torch.nn.Module.forward:
        assert main(["attack", "run"]) == 2
    else:
        labelled = f"--data {pictures}" if name in DATA else ""
        assert "fgsm" in genlab(f"attack run {labelled} --attacks fgsm --eps 0.1 --n 4")
    if hasattr(method, "translate"):
        genlab(f"translate run --images {pictures}/test/dark --out translated")
        assert {path.name for path in Path("translated").iterdir()} == {"1.png", "5.png", "side-by-side.png"}
    Path("run/report.html").unlink()
    assert "report.html" in genlab("report run")
    assert Path("run/report.html").exists()


def test_twelve_pictures_in_one_folder_suffice_from_training_to_evaluation(pictures, monkeypatch, caplog):
    monkeypatch.setattr("genlab.reporting.plots.png", lambda figure: b"")
    for picture in pictures.glob("train/*/*.png"):
        Path("flat").mkdir(exist_ok=True)
        Path("flat", picture.name).write_bytes(picture.read_bytes())
    genlab("train flow --steps 1 --width 4 --data flat --size 8 --channels 1 --batch 4 --images 8 --out run")
    assert "interpolations left out: pictures of at least 2 images are needed, got 1" in caplog.text
    assert "nearest[pixels]" in genlab("evaluate run --n 2 --features pixels")
    assert "FID left out: features of at least 2 images are needed, got 1" in caplog.text


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_by_its_name(name, classifier):
    own = {field.name: field.default for field in dataclasses.fields(resolve(ATTACKS[name][0]))}
    options = [f"{key}={most}" for key, most in CHEAP.items() if isinstance(own.get(key), int) and own[key] > most]
    assert name in genlab(f"attack {classifier} --attacks {':'.join([name, *options])} --eps 0.1 --n 4 --overwrite")
    rows = json.loads((classifier / "attack.json").read_text())["rows"]
    assert any(row["attack"].startswith(name) for row in rows)


@pytest.mark.parametrize("name", DEFENCES)
def test_a_defence_by_its_name(name, classifier):
    genlab(f"attack {classifier} --attacks fgsm --eps 0.1 --n 4 --overwrite --defence {name}")
    rows = json.loads((classifier / "attack.json").read_text())["rows"]
    assert any(row["model"] == name for row in rows)


@pytest.mark.parametrize("words", [*gather("COMMANDS", COMMANDS), *(f"train {name}" for name in methods())])
def test_help_of_every_command_and_method(words, capsys):
    try:
        status = main([*words.split(), "--help"])
    except SystemExit as done:
        status = done.code
    assert status == 0 and f"usage: genlab {words}" in capsys.readouterr().out


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_help_of_every_recipe(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(path), run_name="__main__")
    assert done.value.code == 0 and f"{path.name} [-h]" in capsys.readouterr().out


def test_the_package_is_a_command():
    done = subprocess.run([sys.executable, "-m", "genlab", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("genlab ")
