"""Classifiers, weights and classes from outside: adapted, loaded without executing data, or refused in a sentence."""

from __future__ import annotations

import collections
import json
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn

import genlab
from attacks import FGSM, PGD, Linf, evaluate, wrap
from attacks.auto_pgd import AutoPGD, AutoPGDT
from attacks.evaluation.store import Store
from attacks.external.labels import match, read_classes
from attacks.external.models import load_model
from attacks.fab import FABT
from attacks.square import Square
from genlab.cli.main import main
from genlab.core.safetensors import to_safetensors
from genlab.core.weights import load_weights
from genlab.data import load

# A network of the user: it separates dark pictures from light ones, in three ways of answering.
CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, channels=3, classes=2, answer="tensor"):
        super().__init__()
        self.answer = answer
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * channels, classes)
        with torch.no_grad():
            self.head.weight.copy_(torch.linspace(-1, 1, classes)[:, None].expand_as(self.head.weight))
            self.head.bias.copy_(-self.head.weight.sum(1) / 2)

    def forward(self, x):
        z = self.head(self.body(x))
        if self.answer == "logits":
            return type("Output", (), {"logits": z})()
        if self.answer == "one":
            return z[:, 1] - z[:, 0]
        answers = {"tensor": z, "tuple": (z, x), "dict": {"logits": z, "x": x}, "sigmoid": z.sigmoid()[:, 1]}
        return answers.get(self.answer)

def build(**options):
    return Net(**options)

def fails():
    raise RuntimeError("no such luck")

def nothing():
    pass

def bytes255():
    net = Net()
    return nn.Sequential(Scaled(), net)

class Scaled(nn.Module):
    def forward(self, x):
        assert x.max() > 2
        return x / 255

def single():
    return Fixed()

class Fixed(nn.Module):
    def forward(self, x):
        assert len(x) == 1
        return x.reshape(1, -1)[:, :2]

def needy(classes):
    return Net(classes=classes)

def leaves():
    return Leaves()

class Leaves(nn.Module):
    def forward(self, x):
        raise SystemExit(0)

net = Net()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("genlab.reporting.plots.png", lambda figure: b"")  # to draw curves takes longer than all else


@pytest.fixture
def own():
    """The files of a user, in the working folder: code, weights and 2 x 6 pictures."""
    Path("mynet.py").write_text(CODE)
    g = torch.Generator().manual_seed(0)
    for k, name in enumerate(("dark", "light")):
        for i, picture in enumerate(torch.randint(90, (6, 12, 12, 3), generator=g)):
            path = Path("photos", name, f"{i}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((picture + 30 + 130 * k).byte().numpy()).save(path)
    return Path.cwd()


PHOTOS = "--data photos --split all --size 12"


def attack(words: str, *more: str) -> dict:
    assert main(["attack", *words.split(), *more]) == 0, words
    out = words.split("--out ")[1].split()[0] if "--out" in words else "runs/attack-mynet-py-build"
    return json.loads(Path(out, "attack.json").read_text())


def net(channels: int = 3) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 16, 5))


# ---- wrap


@pytest.mark.parametrize(
    "answer",
    [
        lambda z: z,
        lambda z: (z, None),
        lambda z: [z],
        lambda z: {"logits": z, "loss": None},
        lambda z: {"out": z},
        lambda z: SimpleNamespace(logits=z),
        lambda z: ({"logits": z},),
        lambda z: collections.namedtuple("Out", "logits aux")(z, z * 2),
    ],
)
def test_logits_are_found_in_whatever_a_model_returns(answer):
    model, x = net(), torch.rand(4, 3, 4, 4)
    assert torch.equal(wrap(lambda x: answer(model(x)))(x), model(x))


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_logit_becomes_two_classes_with_the_same_decision_and_loss(shape):
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(48, 1)), torch.rand(6, 3, 4, 4)
    z, y = model(x)[:, 0], torch.tensor([0, 1, 0, 1, 1, 0])
    two = wrap(lambda x: model(x).view(shape))(x)
    assert torch.equal(two.argmax(1), (z > 0).long())
    binary = nn.functional.binary_cross_entropy_with_logits(z, y.float())
    torch.testing.assert_close(nn.functional.cross_entropy(two, y), binary)


