"""Models as users have them: callables, odd outputs, no gradient, NaN, half precision, answers that depend on company.

What attacks and `evaluate` make of them; what every attack makes of NaN and half precision is in `test_attacks`.
"""

from __future__ import annotations

import json
import math
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import ATTACKS, Net, Nothing, Seen
from toys import attacked_images as images

from attacks.auto_pgd import AutoPGDT
from attacks.core.ball import L2, Linf
from attacks.core.callables import networks
from attacks.core.model import Attack, NoGradient, victim
from attacks.core.precision import rounded, widened
from attacks.defences.purify import DefenseGAN
from attacks.evaluation.crafting import ball_of
from attacks.evaluation.evaluate import EvaluationOptions, evaluate
from attacks.evaluation.report import add_evaluation
from attacks.evaluation.results import Evaluation, Row
from attacks.evaluation.verdict import verdicts
from attacks.explanation import ExplanationAttack
from attacks.latent import LatentAttack
from attacks.noise import RandomNoise
from attacks.patch import Patch
from attacks.pgd import FGSM, PGD
from attacks.reprogramming import Reprogramming, squares
from attacks.spatial import Spatial, move
from attacks.square import Square
from attacks.surrogate import Surrogate
from attacks.universal import Universal, UniversalCount, UniversalGenerator, UniversalGradient, UniversalTargeted
from genlab.data import Images
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.report import Report as Page

EVERY: dict[str, Attack] = {f"{i} {type(attack).__name__}": attack for i, attack in enumerate(ATTACKS)}


def small(n: int = 4) -> tuple[Net, Tensor, Tensor]:
    net, x = Net().eval(), images()[:n]
    return net, x, net(x).argmax(1)


def row(report: Evaluation, attack: str, model: str = "net") -> Row:
    (found,) = (r for r in report.rows if (r.attack, r.model) == (attack, model))
    return found


MLP = ClassifierConfig(net="mlp").build
GLOBAL = Net()
SEVERAL = [GLOBAL]


def by_global(x: Tensor) -> Tensor:
    return GLOBAL(x)


class Around:
    """An object around a network, no module itself."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, x: Tensor) -> Tensor:
        return self.net(x)

    def scores(self, x: Tensor) -> Tensor:
        return self.net(x)


def callables(net: Net) -> dict[str, object]:
    return {
        "closure": lambda x: net(x),
        "nested": partial(lambda inner, x: inner(x), Around(net)),
        "list": lambda x, several=(net,): several[0](x),
        "method": net.forward,
        "decorated": torch.enable_grad()(net.forward),
        "partial": partial(nn.Module.__call__, net),
        "object": Around(net),
        "method of an object": Around(net).scores,
    }


@pytest.mark.parametrize("kind", callables(Net()))
def test_behind_a_callable_the_network_is_in_eval_mode_and_stays_as_it_was(kind: str) -> None:
    net, x, y = small()
    expected = PGD(Linf(0.1), steps=3)(net, x, y)
    net.train()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    model = callables(net)[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(PGD(Linf(0.1), steps=3)(model, x, y), expected)  # type: ignore[arg-type]
        report = evaluate({"net": model}, {"pgd": PGD(Linf(0.1), steps=3)}, x, y)  # type: ignore[dict-item]
    assert not report.warnings and row(report, "pgd").success.correct == len(x)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all(m.training for m in net.modules()) and all(p.requires_grad and p.grad is None for p in net.parameters())


def test_global_names_are_followed_and_what_is_not_found_is_warned_of_once() -> None:
    _, x, y = small()
    for model in (by_global, lambda x: by_global(x), lambda x: SEVERAL[0](x)):
        assert set(networks(model)) == set(GLOBAL.modules())
    assert networks(torch.sum) == networks(lambda x: x) == networks(nn.Linear) == networks(3) == []
    weight = torch.rand(128, 4)
    model = lambda x: x.flatten(1) @ weight
    with pytest.warns(UserWarning, match="no torch module was found") as found:
        PGD(Linf(0.1), steps=3)(model, x, y)
    assert len(found) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = evaluate({"net": model}, {"pgd": PGD(Linf(0.1), steps=3)}, x, y).warnings
    assert sum("no torch module" in text for text in said) == 1


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        (lambda z: (z, z), r"got tuple of 2: pass lambda x: model\(x\)\[0\]"),
        (lambda z: {"out": z}, r"got dict with the keys 'out': pass"),
        (lambda z: SimpleNamespace(logits=z), r"got SimpleNamespace with an attribute logits: pass .*\.logits"),
        (lambda z: z[:, :1], r"one logit each, \(4, 1\): .* torch.cat\(\[torch.zeros_like\(logit\), logit\], 1\)"),
        (lambda z: z[:, 0], r"got one logit each, \(4,\): return torch.cat"),
        (lambda z: z[:, :, None], r"got torch.float64 \(4, 4, 1\)"),
        (lambda z: z.argsort(1), r"got torch.int64 \(4, 4\): predicted classes"),
        (lambda z: z.argmax(1), r"got torch.int64 \(4,\): predicted classes"),
        (lambda z: z.argmax(1, keepdim=True), r"got torch.int64 \(4, 1\): predicted classes"),
        (lambda z: None, r"got NoneType"),
    ],
)  # fmt: skip
def test_other_outputs_than_logits_are_refused_with_a_hint(output, hint: str) -> None:
    net, x, y = small()
    model = lambda x: output(net(x))
    for attack in (PGD(Linf(0.1)), Square(Linf(0.1))):
        with pytest.raises(ValueError, match="must return logits.*" + hint):
            attack(model, x, y)
    with pytest.raises(ValueError, match="must return logits.*" + hint):
        evaluate({"net": model}, {"pgd": PGD(Linf(0.1))}, x, y)
    ordered = OrderedDict(logits=net(x))
    assert "keys 'logits'" in str(pytest.raises(ValueError, PGD(Linf(0.1)), lambda x: ordered, x, y).value)


def test_inference_tensors_are_as_good_as_others() -> None:
    net, x, y = small()
    expected = evaluate({"net": net}, {"pgd": PGD(Linf(0.1), steps=3)}, x, y).rows[0]
    with torch.inference_mode():
        inside = x.clone(), y.clone()
        again = evaluate({"net": net}, {"pgd": PGD(Linf(0.1), steps=3)}, *inside).rows[0]
    outside = evaluate({"net": net}, {"pgd": PGD(Linf(0.1), steps=3)}, *inside).rows[0]
    assert expected.linf == again.linf == outside.linf and expected.success == again.success == outside.success


class NoSlope(torch.autograd.Function):
    """As the kernels of quantised layers: the graph goes on behind it, and no gradient comes back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> None:  # type: ignore[override]
        return None


