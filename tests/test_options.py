"""Every option of every method, command and recipe: its range, its name, and what becomes of a value out of it."""

import dataclasses
import errno
import importlib.util
import io
import resource
import subprocess
import sys
import threading
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from toys import CLASSES, METHODS, SHAPE, UNPAIRED, make, stream

from attacks.cli import Options as Attack
from genlab.cli.evaluate import Evaluate
from genlab.cli.main import guarded, main, start
from genlab.cli.options import parse
from genlab.cli.report import MakeReport
from genlab.cli.sample import Sample
from genlab.cli.translate import Translate
from genlab.core import files, memory
from genlab.core.activations import SavedBytes, step_bytes
from genlab.core.files import write_atomically
from genlab.core.ranges import OutOfRange, Range, check, deferred
from genlab.core.registry import resolve
from genlab.data import Augment
from genlab.data.options import DataOptions
from genlab.plugins import methods
from genlab.run import Run
from genlab.training import checkpoint
from genlab.training.method import TrainOptions
from genlab.training.progress import Progress
from genlab.training.update import Update

RECIPES = {path.stem: path for path in (Path(__file__).parents[1] / "recipes").glob("*.py")}
COMMANDS = {"sample": Sample, "report": MakeReport, "evaluate": Evaluate, "translate": Translate, "attack": Attack}
SHARED = {"training": TrainOptions, "data": DataOptions, "augment": Augment}
REQUIRED = {"run": "nowhere", "images": "nowhere", "out": "nothing"}  # what commands cannot do without
TRAINED = methods()
NAMES = [*TRAINED, *COMMANDS, *SHARED, *(f"recipes/{name}.py" for name in sorted(RECIPES))]
PARTLY = {  # methods of which a step cannot be followed to its end without values
    *("wgan-gp", "unrolled", "vq-vae", "deep-infomax", "stargan", "distillation", "adversarial-training"),
    "flow-matching",
}
ATTENTION = {"diffusion", "consistency"}  # attention keeps up to a tenth less on a CPU than on the meta device
BAD = ["0", "-1", "nan", "inf", "1e308", str(10**12), "", "9" * 40, "abc"]
LEGAL = {"0", str(10**12)}  # somewhere
LOGARITHMS = {"log_sigma"}  # may be negative


@cache
def module(recipe):
    spec = importlib.util.spec_from_file_location(f"recipe_{recipe}", RECIPES[recipe])
    sys.modules[spec.name] = found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def kind(name):
    """The dataclass that declares the options."""
    if name.startswith("recipes/"):
        return module(Path(name).stem).Config
    return resolve(TRAINED[name][0]) if name in TRAINED else (COMMANDS | SHARED)[name]


def leaves(hint, ranges=()):
    """The plain types within an annotation, each with the ranges that stand around it."""
    if get_origin(hint) is Annotated:
        inner, *more = get_args(hint)
        return leaves(inner, (*ranges, *(part for part in more if isinstance(part, Range))))
    if get_origin(hint) is Literal or not get_args(hint):
        return [(hint, ranges)]
    return [leaf for part in get_args(hint) if part is not ... for leaf in leaves(part, ranges)]


def numbers(name):
    """The numeric options of `name`: option -> annotation."""
    hints = get_type_hints(kind(name), include_extras=True)
    return {
        field.name: hints[field.name]
        for field in dataclasses.fields(kind(name))
        if any(leaf in (int, float) for leaf, _ in leaves(hints[field.name]))
    }


def words(name):
    """What a command cannot do without."""
    fields = [f for f in dataclasses.fields(kind(name)) if f.default is f.default_factory is dataclasses.MISSING]
    return [word for f in fields for word in ([] if f.name == "run" else [f"--{f.name}"]) + [REQUIRED[f.name]]]


def read(text, hint):
    """As the command line does."""
    number = int if any(leaf is int for leaf, _ in leaves(hint)) else float
    try:
        value = number(text)
    except ValueError:
        value = text
    return (value,) if any(get_origin(part) is tuple for part in (hint, *get_args(hint))) else value


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_range_which_its_default_keeps(name):
    for option, hint in numbers(name).items():
        assert all(ranges for leaf, ranges in leaves(hint) if leaf in (int, float)), f"{option}: {hint} has no Range"
    if not words(name):
        check(kind(name)())