def test_preprocessing_moves_inside_so_that_eps_is_in_pixels():
    torch.manual_seed(0)
    model, x = net(), torch.rand(4, 3, 4, 4)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    by_hand = (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(wrap(model, mean=mean, std=std)(x), model(by_hand))
    torch.testing.assert_close(wrap(model, std=1 / 255)(x), model(255 * x), rtol=1e-5, atol=1e-4)  # of values to 255
    wrapped, y = wrap(model, mean=mean, std=std), torch.tensor([0, 1, 2, 3])
    adv = PGD(8 / 255, steps=3)(wrapped, x, y)
    assert 0 < (adv - x).abs().max() <= 8 / 255 + 1e-6


def test_images_are_resized_and_cropped_inside_and_gradients_pass():
    model, x = net(), torch.rand(2, 3, 9, 12)
    wrapped = wrap(model, size=6, crop=4)
    small = nn.functional.interpolate(x, (6, 8), mode="bilinear", antialias=True)[..., 1:5, 2:6]
    torch.testing.assert_close(wrapped(x), model(small))
    assert (FGSM(0.1)(wrapped, x, torch.tensor([0, 1])) != x).any()
    with pytest.raises(ValueError, match="crop 4 is larger than the images, 3 x 3"):
        wrap(model, crop=4)(torch.rand(1, 3, 3, 3))


def test_a_model_in_half_precision_gets_its_own_dtype():
    model = net().to(torch.bfloat16)
    assert wrap(model)(torch.rand(2, 3, 4, 4)).dtype == torch.bfloat16


def test_a_function_around_a_module_is_in_eval_mode_under_attack():
    seen, model = [], nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    wrapped = wrap(lambda x: seen.append(model.training) or (model(x),))
    FGSM(0.1)(wrapped, torch.rand(2, 3, 4, 4), torch.tensor([0, 1]))
    assert seen and not any(seen) and model.training


@pytest.mark.parametrize(
    "how, sentence",
    [
        (
            {"mean": 123.7},
            r"mean must be at least 0 and at most 1 \(pixels are in .*; did you mean 123.7/255\?\)",
        ),
        ({"std": 0.0}, "std must be at least 1e-06 and at most 1"),
        ({"std": (58.0, 57.0, 57.0)}, "did you mean 58/255"),
        ({"mean": (0.1, 0.2)}, "mean must be one number or one per channel, got 2"),
        ({"size": 0}, "size must be at least 1"),
        ({"mean": float("nan")}, "mean must be"),
    ],
)
def test_preprocessing_that_cannot_be_is_refused(how, sentence):
    with pytest.raises(ValueError, match=sentence):
        wrap(net(), **how)


def test_predicted_classes_are_not_taken_for_one_logit():
    x, y = torch.rand(4, 3, 4, 4), torch.zeros(4, dtype=torch.int64)
    for model in (lambda x: x.flatten(1).argmax(1), lambda x: x.flatten(1).argmax(1, keepdim=True)):
        with pytest.raises(ValueError, match="got torch.int64 .*: predicted classes instead of floating-point scores"):
            FGSM(Linf(0.1))(wrap(model), x, y)


def test_only_a_callable_is_a_model():
    with pytest.raises(ValueError, match="model must be a module or a function of images, got dict"):
        wrap({})  # type: ignore[arg-type]


# ---- weights


@pytest.mark.parametrize(
    "form",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {"model_state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {f"_orig_mod.module.{k}": v for k, v in state.items()},
        lambda state: {"state_dict": {**{f"net.{k}": v for k, v in state.items()}, "loss.weight": torch.ones(2)}},
    ],
)
def test_weights_are_found_in_the_usual_places(form):
    source, target = net(), net()
    torch.save(form(source.state_dict()), "w.pt")
    load_weights(target, Path("w.pt"))
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters()))


