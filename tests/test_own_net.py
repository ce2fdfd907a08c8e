"""The user's own networks: --net file.py:build, and modules in Python."""

import pytest
import torch
from test_own_data import TOY, Items
from toys import CLASSES, SHAPE

import genlab
from attacks.defences.adversarial_training import AdversarialTrainingConfig
from attacks.defences.randomised_smoothing import NoiseTrainingConfig
from genlab.cli.main import main
from genlab.compress.distil import DistillationConfig
from genlab.experiment import Experiment
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.nets.build import network
from genlab.run import Run, RunError
from genlab.training.loop import fit
from genlab.training.method import TrainOptions

OWN = """
import torch
from torch import nn
from layers import Flat

class Net(nn.Module):
    def __init__(self, c, h, w, classes):
        super().__init__()
        self.first = nn.Conv2d(c, 4, 3, padding=1)
        self.last = nn.Linear(4 * h * w, classes)
        self.flat = Flat()

    def forward(self, x):
        x.view(x.size(0), -1)  # needs contiguous images
        return self.last(self.flat(self.first(x).relu()))

def build(shape, classes):
    return Net(*shape, classes)

def wrong(shape, classes):
    return nn.Flatten()

def nothing(shape, classes):
    return None

def lazy(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(classes))

def fails(shape, classes):
    raise KeyError("oh")
"""
BESIDE = """
from torch import nn
class Flat(nn.Module):
    def forward(self, x):
        return x.view(x.size(0), -1)
"""
CONFIGS = {
    "classifier": ClassifierConfig,
    "adversarial": lambda **net: AdversarialTrainingConfig(scheme="pgd", steps=2, **net),
    "free": lambda **net: AdversarialTrainingConfig(scheme="free", **net),
    "trades": lambda **net: AdversarialTrainingConfig(scheme="trades", steps=2, **net),
    "noise": NoiseTrainingConfig,
    "distillation": lambda net: DistillationConfig(net=net, teachers=(net,)),
}


@pytest.fixture
def file(tmp_path):
    (tmp_path / "layers.py").write_text(BESIDE)
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


@pytest.mark.parametrize("name", CONFIGS)
def test_every_training_of_a_classifier_takes_an_own_network_and_is_loaded_again(name, file, tmp_path, monkeypatch):
    monkeypatch.chdir(file.parent)
    config = CONFIGS[name](net="own.py:build")
    assert config.net == f"{file}:build"
    Experiment(config, Items(), batch=8, images=32).run("run")
    method = Experiment(config, Items(), batch=8, images=64).run("run")
    monkeypatch.chdir("/")  # the file is found from everywhere
    loaded = genlab.load(tmp_path / "run")
    assert torch.equal(loaded(TOY.x), method(TOY.x)) and loaded(TOY.x).shape == (96, CLASSES)


def test_layers_that_take_their_size_from_the_images_are_as_good(file, tmp_path):
    config = ClassifierConfig(net=f"{file}:lazy")
    method = Experiment(config, Items(), batch=8, images=32).run(tmp_path / "run")
    assert torch.equal(genlab.load(tmp_path / "run")(TOY.x), method(TOY.x))
    with pytest.raises(RunError, match=r"options.net is '.*own.py:lazy' there and '.*own.py:build' here"):
        Experiment(ClassifierConfig(net=f"{file}:build"), Items(), batch=8, images=32).run(tmp_path / "run")


def test_code_that_has_changed_is_refused_by_name_unless_told(file, tmp_path, monkeypatch):
    experiment = lambda images: Experiment(ClassifierConfig(net=f"{file}:build"), Items(), batch=8, images=images)
    experiment(32).run(tmp_path / "run")
    file.write_text(OWN + "\n# another line\n")
    with pytest.raises(RunError, match=r"own\.py:build is not the code .*has changed; restore it, or set GENLAB_TR"):
        genlab.load(tmp_path / "run")
    with pytest.raises(RunError, match=r"the file of .*own\.py:build has changed"):
        experiment(64).run(tmp_path / "run")
    monkeypatch.setenv("GENLAB_TRUST_CODE", "1")
    experiment(64).run(tmp_path / "run")
    monkeypatch.delenv("GENLAB_TRUST_CODE")
    assert genlab.load(tmp_path / "run")
    file.unlink()
    with pytest.raises(RunError, match="names code that is missing: .*own.py:build: there is no file"):
        genlab.load(tmp_path / "run")


def test_code_of_a_run_from_elsewhere_is_not_executed_unless_told(file, tmp_path, monkeypatch):
    Experiment(ClassifierConfig(net=f"{file}:build"), Items(), batch=8, images=32).run(tmp_path / "run")
    assert genlab.load(tmp_path / "run")
    monkeypatch.setenv("GENLAB_CACHE", str(tmp_path / "other machine"))
    with pytest.raises(RunError, match="would execute .*own.py:build, which was never named on this machine"):
        genlab.load(tmp_path / "run")
    monkeypatch.setenv("GENLAB_TRUST_CODE", "1")
    assert genlab.load(tmp_path / "run")


def test_a_configuration_cannot_name_code_that_it_was_not_trained_with(file, tmp_path):
    Experiment(ClassifierConfig(width=4), Items(), batch=8, images=32).run(tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"net": "cnn"', f'"net": "{file}:fails"'))
    with pytest.raises(RunError, match="is not the code"):
        genlab.load(tmp_path / "run")


BAD = {
    "nosuch.py:build": "there is no file 'nosuch.py'|nosuch.py cannot be loaded",
    "{}:nosuch": "has no function 'nosuch'",
    "{}:wrong": r"must return logits of shape \(N, 3\) for N images, got shape \(2, 64\)",
    "{}:nothing": "must return an nn.Module, got NoneType",
    "{}:fails": "fails: KeyError",
    "no.such.module:build": "cannot be loaded: ModuleNotFoundError",
}


@pytest.mark.parametrize("text", BAD)
def test_networks_that_do_not_fit_are_refused_in_one_sentence(text, file):
    with pytest.raises(ValueError, match=BAD[text]) as caught:
        network(text.format(file), SHAPE, CLASSES)
    assert "\n" not in str(caught.value)


def test_an_own_network_on_the_command_line(file, tmp_path, capsys):
    words = ["train", "classifier", "--out", str(tmp_path / "run"), "--images", "64", "--data", "digits"]
    assert main([*words, "--net", f"{file}:build"]) == 0
    assert Run(tmp_path / "run").experiment["options"]["net"] == f"{file}:build"
    capsys.readouterr()
    for net, said in [(f"{file}:wrong", "must return logits"), ("cmn", "did you mean 'cnn'")]:
        assert main([*words[:2], "--out", str(tmp_path / "other"), "--net", net]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1 and not (tmp_path / "other").exists()
    with pytest.raises(ValueError, match="width is an option of the lab's own networks"):
        network(f"{file}:build", SHAPE, CLASSES, 4)
    with pytest.raises(ValueError, match="dropout needs a network that is an nn.Sequential, got Net"):
        ClassifierConfig(net=f"{file}:build", dropout=0.5).build(SHAPE, CLASSES)


def test_in_python_a_network_is_simply_a_module(file):
    net = network(f"{file}:build", SHAPE, CLASSES)
    method = fit(Classifier(net), Items(), TrainOptions(images=64, batch=8))
    assert method.net is net and method.evaluate(TOY)["accuracy"] >= 0