@pytest.mark.parametrize("name", NAMES)
def test_values_out_of_range_are_refused_by_name_value_and_range(name):
    required = {field.name: "x" for field in dataclasses.fields(kind(name)) if field.name in REQUIRED}
    required = {k: v for k, v in required.items() if k not in numbers(name)} if words(name) else {}
    for (option, hint), text in product(numbers(name).items(), BAD):
        value = read(text, hint)
        with deferred():
            options = kind(name)(**required | {option: value})
        try:
            check(options)
        except OutOfRange as error:
            assert error.option == option and "must be " in str(error) and ", got " in str(error)
            assert any(word in str(error) for word in ("at least", "above", "at most", "below")), error
        except ValueError as error:  # allowed, but not together with the other defaults
            assert text in LEGAL, error
        else:
            assert text in LEGAL or (option in LOGARITHMS and text == "-1"), f"{option} may be {text}"


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_refuses_in_one_sentence(name):
    for option, text in zip(numbers(name), ("abc", "nan")):  # the others go the same way
        flag = f"--{option.replace('_', '-')}"
        with pytest.raises(ValueError, match=f"^{flag} must be .*, got "):
            parse(kind(name), name, [*words(name), f"{flag}={text}"])


def test_no_option_of_a_method_has_the_name_of_another_option_of_the_command():
    shared = {field.name for part in SHARED.values() for field in dataclasses.fields(part)} | {"out"}
    for name in TRAINED:
        both = {field.name for field in dataclasses.fields(kind(name))} & shared
        assert not both, f"{name}: {both}"


@pytest.mark.parametrize("name", ["wgan", "triple-gan"])
def test_methods_with_names_of_their_own_can_be_started(name, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["train", name, "--help"])
    assert caught.value.code == 0
    small = ["--images", "16", "--batch", "8", "--width", "4", "--latent", "4", "--out", str(tmp_path / "r")]
    assert main(["train", name, *small, *(["--weight-clip", "0.05"] if name == "wgan" else [])]) == 0