class Rounds(nn.Module):
    """A network behind numbers without slope: as quantised ones are."""

    def __init__(self, net: nn.Module, how: str) -> None:
        super().__init__()
        self.net, self.how, self.shift = net, how, torch.zeros(4, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "bytes":
            x = (x * 255).byte() / 255
        if self.how == "graph":  # the logits have a graph, which does not lead to x
            return self.net(x.detach()) + self.shift
        return self.net(NoSlope.apply(x) if self.how == "kernel" else x)


@pytest.mark.parametrize("how", ["bytes", "graph", "kernel"])
def test_without_gradient_white_box_rows_say_so_and_the_others_stand(how: str) -> None:
    net, x, y = small()
    model = Rounds(net, how)
    report = evaluate({"net": model}, EVERY, x, y)
    failed = {r.attack for r in report.rows if r.error}
    asking = "Square SPSA NES HopSkipJump HopSkipJumpLinf OnePixel Transfer RandomNoise".split()
    asking += ["FixedPerturbation", "PerImagePerturbation"]
    assert failed == {name for name in EVERY if name.split()[1] not in asking}
    assert all("gives no gradient" in r.error for r in report.rows if r.error)
    assert sum("respect to its input: only attacks without gradients" in text for text in report.warnings) == 1
    assert all(w.attacks and not failed & set(w.attacks) for w in report.worst_case)
    with pytest.raises(NoGradient):
        Spatial(steps=2)(model, x, y)


@pytest.mark.parametrize("how", ["bytes", "graph", "kernel"])
def test_terms_of_a_loss_that_do_not_ask_the_model_are_not_followed_alone(how: str) -> None:
    net, x, y = small()
    draw = lambda z: (x[:1] + z.view(-1, 2, 8, 8)).clamp(0, 1)
    model, purifier = Rounds(net, how), DefenseGAN(draw, 128, restarts=1, steps=2)
    attempts: list[Callable[[], object]] = [
        lambda: ExplanationAttack(Linf(0.1), steps=2)(model, x, y),
        lambda: LatentAttack(Linf(0.1), purifier, model, steps=2)(net, x, y),
        lambda: Reprogramming(images=8, weight=1.0).learn(model, (2, 8, 8), squares(8, 2, 1, most=3, channels=2)),
        lambda: Patch(images=40, batch=20).prepare(model, scenes(4)),
    ]
    for attempt in attempts:
        with pytest.raises(NoGradient):
            attempt()


def test_quantised_layers_have_no_gradient_either() -> None:
    net, x, y = small()
    flat = nn.Sequential(nn.Flatten(), nn.Linear(128, 4)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = torch.ao.quantization.quantize_dynamic(flat, {nn.Linear})
            model(x)
        except (RuntimeError, AttributeError):
            pytest.skip("no quantised kernels here")
        report = evaluate(
            {"net": model}, {"pgd": PGD(Linf(0.2)), "square": Square(Linf(0.2), 20)}, x, model(x).argmax(1)
        )
        with pytest.raises(NoGradient):
            PGD(Linf(0.2))(model, x, model(x).argmax(1))
    assert "gives no gradient" in row(report, "pgd").error
    assert not row(report, "square").error and row(report, "square").success.correct == 4


@dataclass(frozen=True)
class Broken(Attack):
    ball: Linf
    error: type[BaseException]

    def run(self, f, x, y):  # type: ignore[no-untyped-def]
        if self.ball.eps > 0.15:
            raise self.error("one\nthing" + 400 * "!")
        return x


def test_an_attack_that_fails_is_a_row_and_the_others_stand(tmp_path: Path) -> None:
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), images()[:4, :1]
    y = net(x).argmax(1)
    attacks = {"broken": Broken(Linf(0.1), RuntimeError), "pgd": PGD(Linf(0.1), steps=3)}
    report = evaluate({"net": net}, attacks, x, y, eps=[0.1, 0.2])
    good, bad, *others = report.rows
    assert not good.error and bad.error.startswith("RuntimeError: one thing!") and len(bad.error) < 320
    assert bad.success.value is None and bad.robust_accuracy is None and bad.clean_accuracy == 1
    assert len(others) == 4 and not any(r.error for r in others)
    assert [w.attacks for w in report.worst_case] == [("broken", "pgd", "noise-linf"), ("pgd", "noise-linf")]
    assert [text for text in report.warnings if "broken failed at linf 0.2: RuntimeError" in text]
    assert "failed: RuntimeError: one thing" in repr(report)
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert data["rows"][1]["error"] == bad.error and data["rows"][1]["robust_accuracy"] is None
    assert "failed" in str([list(column.cells) for column in report.table().columns])
    assert (
        "failed: RuntimeError: one thing" in add_evaluation(Page("t"), report).save(tmp_path / "page.html").read_text()
    )
    with pytest.raises(KeyboardInterrupt):
        evaluate({"net": net}, {"broken": Broken(Linf(0.2), KeyboardInterrupt)}, x, y)


def test_a_model_that_fails_on_attacked_images_only_costs_its_rows() -> None:
    net, x, y = small()

    def picky(z: Tensor) -> Tensor:
        if not torch.equal(z.sort(0).values, x.sort(0).values[: len(z)]) and len(z) == len(x):
            raise RuntimeError("strange images")
        return net(z)

    report = evaluate({"net": net, "picky": picky}, {"fgsm": FGSM(Linf(0.1))}, x, y, sources={"picky": "net"})
    assert not row(report, "fgsm").error and "strange images" in row(report, "fgsm", "picky").error


def test_a_defence_has_no_verdict_where_an_attack_failed() -> None:
    net, x, y = small()
    models = {"none": net, "bytes": Rounds(net, "bytes"), "bytes, adaptive": Rounds(net, "bytes")}
    report = evaluate(models, {"pgd": PGD(Linf(0.1), steps=3)}, x, y, sources={"bytes": "none"})
    (found,) = verdicts(report)
    assert found.text == "unknown: an attack failed"
    report = evaluate(models, {"spatial": Spatial(steps=3)}, x, y, sources={"bytes": "none"})
    assert verdicts(report) == []


def test_an_attack_that_must_learn_and_cannot_is_refused_at_once() -> None:
    net, x, y = small()
    with pytest.raises(ValueError, match="'patch'"):
        evaluate({"net": net}, {"pgd": Broken(Linf(0.2), RuntimeError), "patch": Patch()}, x, y)
    report = evaluate({"net": net}, {"apgd-t": AutoPGDT(Linf(0.1)), "pgd": PGD(Linf(0.1), 2)}, x, y)
    assert not row(report, "apgd-t").error
    three = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
    report = evaluate({"net": three}, {"apgd-t": AutoPGDT(Linf(0.1)), "pgd": PGD(Linf(0.1), 2)}, x, three(x).argmax(1))
    assert "at least 4 classes" in row(report, "apgd-t").error and not row(report, "pgd").error


@pytest.mark.filterwarnings("ignore:.*(NaN|not finite)")
def test_nan_counts_as_nothing() -> None:
    net, x, y = small()
    report = evaluate({"net": Nothing(net)}, EVERY, x, y)
    for r in report.rows:
        assert (r.error, r.success.correct, r.robust_accuracy, r.clean_accuracy, r.nan) == ("", 0, 0, 0, 4)
    assert sum("NaN on 4 of 4 clean inputs" in text for text in report.warnings) == 1

    report = evaluate({"net": Nothing(net, x)}, EVERY, x, y)
    for r in report.rows:
        assert not r.error and r.success.fooled == 0 and r.success.correct == 4
        assert r.robust_accuracy == (4 - r.nan) / 4
    lost = {r.attack: r.nan for r in report.rows if r.nan}
    assert lost["0 FGSM"] == lost["noise-linf"] == 4
    assert any("NaN on adversarial images" in text and "4 of 0 FGSM at linf 0.03" in text for text in report.warnings)
    assert any("logits are NaN in" in text and "passes under attack" in text for text in report.warnings)
    worst = next(w for w in report.worst_case if "noise-linf" in w.attacks and w.eps == 0.1)
    assert worst.robust_accuracy == 0 and worst.success.fooled == 0 and worst.nan == 4
    assert "0.000 (0.000–0.490), 4 NaN" in repr(report)


@pytest.mark.filterwarnings("ignore:.*(NaN|not finite)")
def test_gradients_that_are_nan_are_named() -> None:
    net, x, y = small()
    report = evaluate({"net": Nothing(net, gradients=True)}, EVERY, x, y)
    assert not any(r.error or r.nan for r in report.rows)
    assert all(
        r.nonfinite_gradients == (1 if r.backwards else 0) for r in report.rows
    ) and "100 % of gradients NaN" in repr(report)
    said = [text for text in report.warnings if "gradient is NaN or infinite" in text]
    assert len(said) == 2 and "on 4 of 4 clean inputs" in said[0] and "passes under attack" in said[1]
    with pytest.warns(UserWarning, match="gradient is not finite for 4 of 4 inputs"):
        PGD(L2(1.0), steps=2)(Nothing(net, gradients=True), x, y)
    with pytest.warns(UserWarning, match="logits are NaN for 4 of 4 inputs"):
        PGD(L2(1.0), steps=2)(Nothing(net), x, y)


def test_a_flow_that_is_nan_moves_nothing() -> None:
    x = torch.rand(2, 3, 40, 40)
    assert torch.allclose(move(x, torch.full((2, 2, 40, 40), math.nan)), x, atol=1e-5)


def test_every_attack_is_evaluated_in_half_precision() -> None:
    net, x, y = small()
    report = evaluate({"net": Seen(net)}, EVERY, x.bfloat16(), y, options=EvaluationOptions(batch=3))
    assert not any(r.error or r.nan for r in report.rows) and not any("depend on" in text for text in report.warnings)
    assert all(r.linf.max <= r.eps + 1e-6 for r in report.rows if r.norm == "linf")  # type: ignore[operator]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_stays_in_the_ball_and_changes_nothing_else(dtype: torch.dtype) -> None:
    x = (0.2 + 0.6 * images(64)).to(dtype)
    for ball in (Linf(8 / 255), L2(1.0)):
        found = (widened(x) + ball.surface(widened(x))).clamp(0, 1)
        near, adv = found.to(dtype), rounded(found, x, ball)
        assert torch.equal(rounded(found, x, None), near) and adv.dtype == dtype
        plain, mended = ((v.double() - x.double()) for v in (near, adv))
        assert ball.size(plain).max() > ball.eps + 1e-5 and ball.size(mended).max() <= ball.eps + 1e-6
        changed = adv != near
        assert 0 < changed.float().mean() < 0.6 and (mended.abs() < plain.abs())[changed].all()


class Company(nn.Module):
    def __init__(self, net: nn.Module, how: str) -> None:
        super().__init__()
        self.net, self.how, self.norm = net, how, nn.BatchNorm2d(2, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "statistics":
            return self.net(self.norm(x).sigmoid())
        if self.how == "random":
            return self.net(x) + torch.randn(len(x), 4)
        return self.net(x)


@pytest.mark.parametrize("how", ["statistics", "random", "sound"])
def test_answers_that_depend_on_the_batch_are_told_from_random_ones(how: str) -> None:
    model, x = Company(Net(), how).eval(), images()
    with torch.no_grad():
        y = model(x).argmax(1)
    for size in (5, 256):
        options = EvaluationOptions(batch=size)
        said = evaluate({"net": model}, {"noise": RandomNoise(Linf(0.01))}, x, y, options=options).warnings
        assert any("depend on the other inputs of the batch" in text for text in said) == (how == "statistics")
        assert any("outputs are random" in text for text in said) == (how == "random")


def scenes(classes: int = 6) -> Images:
    g = torch.Generator().manual_seed(0)
    names = tuple("abcdefghij"[:classes])
    return Images((torch.rand(60, 2, 8, 8, generator=g) * 255).byte(), torch.arange(60) % classes, names, "noise")


def test_learning_attacks_cope_with_other_classes_than_the_models() -> None:
    net, x, y = small()
    short: dict[str, Any] = {"images": 40, "batch": 20}
    learn: dict[str, Attack] = {
        "aimed": UniversalTargeted(Linf(0.1), **short),
        "count": UniversalCount(Linf(0.1), **short),
        "surrogate": Surrogate(PGD(Linf(0.1), steps=2), MLP, **short),
        "patch": Patch(**short),
    }
    for classes in (6, 2):  # the model has four
        report = evaluate({"net": net}, learn, x, y, data=scenes(classes))
        assert not [r.error for r in report.rows if r.error]
    strange = Images(scenes().pixels, torch.full((60,), 5), scenes().classes, "noise")
    report = evaluate({"net": net}, {"aimed": UniversalGradient(Linf(0.1), images=40)}, x, y, data=strange)
    assert "the model has 4 classes" in row(report, "aimed").error


@pytest.mark.filterwarnings("ignore:.*(NaN|not finite)")
def test_learning_attacks_on_models_with_nan_or_without_gradient() -> None:
    net, x, y = small()
    learn = {
        "patch": Patch(images=40, batch=20),
        "descent": UniversalGradient(Linf(0.1), images=40, batch=20),
        "sum": Universal(Linf(0.1), images=20, epochs=1, steps=2),
        "network": UniversalGenerator(Linf(0.1), images=40, batch=20, width=4),
    }
    for model in (Nothing(net, x), Nothing(net, gradients=True)):
        report = evaluate({"net": model}, learn, x, y, data=scenes(4))
        assert not [r.error for r in report.rows if r.error] and not any(r.success.fooled for r in report.rows if r.nan)
    assert [r.nonfinite_gradients for r in report.rows] == [1, 1, 1, 1, 0]  # the last is noise
    assert any("gradient is NaN or infinite in" in text and "passes under attack" in text for text in report.warnings)
    with pytest.warns(UserWarning, match="gradient is not finite for 20 of 20 inputs"):
        learn["descent"].prepare(Nothing(net, gradients=True), scenes(4))
    for how in ("bytes", "kernel"):
        report = evaluate({"net": Rounds(net, how)}, learn, x, y, data=scenes(4))
        assert ["gives no gradient" in r.error for r in report.rows] == [True] * 4 + [False]
    surrogate = {"surrogate": Surrogate(PGD(Linf(0.1), steps=2), MLP, images=100)}
    failed = evaluate({"net": Nothing(net)}, surrogate, x, y, data=scenes(4)).rows[0]
    assert "NaN for all of the 60 training images" in failed.error


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_frozen_script_has_no_mode_to_change() -> None:
    net, x, y = small()
    script = torch.jit.freeze(torch.jit.trace(net, x))
    assert torch.allclose(PGD(Linf(0.1), steps=3)(script, x, y), PGD(Linf(0.1), steps=3)(net, x, y), atol=1e-6)


def test_the_first_gradient_is_looked_for_at_the_models_door() -> None:
    net, x, y = small()
    with victim(Rounds(net, "graph"), x, y) as f:
        assert f.query(x).shape == (4, 4)
        with pytest.raises(NoGradient, match="no gradient with respect to its input"):
            f(x.clone().requires_grad_())
    assert ball_of(RandomNoise(Linf(0.1))) == Linf(0.1) and ball_of(Spatial()) is None