def test_safetensors_files_hold_weights():
    source, target = net(), net()
    Path("w.safetensors").write_bytes(to_safetensors(source.state_dict()))
    load_weights(target, Path("w.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters()))


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize(
    "content, sentence",
    [
        ({"a": Bomb()}, "w.pt holds more than weights, which is not loaded because it could execute code"),
        (net(), "save model.state_dict.. instead of the model"),
        ({"epoch": 3}, "w.pt holds no weights: it has the keys epoch"),
        ([torch.ones(2)], "w.pt holds list, not weights by name"),
        (net(1).state_dict(), r"w.pt does not fit the model: 1.weight is \(5, 16\) there and \(5, 48\) here"),
        ({"1.weight": torch.ones(5, 48), "2.x": torch.ones(1)}, "it lacks 1.bias; the model has no 2.x"),
    ],
)
def test_files_that_hold_no_fitting_weights_are_refused_and_never_executed(content, sentence):
    torch.save(content, "w.pt")
    with pytest.raises(ValueError, match=sentence):
        load_weights(net(), Path("w.pt"))
    assert not Path("executed").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\3\4" + b"\0" * 40])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_damaged_weights_are_named(name, content):
    Path(name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is not a"):
        load_weights(net(), Path(name))


# ---- models


def saved_program(kind: str) -> tuple[str, nn.Module]:
    model = net().eval()
    if kind == "torchscript":
        torch.jit.trace(model, torch.rand(2, 3, 4, 4)).save("m.pt")
        return "m.pt", model
    shape = {"input": {0: torch.export.Dim("n", min=1, max=4096)}}
    torch.export.save(torch.export.export(model, (torch.rand(2, 3, 4, 4),), dynamic_shapes=shape), "m.pt2")
    return "m.pt2", model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["torchscript", "export"])
def test_saved_programs_are_models_and_can_be_attacked(kind, monkeypatch):
    path, model = saved_program(kind)
    if kind == "export":
        with pytest.raises(ValueError, match="m.pt2 .* can execute any code .* set GENLAB_TRUST_CODE=1"):
            load_model(path)
        monkeypatch.setenv("GENLAB_TRUST_CODE", "1")
    x, y = torch.rand(5, 3, 4, 4), torch.tensor([0, 1, 2, 3, 4])
    found = wrap(load_model(path).model)
    torch.testing.assert_close(found(x), model(x))
    torch.testing.assert_close(FGSM(0.1)(found, x, y), FGSM(0.1)(model, x, y))


def test_code_is_named_by_file_or_module_with_options(own, monkeypatch):
    monkeypatch.syspath_prepend(own)
    assert load_model("mynet.py:build:classes=7").model.head.out_features == 7
    assert load_model("mynet:build:answer=dict").model.answer == "dict"
    assert isinstance(load_model("mynet.py:net").model, nn.Module)


def test_a_torchvision_model_brings_its_preprocessing_and_classes():
    found = load_model("torchvision:squeezenet1_1")
    assert (found.size, found.crop, found.channels, found.trained) == (256, 224, 3, False)
    assert found.mean == (0.485, 0.456, 0.406) and found.classes[1] == "goldfish"
    assert load_model("torchvision:squeezenet1_1:num_classes=10").model(torch.rand(1, 3, 64, 64)).shape == (1, 10)


def test_a_run_is_a_model(own):
    assert main("train classifier --net mlp --width 4 --images 64 --out r".split()) == 0
    assert type(load_model("r").model) is type(genlab.load("r"))
    assert attack("--model r --data digits --attacks fgsm --eps 0.1 --n 9 --out a --channels 1 --size 8")["rows"]


def test_a_run_is_attacked_on_validation_images_only_if_they_were_held_out(own, capsys):
    train = "train classifier --net mlp --width 4 --images 64 --out"
    assert main([*train.split(), "seen"]) == main([*train.split(), "held", "--hold-out"]) == 0
    line = ["--attacks", "fgsm", "--eps", "0.1", "--n", "2000", "--split", "validation"]
    assert main(["attack", "seen", *line]) == 2
    assert "seen was trained on these images too; train it with --hold-out" in capsys.readouterr().err
    assert main(["attack", "held", *line]) == 0
    about = json.loads(Path("held/attack.json").read_text())
    assert about["rows"][0]["n"] == len(load("digits", "validation"))


# ---- classes


def test_classes_are_matched_by_name_number_or_order(tmp_path):
    names = ("n01440764 tench, Tinca tinca", "goldfish", "Great White Shark", "crane", "crane")
    assert match(("great_white_shark", "tinca-tinca", "goldfish"), 5, names) == [2, 0, 1]
    assert match(("n01440764",), 5, names) == [0]
    assert match(("3", "7"), 10) == [3, 7]
    assert match(("10", "20"), 2, ("20", "10")) == [1, 0]  # names that are numbers
    assert match(("a", "b"), 2) == [0, 1]
    for classes, k, listed, sentence in (
        (("goldfihs",), 5, names, "class 'goldfihs', but the model has no such class: did you mean 'goldfish'"),
        (("crane",), 5, names, "2 classes of that name"),
        (("cat",), 5, names, "a folder is named by a class of the model or by its number"),
        (("a", "b"), 10, (), "the model has 10 classes and the data 2: name those of the model"),
        (("a", "b"), 2, names, "the model has 2 classes, but --classes names 5"),
    ):
        with pytest.raises(ValueError, match=sentence):
            match(classes, k, listed)
    (tmp_path / "names.txt").write_text("a\n\n b \n")
    assert read_classes(tmp_path / "names.txt") == ("a", "b")


def test_all_images_of_a_set_can_be_taken(own):
    whole, parts = load("digits", "all"), [load("digits", split) for split in ("train", "test")]
    assert len(whole) == sum(map(len, parts)) and torch.equal(whole.labels[-len(parts[1]) :], parts[1].labels)
    photos = load("photos", "all", size=12)
    assert len(photos) == 12 and len(load("photos", "test", size=12)) == 2
    assert torch.equal(load("night:photos", "all", size=12).labels, photos.labels)
    with pytest.raises(ValueError, match="no split 'all'"):
        load("unpaired:digits,night:digits", "all")


# ---- targets


def test_targeted_success_is_to_reach_the_target_and_images_of_the_target_class_do_not_count():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(3, 4))
    x, y = 0.2 * torch.eye(3, 4).view(3, 1, 2, 2) + 0.4, torch.tensor([0, 1, 2])
    found = evaluate({"m": model}, {"fgsm": FGSM(Linf(0.3), targeted=True)}, x, y, targets=torch.tensor([2, 2, 2]))
    row = found.rows[0]
    assert (row.success.fooled, row.success.correct, row.clean_accuracy) == (2, 2, 1.0)
    assert found.rows[1].attack == "noise-linf" and found.rows[1].success.correct == 2
    with pytest.raises(ValueError, match="with targets, evaluate measures targeted attacks"):
        evaluate({"m": model}, {"fgsm": FGSM(Linf(0.3))}, x, y, targets=y)


# ---- the command


@pytest.mark.parametrize("answer", ["tensor", "logits", "tuple", "dict", "one"])
def test_a_model_of_ones_own_is_attacked_in_one_command(own, answer, capsys):
    model = f"mynet.py:build:answer={answer}"
    found = attack(f"--model {model} {PHOTOS} --attacks fgsm,deepfool --eps 8/255 --out a")
    rows = {row["attack"]: row for row in found["rows"]}
    assert rows["fgsm"]["clean_accuracy"] == 1.0 and rows["fgsm"]["n"] == 12
    assert rows["fgsm"]["eps"] == 8 / 255 and rows["deepfool"]["success"]["value"] == 1.0
    out = " ".join(capsys.readouterr().out.split())
    assert "12 of 12 images of photos (all), 12x12 colour" in out and "n = 12" in out
    assert f"L2 {rows['deepfool']['l2']['median']:.3f}" in out  # the smallest that the model was shown


def test_preprocessing_weights_and_classes_from_the_command_line(own):
    source = load_model("mynet.py:build:classes=3").model
    torch.save({"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}, "w.pth")
    Path("names.txt").write_text("dark\nmiddle\nlight\n")
    line = f"--model mynet.py:build:classes=3 --weights w.pth {PHOTOS} --attacks fgsm --eps 0.01"
    found = attack(f"{line} --classes names.txt --out a --crop 8")
    assert found["rows"][0]["clean_accuracy"] == 1.0 and "8x8" in found["about"]
    found = attack(f"--model mynet.py:bytes255 {PHOTOS} --attacks fgsm --std 1/255 --out b")
    assert found["rows"][0]["clean_accuracy"] == 1.0 and found["rows"][0]["success"]["value"] == 0.0
    assert "no better than chance" not in str(found["warnings"])


def test_images_are_drawn_at_random_by_the_seed(own, capsys):
    line = f"--model mynet.py:build {PHOTOS} --attacks fgsm --eps 0.3 --n 4 --save-images"
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        attack(f"{line} {out}/png --seed {seed} --out {out}")
    a, b, c = (sorted(p.read_bytes() for p in Path(out, "png/original").glob("*.png")) for out in "abc")
    assert len(a) == 4 and a == b != c


def test_saved_images_are_8_bit_and_their_success_rate_is_told(own, capsys):
    line = f"--model mynet.py:build {PHOTOS} --attacks deepfool --save-images png --seed 3"
    found = attack(f"{line} --eps 0.2 --out a")
    row = found["rows"][0]
    files = sorted(Path("png/none/deepfool").glob("*.png"))
    x = (
        torch.stack([torch.from_numpy(__import__("numpy").array(Image.open(f))) for f in files]).permute(0, 3, 1, 2)
        / 255
    )
    y = torch.tensor([int("light" in f.name.split("-")[1]) for f in files])
    fooled = (wrap(load_model("mynet.py:build").model)(x).argmax(1) != y).sum()
    assert len(files) == 12 and row["rounded"]["fooled"] == fooled and "  8 bits" in capsys.readouterr().out
    listed = Path("png/none/deepfool/images.csv").read_text().splitlines()
    assert listed[0] == "file,class,predicted class" and len(listed) == 13
    again = main(["attack", *line.split(), "--eps", "0.2", "--out", "b"])
    assert again == 2 and "--save-images png exists and is not empty" in capsys.readouterr().err


@pytest.mark.parametrize("target, reached", [("next", None), ("random", None), ("least-likely", None), ("1", 1)])
def test_targets_from_the_command_line(own, target, reached):
    found = attack(f"--model mynet.py:build {PHOTOS} --attacks fgsm --target {target} --eps 0.5")
    success = found["rows"][0]["success"]
    assert success["fooled"] == success["correct"] == (12 if reached is None else 6)


def test_a_trained_attack_learns_from_images_that_are_not_attacked(own):
    line = f"--model mynet.py:build {PHOTOS} --eps 0.3 --attacks universal:rounds=1"
    assert not attack(line.replace(":rounds=1", "") + " --n 4")["rows"][0]["error"]
    assert main(["attack", *line.split(), "--out", "b"]) == 2


def test_another_evaluation_leaves_no_image_of_the_first_and_no_other_file_is_touched(own):
    line = f"--model mynet.py:build {PHOTOS} --attacks fgsm --out a --save-images png"
    attack(f"{line} --eps 0.1,8/255 --target light")
    assert "target class" in Path("png/none/fgsm-8-255/images.csv").read_text()
    Path("png/none/notes.txt").write_text("mine")
    attack(f"{line} --eps 0.1 --n 2", "--overwrite")
    left = {path.relative_to("png").as_posix() for path in Path("png").rglob("*") if path.suffix != ".png"}
    assert left == {"none", "none/notes.txt"} | {
        f"{folder}{name}"
        for folder in ("original", "none/fgsm-0.1", "none/noise-linf-0.1")
        for name in ("", "/images.csv")
    }
    assert len(list(Path("png").rglob("*.png"))) == 6


def test_only_readable_images_count(own, caplog):
    for k in range(3):
        file = Path(f"photos/dark/{k}.png")
        file.write_bytes(file.read_bytes()[:-40])
    found = attack(f"--model mynet.py:build {PHOTOS} --attacks fgsm --eps 0.1 --out a")
    assert found["rows"][0]["n"] == 9 and "on 9 of 12 images" in found["about"] and "skipped" in caplog.text


def test_an_evaluation_of_the_user_is_not_replaced(own, capsys):
    Path("a").mkdir()
    Path("a/attack.html").write_text("mine")
    assert main(f"attack --model mynet.py:build {PHOTOS} --attacks fgsm --out a".split()) == 2
    assert "a holds an evaluation (attack.html)" in capsys.readouterr().err
    assert Path("a/attack.html").read_text() == "mine"


def test_an_interrupted_evaluation_resumes_and_a_finished_one_is_kept(own, monkeypatch, capsys):
    line = f"--model mynet.py:build {PHOTOS} --attacks fgsm,pgd:steps=3 --eps 0.1,0.2 --n 8"
    whole = attack(f"{line} --out whole")
    added = Store.add

    def stop(store, model, label, attack, cell):
        added(store, model, label, attack, cell)
        if label == "pgd:steps=3":
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "add", stop)
    assert main(["attack", *line.split(), "--out", "a"]) == 130
    assert "the same command resumes" in capsys.readouterr().err and not Path("a/attack.json").exists()
    assert main(["attack", *line.split(), "--out", "a", "--seed", "1"]) == 2
    assert "unfinished evaluation that differs in --seed" in capsys.readouterr().err
    picture = Path("photos/dark/0.png")
    before = picture.read_bytes()
    Image.open(picture).point(lambda value: value + 1).save(picture)
    assert main(["attack", *line.split(), "--out", "a"]) == 2
    assert "unfinished evaluation that differs in the model or the images" in capsys.readouterr().err
    picture.write_bytes(before)
    monkeypatch.setattr(Store, "add", added)
    made = []
    crafter = __import__("attacks.evaluation.evaluate", fromlist=["Crafter"]).Crafter
    monkeypatch.setattr(
        "attacks.evaluation.evaluate.Crafter", lambda label, *rest: made.append(label) or crafter(label, *rest)
    )
    resumed = attack(f"{line} --out a")
    assert len(made) == 3  # of six

    def figures(found):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in found["rows"]], found["worst_case"]

    assert figures(resumed) == figures(whole) and not Path("a/attack-unfinished").exists()
    assert main(["attack", *line.split(), "--out", "a"]) == 2
    assert "a holds an evaluation (attack.json): choose another --out, or give --overwrite" in capsys.readouterr().err
    attack(f"{line} --out a", "--overwrite")


def test_a_killed_autoattack_goes_on_behind_its_last_finished_part(own, monkeypatch, capsys):
    line = f"--model mynet.py:build {PHOTOS} --attacks auto:steps=3:queries=9 --eps 0.02 --n 8 --batch 4"
    whole = attack(f"{line} --out whole")
    monkeypatch.setattr("attacks.evaluation.crafting.UNSAVED", 0.0)
    run, ran = Square.run, []

    def killed(square, f, x, y):
        ran.append("square")
        if len(ran) == 2:  # in the second batch
            raise KeyboardInterrupt
        return run(square, f, x, y)

    monkeypatch.setattr(Square, "run", killed)
    assert main(["attack", *line.split(), "--out", "a"]) == 130
    for part in (AutoPGD, AutoPGDT, FABT):
        monkeypatch.setattr(part, "run", lambda *_: pytest.fail("it was finished before"))
    monkeypatch.setattr("attacks.evaluation.crafting.UNSAVED", 1e9)
    resumed = attack(f"{line} --out a")
    assert len(ran) == 3 and not Path("a/attack-unfinished").exists()
    for found in (whole, resumed):
        for row in found["rows"]:
            assert row.pop("seconds") >= 0
    assert resumed["rows"] == whole["rows"] and resumed["worst_case"] == whole["worst_case"]


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("", "needs either the directory of a run or --model"),
        ("run --model mynet.py:build", "needs either the directory of a run or --model"),
        ("run --weights w.pt", "run has its own weights"),
        ("--model mynet.py:build", "--model needs --data"),
        ("--model mynet.py", "add the function that builds the network, as in mynet.py:build"),
        ("--model mynet.py:biuld", "mynet.py has no function 'biuld'"),
        ("--model nowhere.py:build", "there is no file 'nowhere.py'"),
        ("--model no_such_module:build", "no_such_module"),
        ("--model mynet.py:fails", "mynet.py:fails failed: RuntimeError: no such luck"),
        ("--model mynet.py:nothing", "mynet.py:nothing must return a model, got NoneType"),
        ("--model mynet.py:build:chanels=3", "unexpected keyword argument 'chanels'"),
        ("--model mynet.py:build:answer=none", "the model must return logits (N, K) with K >= 2"),
        ("--model mynet.py:single", "mynet.py:single takes one image, but fails on 8"),
        ("--model mynet.py:build:channels=1", "fails on images of 3 x 12 x 12"),
        ("--model mynet.py:build:classes=5", "the model has 5 classes and the data 2"),
        ("--model mynet.py:build --weights no.pt", "there is no file 'no.pt' with weights"),
        ("--model mynet.py:build --weights pretrained", "--weights pretrained is for torchvision:NAME and timm:NAME"),
        ("--model torchvision:resnt18", "unknown torchvision model 'resnt18': did you mean resnet18"),
        ("--model torchvision:resnet18:clases=3", "cannot be built: TypeError"),
        ("--model resnet18.pt", "there is no such file or folder"),
        ("--model photos", "photos is not a run"),
        ("--model something", "names no model; that is file.py:function"),
        ("--model mynet.py:build --mean 123.7,116.3,103.5", "--mean must be at least 0 and at most 1"),
        ("--model mynet.py:build --std 0", "--std must be at least 1e-06"),
        ("--model mynet.py:build --std x", "--std must be numbers as in 0.1 or 8/255, got 'x'"),
        ("--model mynet.py:build --mean .5,.5,.5,.5", "--mean has 4 numbers, but the images have 3 channels"),
        ("--model mynet.py:needy", "--model calls it with the options alone"),
        ("--model mynet.py:leaves", "mynet.py:leaves fails on images of 3 x 12 x 12 (SystemExit: 0)"),
        ("--model=", "--model must not be empty"),
        ("--model mynet.py:build --data ./nowhere", "'./nowhere' is not a folder"),
        ("--model mynet.py:build --mean 0.5,0.5", "--mean must be one number or one per channel"),
        ("--model mynet.py:build --eps 8", "pixels are in [0, 1]; did you mean 8/255?"),
        ("--model mynet.py:build --crop 13", "--crop must be at most the size of the images, 12 pixels"),
        ("--model mynet.py:build --target 2", "--target must be a class of the model, from 0 to 1, got 2"),
        ("--model mynet.py:build --target nxt", "--target: unknown target 'nxt': did you mean 'next'?"),
        ("--model mynet.py:build --target next --attacks deepfool", "the attack deepfool has no targeted form"),
        ("--model mynet.py:build --device cuda:77", "--device must be one of those of this machine"),
        ("--model mynet.py:build --device meta", "--device must be one of those of this machine"),
        ("--model mynet.py:build --save-images mynet.py", "--save-images mynet.py must be a folder"),
        ("--model mynet.py:build --save-images mynet.py/x", "--save-images mynet.py/x cannot be created"),
        ("--model mynet.py:build --save-images /proc/x", "--save-images /proc/x cannot be written"),
        ("--model mynet.py:build --save-images .", "--save-images must name a folder"),
        ("--model mynet.py:build --save-images photos", "--save-images photos exists and is not empty"),
        ("--model mynet.py:build --classes no.txt", "--classes no.txt: No such file"),
        ("--model mynet.py:build --classes mynet.py", "but --classes names"),
        ("--model mynet.py:build --data photos/dark", "has no classes: put the images of each class into a folder"),
        ("--model mynet.py:build --data nowhere", "unknown data 'nowhere'"),
        ("--model mynet.py:build --data unpaired:digits,night:digits --split test", "two sets of images"),
        ("--model mynet.py:build --batch 0", "--batch must be at least 1"),
        ("--model mynet.py:build --out mynet.py", "--out mynet.py must be a folder"),
        ("--model mynet.py:build --split train --attacks universal", "--split test or all"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing(own, words, sentence, capsys, monkeypatch):
    before = sorted(Path().rglob("*"))
    some = "" if words in ("", "--model mynet.py:build") or "run " in words else "--data photos --split all"
    line = [*some.split(), "--size", "12", *words.split()]
    warnings.simplefilter("ignore")
    assert main(["attack", *line]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in error and error.startswith("genlab: ")
    assert sorted(p for p in Path().rglob("*") if "__pycache__" not in str(p)) == before


def test_a_probability_and_random_weights_are_warned_of(own):
    line = "--data photos --split all --attacks fgsm --eps 0.1 --size 12 --out"
    with pytest.warns(UserWarning, match="attacks need the logit, not a probability"):
        attack(f"--model mynet.py:build:answer=sigmoid {line} a")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "timm:test_resnet"])
def test_published_architectures_are_attacked_at_their_own_size(own, name, capsys):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    Path("photos").rename("old")
    model = load_model(name)
    for i, file in enumerate(sorted(Path("old/dark").iterdir())[:3]):  # classes by number
        to = Path("photos", str(i), file.name)
        to.parent.mkdir(parents=True)
        file.rename(to)
    found = attack(f"--model {name} --data photos --split all --attacks fgsm --eps 8/255 --out a")
    assert f"{model.crop}x{model.crop} colour, normalised by mean 0." in found["about"] and found["rows"][0]["n"] == 3
    assert "8/255" in capsys.readouterr().out