# ---- nothing is left behind


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("gan --width=-1", "--width must be at least 1"),
        ("gan --width 1000000000", "--width must be at least 1 and at most 65,536, got 1000000000"),
        ("gan --width 65536", "make --width smaller"),
        ("gan --replay 1000000000", "make --replay smaller"),
        ("gan --n-discriminator=-1", "--n-discriminator must be"),
        ("gan --batch 1000000000000", "make --batch smaller"),
        ("gan --size 1000000000", "--size must be at least 1 and at most 8,192"),
        ("gan --size 8192", "1,437 images of 8192x8192 pixels would take at least 89.8 GiB"),
        ("autoencoder --hidden 65536 65536", "make --hidden smaller"),
        ("pixelcnn --layers 1000000000", "--layers must be at least 1 and at most 1,000"),
        ("classifier --lr nan", "--lr must be a finite number"),
        ("classifier --weight-decay=-1", "--weight-decay must be"),
        ("classifier --smoothing inf", "--smoothing must be"),
        ("early-exit --threshold nan", "--threshold must be"),
        ("early-exit --weights 1", "3 exits need as many --weights, got 1"),
        ("wgan --spectral --norm none", "weight_clip 0.01 has no effect"),
        ("adversarial-training --replays=-1", "--replays must be"),
        ("stargan --data domains:digits,night:digits --levels 4", "16"),
        ("gan --out FILE/x", "FILE is not a folder"),
        ("gan --out FILE", "must be a folder, but it is a file"),
        ("gan --out /proc/x/y", "--out /proc/x/y cannot be written: /proc is not writable"),
        (f"gan --out {'a' * 300}", "cannot be written: File name too long"),
        ("gan --images 1000000000000", "--images must be at least 1 and at most 10,000,000,000, got 1000000000000"),
        ("vae --width 512 --batch 5000", "on batches of 5,000 would take at least"),
        ("pixelcnn --head palette --colours 200", "--colours must be at most 17, the colours of the first 64 images"),
        ("domain-adversarial --data digits", "learns from two sets, as in --data unpaired:A,B"),
        ("cogan --data digits", "CoGAN learns from two sets, as in --data unpaired:A,B, got one set of images"),
        ("domain-adversarial --data unpaired:digits:3,digits:4", "with the same classes, at least 2"),
        ("infogan --no-adversarial --no-informed", "adversarial and informed cannot both be no"),
        ("triple-gan --labels-per-class 200", "--labels-per-class must be at most 139, the training images of the"),
        (
            "semi-supervised --labels-per-class 200",
            "--labels-per-class must be at most 139, the training images of the",
        ),
        ("semi-supervised --discriminator FILE", "--discriminator must name the run directory of a GAN of images"),
        ("semi-supervised --threshold 1.5", "--threshold must be at least 0 and at most 1, got 1.5"),
        ("semi-supervised --data digits:3", "a classifier needs at least 2 classes"),
        ("disentangle --data digits:3", "at least 2 classes, as in --data digits"),
    ],
)
def test_a_refused_training_leaves_nothing_behind(command, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "available", lambda device: 2**30)
    (tmp_path / "FILE").write_text("")
    name, *rest = command.split()
    out = [] if "--out" in rest else ["--out", "new/run"]
    assert main(["train", name, *rest, *out]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and error.startswith("genlab: ")
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


@pytest.mark.parametrize(
    ("recipe", "options", "sentence"),
    [
        ("quickstart", "--data mnits", "did you mean 'mnist'"),
        ("quickstart", "--gan-images=-1", "--gan-images must be at least 1"),
        ("quickstart", "--eps", "--eps must be at least one value"),
        ("quickstart", "--out FILE", "must be a folder, but it is a file"),
        ("distillation", "--out FILE/x", "FILE is not a folder"),
        ("distillation", "--omitted 10", "--omitted must be a class, from 0 to 9"),
        ("attack_table", "--attacks fgms", "did you mean 'fgsm'"),
        ("feature_squeezing", "--attacks fgms", "did you mean 'fgsm'"),
        ("feature_squeezing", "--outliers nothing", "--outliers nothing: unknown data 'nothing'"),
        ("smoothing_defence", "--filters bits:bits=99", "bits"),
        ("defence_matrix", "--filters medain", "did you mean 'median'"),
        ("conditional", "--data digits --size 10", "multiples of 4"),
        ("cyclegan", "--variants cicle", "did you mean 'cycle'"),
        ("cyclegan", "--data digits", "learns from two sets"),
        ("likelihood_table", "--models glow", "did you mean 'Glow'"),
        ("photo_editing", "--attribute thikness", "did you mean 'thickness'"),
        ("physical_patch", "--target 10", "--target must be a class, from 0 to 9"),
        ("reprogramming", "--cells 20", "make a picture of 136 pixels, which leaves no room"),
        ("purify", "--attacked 360", "--attacked 360 leaves none of the 360"),
        ("stargan", "--data digits", "--data names domains"),
        ("vae_latent", "--components 2000", "--components must be at most 1437"),
        ("autoencoder_codes", "--code 65", "1 to 64 components"),
        ("flow_mnist", "--batch 0", "--batch must be at least 1"),
        (
            "cyclegan",
            "--data unpaired:digits,night:digits --size 8 --batch 51",
            "--batch must be at least 1 and at most 50",
        ),
        ("representations", "--ink nosuch", "--ink nosuch: unknown data 'nosuch'"),
        ("unpaired_common_space", "--a sprites --b digits", "--a and --b must be of the same classes"),
        (
            "unpaired_common_space",
            "--models tide",
            "did you mean 'tied'? known: independent, 'equal at the start', tied",
        ),
        ("unpaired_common_space", "--b folder:nosuch", "--b folder:nosuch: 'nosuch' is not a folder"),
        ("certify", "--data folder:FILE", "--data folder:FILE: 'FILE' is not a folder"),
        ("quickstart", "--data mnist --data-root FILE", "'FILE' and could not be downloaded"),
        ("black_box", "--data unpaired:digits,night:digits", "learns from one set of images"),
        ("shortcut", "--n=-1", "--n must be at least 1"),
        ("few_labels", "--labels 5 100000", "--labels must be at most 139"),
        ("few_labels", "--methods cnn cnn", "--methods must be values, each only once, got cnn, cnn"),
        ("few_labels", "--methods pseudo-label", "did you mean 'pseudo-labels'"),
        ("few_labels", "--clusters 2000", "--clusters must be at most 1,437"),
        ("few_labels", "--components 65", "--components must be at most 64"),
        ("quickstart", "--gan-images 1000000000000", "--gan-images must be at least 1 and at most 10,000,000,000"),
        ("what_metrics_see", "--data digits --size 8 --n 2000", "--n must be at most 1,437"),
        ("what_metrics_see", "--data digits --size 8 --shifts 0 9", "--shifts must be at most 7"),
        ("inpainting", "--data grammar", "grammar has no classes"),
        ("feature_squeezing", "--fpr 0", "--fpr must be above 0 and below 1"),
        ("certify", "--n 1", "--n must be at least 10 for alpha=0.001"),
        ("vae_gan", "--size 7", "multiples of 4"),
        ("cyclegan", "--variants features --pretraining grammar", "--pretraining must be images of at least two"),
        ("cyclegan", "--data unpaired:FILE", "as in unpaired:A,B"),
        ("attack_table", "--attacks fgsm fgsm", "--attacks must be values, each only once, got fgsm, fgsm"),
        ("attack_transfer", "--nets cnn mlp", "--nets must be three or more"),
        ("pixelcnn_mnist", "--kernel 4", "--kernel must be odd"),
    ],
)
def test_a_refused_recipe_has_trained_and_written_nothing(recipe, options, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENLAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "FILE").write_text("")
    monkeypatch.setattr(sys, "argv", ["recipe", *options.split()])
    with pytest.raises(SystemExit) as caught:
        start(module(recipe).main, module(recipe).Config)
    error = capsys.readouterr().err
    assert caught.value.code == 2 and sentence in error and error.count("\n") == 1, error
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


@pytest.mark.parametrize("out", ["FILE/grid.png", "."])
def test_where_samples_go_is_looked_at_before_they_are_drawn(out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("")
    assert main(["sample", "nowhere", "--out", out]) == 2 and f"--out {out}" in capsys.readouterr().err


# ---- memory


@pytest.mark.parametrize("name", METHODS)
def test_weights_are_counted_without_making_them(name):
    before = torch.random.get_rng_state()
    counted = memory.build_on_meta(METHODS[name], SHAPE, CLASSES)
    assert torch.equal(before, torch.random.get_rng_state())
    if counted is not None:
        real = METHODS[name].build(SHAPE, CLASSES)
        assert {p.device.type for p in (*real.parameters(), *real.buffers())} == {"cpu"}  # nothing was remembered
        assert memory.training_bytes(counted, TrainOptions()) == memory.training_bytes(real, TrainOptions())
    else:
        assert "spectral" in name


def test_free_memory_is_that_of_the_machine_and_of_the_limit():
    free = memory.available(torch.device("cpu"))
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, hard))
    try:
        limited = memory.available(torch.device("cpu"))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert 0 < limited <= 2**28 and limited <= free
    memory.require(10**6, "a little", "--n")
    with pytest.raises(ValueError, match=r"^all would take at least .* GiB of memory, but only .*: make --n smaller"):
        memory.require(2**70, "all", "--n")


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.empty(10**16),
        lambda: torch.empty(2**40, 2**40),
        lambda: bytearray(2**60),
        lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")),
    ],
)
def test_running_out_of_memory_names_what_to_make_smaller(ask, capsys):
    assert guarded(lambda: list([ask()]) if not hasattr(x := ask(), "__next__") else next(x), "--batch or --n") == 2
    assert capsys.readouterr().err == "genlab: out of memory: make --batch or --n smaller\n"


