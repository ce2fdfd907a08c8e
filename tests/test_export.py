"""`genlab export`: files for other programs, bit-equal when they are read again."""

import hashlib

import pytest
import torch
from test_own_data import Items
from toys import images

import genlab
from genlab.cli.main import main
from genlab.core.files import FileError
from genlab.core.safetensors import read_safetensors, to_safetensors
from genlab.data.options import DataOptions
from genlab.experiment import Experiment
from genlab.export import exported
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.gan.gan import GANConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.methods.translation.cyclegan import CycleGANConfig
from genlab.run import Run

X = images(6).x
RUNS = {
    "classifier": (ClassifierConfig(width=4), Items()),
    "gan": (GANConfig(latent=4, width=4, hidden=0), Items()),
    "cyclegan": (CycleGANConfig(width=4), DataOptions("unpaired:digits,night:digits")),
    "vae": (VAEConfig(width=4), Items()),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    for name, (config, data) in RUNS.items():
        Experiment(config, data, images=32, batch=8, half_life=16.0).run(base / name)
    return base


def computed(method, net, name):
    """What the method and the exported map compute."""
    z = torch.randn(6, 4)
    return {"classifier": lambda: (method(X), net(X)), "cyclegan": lambda: (method.translate(X), net(X)),
            "gan": lambda: (method.generator(z), net(z))}[name]()  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_an_export_is_used_in_place_of_the_run(name, runs, tmp_path):
    assert main(["export", str(runs / name), "--out", str(tmp_path / "x")]) == 0
    a, b = genlab.load(runs / name).state_dict(), genlab.load(tmp_path / "x").state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    card = (tmp_path / "x" / "README.md").read_text()
    digest = hashlib.sha256((tmp_path / "x" / "model.safetensors").read_bytes()).hexdigest()
    for part in (digest, RUNS[name][0].__module__, "## Figures", "## Command", "seed 0", "versions | torch"):
        assert part in card


@pytest.mark.parametrize("name", ["classifier", "gan", "cyclegan"])
def test_torchscript_is_bit_equal(name, runs):
    assert main(["export", str(runs / name), "--to", "torchscript"]) == 0
    net = torch.jit.load(str(runs / name / "export" / "model.pt"))
    assert torch.equal(*computed(genlab.load(runs / name, "cpu"), net, name))


@pytest.mark.parametrize("name", ["classifier", "gan"])
def test_onnx_computes_the_same(name, runs):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from onnx.reference import ReferenceEvaluator

    assert main(["export", str(runs / name), "--to", "onnx"]) == 0
    session = ReferenceEvaluator(str(runs / name / "export" / "model.onnx"))
    net = lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
    assert torch.allclose(*computed(genlab.load(runs / name, "cpu"), net, name), atol=1e-4)


def test_what_cannot_be_exported_is_refused(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx.reference", None)
    for words, said in [
        ([str(runs / "vae"), "--to", "torchscript"], "VAE is no map of images or latents alone"),
        ([str(runs / "classifier"), "--to", "onnx"], "pip install 'genlab[onnx]'"),
        ([str(runs / "classifier"), "--out", str(runs / "classifier")], "is the run itself"),
        ([str(tmp_path)], "is not a run"),
    ]:
        capsys.readouterr()
        assert main(["export", *words]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
    assert not (runs / "vae" / "export").exists()


def test_a_file_that_computes_something_else_is_refused(runs):
    method = genlab.load(runs / "classifier", "cpu")
    method.net.register_forward_hook(lambda net, inputs, y: y + torch.rand(()))
    with pytest.raises(ValueError, match="read again, computes something else .*random"):
        exported(method, Run(runs / "classifier"), "torchscript")


def test_safetensors_keep_every_type_and_refuse_damage(tmp_path):
    kinds = (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool)
    tensors = {str(kind): torch.tensor([[0, 1], [1, 0]]).to(kind) for kind in kinds}
    tensors |= {"scalar": torch.tensor(3.0), "empty": torch.empty(0, 2), "last": torch.rand(2, 3, 4).transpose(0, 2)}
    file = tmp_path / "x.safetensors"
    content = to_safetensors(tensors, {"a": "b"})
    file.write_bytes(content)
    found = read_safetensors(file)
    assert found.keys() == tensors.keys() and all(torch.equal(found[k], v) for k, v in tensors.items())
    for damaged in (content[:-1], content[:20], b"", b"\xff" * 50, content[:8] + b"[]" + content[10:]):
        file.write_bytes(damaged)
        with pytest.raises(FileError, match="is not a readable safetensors file"):
            read_safetensors(file)
    safetensors = pytest.importorskip("safetensors.torch")
    file.write_bytes(content)
    theirs = safetensors.load_file(file)
    assert all(torch.equal(theirs[k], v) for k, v in tensors.items())


def test_a_file_of_the_user_is_not_replaced_but_an_earlier_export_is(runs, tmp_path, capsys):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "README.md").write_text("my notes")
    assert main(["export", str(runs / "classifier"), "--out", str(out)]) == 2
    assert "README.md exists and is not of an export" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["README.md"] and (out / "README.md").read_text() == "my notes"
    (out / "README.md").unlink()
    for to in ("safetensors", "torchscript"):
        assert main(["export", str(runs / "classifier"), "--out", str(out), "--to", to]) == 0
    assert "genlab train" not in capsys.readouterr().err and (out / "model.pt").exists()