def test_other_errors_of_torch_keep_their_traceback():
    with pytest.raises(RuntimeError, match="must match"):
        guarded(lambda: torch.ones(2) + torch.ones(3))


@pytest.mark.parametrize("name", [name for name in METHODS if " " not in name])
def test_what_a_step_keeps_is_measured_without_making_it(name):
    pair = name in UNPAIRED
    if (counted := memory.build_on_meta(METHODS[name], SHAPE, CLASSES)) is None:
        return
    before = torch.random.get_rng_state()
    small = step_bytes(counted, SHAPE, 8, pair=pair)
    assert torch.equal(before, torch.random.get_rng_state())
    method = make(name)
    kept = SavedBytes([*method.parameters(), *method.buffers()])
    with saved_tensors_hooks(kept.pack, lambda saved: saved.tensor):
        method.train().step(stream(8, name), Update(method.optimizers()))
    assert small <= kept.most * (1.1 if name in ATTENTION else 1) and (small > 0.9 * kept.most or name in PARTLY)
    if name in ("classifier", "diffusion", "flow", "gan", "pixelrnn", "vae"):  # one of each kind of network
        assert step_bytes(counted, SHAPE, 16, pair=pair) > 1.5 * small


# ---- outputs that take no more


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_names_the_file_and_leaves_no_half_of_it(tmp_path):
    (tmp_path / f".{threading.get_native_id()}-0.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device: .*a.json'") as caught:
        write_atomically(tmp_path / "a.json", b"1234")
    assert caught.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())
    run = Run.create(tmp_path / "run", {})
    (run.path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: .*metrics.jsonl'"):
        run.log({"images": 1})


@pytest.mark.parametrize(
    ("command", "status", "error"),
    [
        ("--help | true", None, ""),
        ("list | true; exit ${PIPESTATUS[0]}", 141, ""),
        ("train | true", None, ""),
        ("sample --help | true", None, ""),
        ("--help > /dev/full", 2, "genlab: standard output: No space left on device\n"),
        ("list > /dev/full", 2, "genlab: standard output: No space left on device\n"),
        ("sample run --n 0 2> /dev/full", 2, ""),
        ("--help >&-", 0, ""),
    ],
)
def test_outputs_that_take_no_more_end_without_a_traceback(command, status, error):
    words = f"{sys.executable} -m genlab {command}"
    done = subprocess.run(words, shell=True, stderr=subprocess.PIPE, text=True, executable="/bin/bash")
    assert done.stderr == error and (status is None or done.returncode == status)


def test_work_goes_on_when_nobody_can_be_told_how_far_it_is(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    with Progress("work", 2) as progress:
        progress.advance(2)
    assert progress.silent


def full_disk(monkeypatch, name):
    """The disk is full when a file of that name, or of one that begins so, is written."""
    write = files.write_in_turn

    def refuse(contents):
        if any(path.name.startswith(name) for path in contents):
            raise OSError(errno.ENOSPC, "No space left on device", str(next(iter(contents))))
        write(contents)

    for module in (files, checkpoint):
        monkeypatch.setattr(module, "write_in_turn", refuse)


@pytest.mark.parametrize(("name", "left"), [("config", False), ("step-", False), ("results", True)])
def test_a_full_disk_leaves_a_run_only_if_it_has_a_checkpoint(name, left, monkeypatch, capsys):
    full_disk(monkeypatch, name)
    assert main(["train", "gan", *"--width 4 --hidden 0 --images 64 --batch 32 --out new/run".split()]) == 2
    assert "No space left on device: 'new/run/" in capsys.readouterr().err
    assert Path("new").exists() == left == any(Path().glob("new/run/checkpoints/step-*.pt"))


def test_a_failure_removes_nothing_that_was_there_before(monkeypatch, capsys):
    Path("old/run").mkdir(parents=True)
    full_disk(monkeypatch, "config")
    assert main(["train", "gan", *"--width 4 --hidden 0 --images 64 --out old/run".split()]) == 2
    assert Path("old/run").exists()


@pytest.mark.parametrize(
    "words",
    [["train", "gan", "--no\x1b[31m"], ["sample", "run", "x\x1b[31m"], ["train", "gan", "--precision", "\x1b]0;x"]],
)
def test_what_is_no_option_is_told_without_steering_the_terminal(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    told = "".join(capsys.readouterr())
    assert caught.value.code == 2 and "\\x1b" in told and "\x1b" not in told


def test_the_working_folder_is_no_run(capsys):
    assert main(["train", "gan", "--images", "8", "--out", "."]) == 2
    assert "--out must name a folder" in capsys.readouterr().err and not list(Path().iterdir())


@pytest.mark.parametrize(
    "words", [("train", "gan", "--out", ""), ("sample", ""), ("evaluate", "--real", ""), ("attack", "run", "--eps=")]
)
def test_no_value_may_be_empty(words, capsys):
    assert main([*words]) == 2
    named = words[-1].rstrip("=") or (words[-2] if words[-2].startswith("--") else "an argument")
    assert f"genlab: {named} must not be empty" in capsys.readouterr().err and not list(Path().iterdir())
