"""The evaluator: exact counts, honest rates, no trust in attacks, and warnings of masked gradients."""

from __future__ import annotations

import io
import json
import re
import warnings
import weakref
from dataclasses import dataclass

import pytest
import torch
from PIL import Image
from rich.console import Console
from scipy.stats import binomtest
from torch import Tensor, nn
from toys import Line, attacked_images
from toys import images as toy_images

from attacks.core.ball import L1, L2, Ball, Linf
from attacks.core.model import Attack
from attacks.core.rate import wilson
from attacks.deepfool import DeepFool, DeepFoolLinf
from attacks.evaluation import report as pages
from attacks.evaluation.evaluate import EvaluationOptions, evaluate
from attacks.evaluation.report import progress
from attacks.evaluation.results import Evaluation, Row
from attacks.fmn import FMNL1
from attacks.noise import RandomNoise
from attacks.pgd import FGSM, IFGSM, PGD
from genlab.data.folder import Folder, open_folder
from genlab.reporting.report import Report
from genlab.training.progress import Progress


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(32, 16), nn.Tanh(), nn.Dropout(), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def batch(n: int = 60) -> tuple[Net, Tensor, Tensor]:
    net = Net()
    x = torch.rand(n, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    y = net.eval()(x).argmax(1)
    y[::3] = (y[::3] + 1) % 3  # a third of the inputs is misclassified from the start
    return net.train(), x, y


def row(report: Evaluation, attack: str, model: str = "net", eps: float | None = None) -> Row:
    (found,) = (r for r in report.rows if (r.attack, r.model) == (attack, model) and eps in (None, r.eps))
    return found


def test_passes_are_counted_exactly_for_any_batch_size() -> None:
    net, x, y = batch()
    attacks = {"fgsm": FGSM(Linf(0.1)), "ifgsm": IFGSM(Linf(0.1), steps=7), "bare": PGD(L2(1), 5, keep_best=False)}
    for size in (7, 256):
        report = evaluate({"net": net}, attacks, x, y, options=EvaluationOptions(batch=size))
        passes = {r.attack: (r.forwards, r.backwards) for r in report.rows}
        assert passes == {
            "fgsm": (1, 1), "ifgsm": (8, 7), "bare": (5, 5), "noise-linf": (0, 0), "noise-l2": (0, 0)
        }  # fmt: skip
    assert net.training and net.body[3].training


def test_success_counts_only_inputs_that_were_correct_and_the_worst_case_is_per_sample() -> None:
    net, x, y = batch()
    attacks = {"fgsm": FGSM(Linf(0.1)), "pgd": PGD(Linf(0.1), steps=5), "l2": PGD(L2(0.5), steps=5)}
    report = evaluate({"net": net}, attacks, x, y)
    net.eval()
    correct, hits = net(x).argmax(1) == y, {}
    assert correct.sum() == 40
    for name, attack in {**attacks, "noise-linf": RandomNoise(Linf(0.1))}.items():
        hits[name] = correct & (net(attack(net, x, y)).argmax(1) != y)
        found = row(report, name)
        assert (found.success.fooled, found.success.correct) == (hits[name].sum(), 40)
        assert found.robust_accuracy == pytest.approx((40 - hits[name].sum().item()) / 60)
        assert found.clean_accuracy == pytest.approx(40 / 60)
    worst = {w.norm: w for w in report.worst_case}
    together = hits["fgsm"] | hits["pgd"] | hits["noise-linf"]
    assert worst["linf"].success.fooled == together.sum() and worst["linf"].attacks == ("fgsm", "pgd", "noise-linf")
    assert worst["l2"].success.fooled >= hits["l2"].sum() > 0 < hits["fgsm"].sum()


@dataclass(frozen=True)
class Half(Attack):
    """Turns the left or the right half of the inputs into noise: two of them cover what neither does alone."""

    ball: Ball
    left: bool

    def run(self, f, x, y):  # type: ignore[no-untyped-def]
        mine = (torch.arange(len(x)) < len(x) // 2) == self.left
        return torch.where(mine.view(-1, 1, 1, 1), PGD(self.ball, 10).run(f, x, y), x)


def test_the_worst_case_is_worse_than_each_attack() -> None:
    net, x, y = batch()
    report = evaluate({"net": net}, {"a": Half(Linf(0.3), True), "b": Half(Linf(0.3), False)}, x, y)
    (worst,) = report.worst_case
    each = [row(report, name).success.fooled for name in "ab"]
    assert min(each) > 0 and sum(each) <= worst.success.fooled and worst.success.fooled > max(each)


def test_every_eps_is_run_and_each_gets_its_own_control() -> None:
    net, x, y = batch()
    seen: list[tuple[int, int, str]] = []
    report = evaluate(
        {"net": net, "other": Net()}, {"fgsm": FGSM(Linf(0.9))}, x, y, eps=[0.0, 0.1, 0.2],
        options=EvaluationOptions(progress=lambda *a: seen.append(a), examples=3, batch=8),
    )  # fmt: skip
    assert [(r.attack, r.eps) for r in report.rows if r.model == "net"] == [
        ("fgsm", 0.0), ("fgsm", 0.1), ("fgsm", 0.2), ("noise-linf", 0.0), ("noise-linf", 0.1), ("noise-linf", 0.2)
    ]  # fmt: skip
    assert row(report, "fgsm", eps=0.0).success.fooled == 0
    last = row(report, "fgsm", eps=0.2)
    assert last.linf.max == pytest.approx(0.2) and 0 < last.linf.median <= last.l2.median  # type: ignore[operator]
    own = x.double().flatten(1).norm(dim=1)
    assert last.l2.max / own.max() <= last.relative.max <= last.l2.max / own.min()  # type: ignore[operator]
    assert last.config == repr(FGSM(Linf(0.2)))
    done = [s[0] for s in seen]  # of two models, six attacks; after every batch
    assert done == sorted(done) and {0, 2 * 8, 2 * 16} < set(done) and {s[1] for s in seen} == {12 * len(x)}
    assert done[-1] == 12 * len(x) and seen[0][2] == "fgsm on net, other"
    assert all(len(e.x) == 3 and e.adversarial.shape == e.x.shape for e in report.examples)
    shown = next(e for e in report.examples if (e.attack, e.eps) == ("fgsm", 0.2))
    assert (shown.prediction != shown.y).all()
    probabilities = net.eval()(shown.adversarial).softmax(1)
    torch.testing.assert_close(shown.probability, probabilities.amax(1))


def test_the_page_names_model_and_images_and_the_pictures_true_and_predicted_classes(monkeypatch) -> None:
    net, x, y = batch()
    found = evaluate({"net": net}, {"fgsm": FGSM(Linf(0.3))}, x, y, options=EvaluationOptions(examples=4))
    drawn: list[dict] = []
    monkeypatch.setattr(pages, "labelled_grid_png", lambda images, n, **how: drawn.append(how) or b"\x89PNG")
    page = pages.add_evaluation(Report("page"), found, classes=["zero", "one"]).html()
    assert "model <b>net</b>" in page and f"images <b>{len(x)}</b>" in page and "clean accuracy <b>" in page
    example, how = next(e for e in found.examples if e.attack == "fgsm"), drawn[0]
    assert how["rows"] == ["original", "fgsm, eps 0.3", "difference, ± 0.3"]

    def name(k):
        return ["zero", "one"][k] if k < 2 else str(k)

    assert how["captions"][:4] == [name(int(k)) for k in example.y]
    parts = zip(how["captions"][4:], example.y, example.prediction, example.probability, example.attacked)
    for text, true, k, p, attacked in parts:
        short = len(name(int(true)) + name(int(k))) <= 6  # both names under one image
        arrow = "" if k == true else f"{name(int(true))} → " if short else "→ "
        changed = f"{arrow}{name(int(k))}\n({float(p):.2f})"
        assert text == (changed if attacked else "not\ncounted")
    assert torch.equal(example.attacked, net.eval()(example.x).argmax(1) == example.y)


def test_rows_of_images_say_under_each_what_it_is_taken_for(monkeypatch) -> None:
    drawn: list[dict] = []
    monkeypatch.setattr(pages, "labelled_grid_png", lambda images, n, **how: drawn.append(how) or b"\x89PNG")
    rows, said = {"clean": torch.zeros(2, 1, 2, 2), "attacked": torch.ones(2, 1, 2, 2)}, torch.tensor([0, 1, 1, 1])
    pages.predictions_picture(rows, lambda x: torch.eye(2)[said], torch.tensor([0, 1]), ["cat", "dog"])
    assert drawn == [{"rows": ("clean", "attacked"), "captions": ["cat", "dog", "cat → dog", "dog"]}]


class NanWhereChanged(nn.Module):
    """Logits of `net`, NaN for images other than x."""

    def __init__(self, net: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.net, self.x = net, x

    def forward(self, x: Tensor) -> Tensor:
        known = (x.flatten(1)[:, None] == self.x.flatten(1)).all(2).any(1)
        return torch.where(known[:, None], self.net(x), torch.nan)


def test_a_row_says_that_its_attack_saw_nan_also_where_it_returns_the_clean_image() -> None:
    net, x, y = batch()
    attacks = {"pgd": PGD(Linf(0.1), steps=9), "deepfool": DeepFool()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluate({"net": NanWhereChanged(net.eval(), x)}, attacks, x, y)
    assert 0.8 < row(found, "pgd").nan_logits <= 1 and row(found, "deepfool").nan_logits > 0.2
    worst = {w.norm: w for w in found.worst_case}
    assert worst["linf"].nan_logits == row(found, "pgd").nan_logits
    assert worst[None].nan_logits == row(found, "deepfool").nan_logits
    lines = repr(found).splitlines()[1:]
    for name in ("pgd", "deepfool"):
        assert "% of logits NaN" in next(line for line in lines if name in line)
    assert sum("% of logits NaN" in line for line in lines) == 4  # and both worst cases
    console = Console(width=200, file=io.StringIO())
    console.print(found.table())
    assert console.file.getvalue().count("% of logits NaN") == 4  # type: ignore[attr-defined]
    assert all(r.nan_logits == 0 for r in evaluate({"net": net}, attacks, x, y).rows)


def test_the_report_is_plain_data_readable_and_a_table() -> None:
    net, x, y = batch()
    report = evaluate({"net": net}, {"fgsm": FGSM(Linf(0.1))}, x, y)
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert data["rows"][0]["success"]["value"] == row(report, "fgsm").success.value
    assert data["worst_case"][0]["attacks"] == ["fgsm", "noise-linf"]
    assert (
        report.table().row_count == 3
        and report.rows[0].success.percent in str(list(report.table().columns[3].cells))
        and "noise-linf" in repr(report)
        and "worst case" in repr(report)
    )


@pytest.mark.parametrize("norm, attack", [(L1, FMNL1()), (L2, DeepFool()), (Linf, DeepFoolLinf())], ids=repr)
def test_an_attack_that_minimises_a_norm_is_shown_with_its_smallest_distances(norm: type[Ball], attack: Attack) -> None:
    x = 0.45 + 0.1 * attacked_images(11)  # far from the box
    net = Line(x[0].numel())
    near = {L1: 0.4, L2: 0.1, Linf: 0.02}[norm]
    x = torch.cat([net.at(near, norm, x[:6]), net.at(2 * near, norm, x[6:])])
    y = net(x).argmax(1)
    y[0] = 1 - y[0]  # is no image to be fooled
    found = evaluate({"net": net}, {"least": attack}, x, y, options=EvaluationOptions(batch=4))
    (least,) = found.rows
    assert least.smallest == pytest.approx([near] * 5 + [2 * near] * 5, rel=0.02)
    name = {L1: "L1", L2: "L2", Linf: "L∞"}[norm]
    shown, _ = found.table().columns[4].cells  # and the worst case
    assert shown.split()[0] == name and float(shown.split()[1]) == pytest.approx(1.5 * near, rel=0.02)
    xs, ys = pages.robustness_curves(found)["net", name]["least"]
    assert max(y for x, y in zip(xs, ys) if x > 1.5 * near) == pytest.approx(5 / 11)
    assert ys[0] == pytest.approx(10 / 11) and ys[-1] == pytest.approx(0)


def test_an_image_that_is_never_fooled_is_infinitely_far() -> None:
    x = attacked_images(4)
    net = Line(x[0].numel())
    y = net(x).argmax(1)
    shut = lambda x: net(x) * 0 + torch.tensor([1.0, 0.0]) * 5  # one class, whatever it is shown
    (row,) = (found := evaluate({"shut": shut}, {"deepfool": DeepFool()}, x, torch.zeros_like(y))).rows
    assert row.distances == () and list(found.table().columns[4].cells)[0] == "L2 ∞"
    assert pages.robustness_curves(found) == {}


@dataclass(frozen=True)
class Cheat(Attack):
    ball: Ball
    how: str

    def __call__(self, model, x, y):  # type: ignore[no-untyped-def]
        if self.how == "size":
            return x * (1 - self.ball.eps - 2e-4)
        if self.how == "box":
            return x + 0.9 * self.ball.eps
        if self.how == "nan":
            return x.index_fill(3, torch.tensor([1]), torch.nan)
        if self.how == "shape":
            return x[:, :1]
        x.zero_()  # moves the input instead of the output
        return x

    def run(self, f, x, y):  # type: ignore[no-untyped-def]
        raise NotImplementedError


@pytest.mark.parametrize(
    "how, words", [("size", "size .* above eps=0.1"), ("box", "outside"), ("nan", "nan"), ("shape", r"\(60, 1, 4, 4\)"),
                   ("write", "size")]
)  # fmt: skip
def test_a_cheating_attack_is_caught_and_named(how: str, words: str) -> None:
    net, x, y = batch()
    x[0] = 1.0
    report = evaluate({"net": net}, {"cheat": Cheat(Linf(0.1), how)}, x, y)
    assert re.search(f"'cheat' returned.*{words}", row(report, "cheat").error)


@dataclass(frozen=True)
class Loosen(Attack):
    """Leaves dropout on, so that a careless second prediction would be random."""

    ball: Ball

    def __call__(self, model, x, y):  # type: ignore[no-untyped-def]
        model.train()
        return x

    def run(self, f, x, y):  # type: ignore[no-untyped-def]
        raise NotImplementedError


def test_predictions_are_made_in_eval_mode_whatever_the_attack_left_behind() -> None:
    net, x, y = batch()
    assert row(evaluate({"net": net}, {"loosen": Loosen(Linf(0.1))}, x, y), "loosen").success.fooled == 0


class Wrapped(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.net, self.kind = Net(), kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "steps":
            return self.net((x * 8).round() / 8)
        if self.kind == "optimises":
            with torch.enable_grad():
                torch.autograd.grad(self.net(start := x.detach().requires_grad_()).sum(), start)
        if self.kind == "random":
            return self.net(x) + 0.01 * torch.randn(len(x), 3)
        if self.kind == "softmax":
            return self.net(x).softmax(1)
        if self.kind == "liar":  # the gradient points the wrong way
            return self.net(2 * x.detach() - x)
        return self.net(x)


def warnings_of(kind: str, attacks: dict[str, Attack], eps: list[float] | None = None) -> list[str]:
    model = Wrapped(kind).eval()
    _, x, _ = batch(200)
    return evaluate({"net": model}, attacks, x, model.net(x).argmax(1), eps=eps).warnings


def test_a_sound_model_gets_no_warning() -> None:
    attacks: dict[str, Attack] = {"fgsm": FGSM(Linf(0.1)), "pgd": PGD(Linf(0.1), 10), "pgd2": PGD(L2(1), 10)}
    assert warnings_of("sound", attacks, eps=[0.05, 0.2, 0.4]) == []


def test_zero_gradients_random_outputs_and_probabilities_are_reported() -> None:
    attacks: dict[str, Attack] = {"fgsm": FGSM(Linf(0.05))}
    assert any("exactly zero on 100 %" in w for w in warnings_of("steps", attacks))
    assert any("outputs are random" in w for w in warnings_of("random", attacks))
    assert any("computes gradients when it predicts" in w for w in warnings_of("optimises", attacks))
    with pytest.warns(UserWarning, match="probabilities"):
        assert any("probabilities" in w for w in warnings_of("softmax", attacks))


def test_noise_that_beats_the_gradient_is_reported() -> None:
    # Inputs on the boundary: any noise flips about half of them, a step along the lying gradient none.
    model = Wrapped("liar").eval()
    x = torch.rand(60, 2, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    model.net.body = nn.Sequential(nn.Flatten(), nn.Linear(32, 2))
    with torch.no_grad():
        model.net.body[1].weight.copy_(torch.linspace(-1, 1, 64).view(2, 32))
        model.net.body[1].bias -= model.net(x).mean(0)
    found = evaluate({"net": model}, {"fgsm": FGSM(Linf(0.3))}, x, model.net(x).argmax(1)).warnings
    assert len(found) == 1 and "noise-linf uses no gradients" in found[0]


def test_steps_that_do_not_help_and_budgets_that_hurt_are_reported() -> None:
    @dataclass(frozen=True)
    class Weak(PGD):
        def run(self, f, x, y):  # type: ignore[no-untyped-def]
            f(x.requires_grad_()).sum().backward()
            return x if self.ball.eps > 0.2 else super().run(f, x.detach(), y)

    found = warnings_of("sound", {"fgsm": FGSM(Linf(0.2)), "weak": Weak(Linf(0.2), 9)}, eps=[0.15, 0.3])
    assert len(found) == 2 and "weaker than a single step" in found[0] and "larger eps" in found[1]


def test_a_source_crafts_for_all_models_that_name_it_and_is_paid_once() -> None:
    net, x, y = batch()
    source = Net().eval()
    calls: list[int] = []
    source.body[1].register_forward_hook(lambda *a: calls.append(len(a[1][0])) if torch.is_grad_enabled() else None)
    attack = FGSM(Linf(0.1))
    models = {"net": net, "steps": Wrapped("steps"), "surrogate": source}
    report = evaluate(models, {"fgsm": attack}, x, y, sources={"net": "surrogate", "steps": "surrogate"})
    assert sum(calls) == 2 * len(x)  # the attack once, and the look at the surrogate's own gradients
    assert {(r.model, r.source) for r in report.rows} == {(name, "surrogate") for name in models}
    found = [w for w in report.warnings if w.startswith(("net", "steps"))]  # a hidden gradient is named all the same
    assert found == ["steps: the gradient is exactly zero on 100 % of the inputs: gradient-based attacks may fail."]
    net.eval()
    expected = ((net(x).argmax(1) == y) & (net(attack(source, x, y)).argmax(1) != y)).sum()
    assert row(report, "fgsm").success.fooled == expected > 0
    with pytest.raises(ValueError, match="model 'prxy', but the models are net"):
        evaluate({"net": net}, {"fgsm": attack}, x, y, sources={"net": "prxy"})


def test_a_model_that_is_never_right_has_no_success_rate() -> None:
    net, x, _ = batch()
    y = (net.eval()(x).argmax(1) + 1) % 3
    report = evaluate({"net": net}, {"fgsm": FGSM(Linf(0.1))}, x, y)
    assert row(report, "fgsm").success.value is None and row(report, "fgsm").linf.mean is None
    assert any("no input is classified correctly" in w for w in report.warnings) and "–" in repr(report)
    json.dumps(report.to_json(), allow_nan=False)


def test_targeted_attacks_reserved_names_and_no_inputs_are_refused() -> None:
    net, x, y = batch()
    for attacks, inputs, word in (
        ({"t": FGSM(Linf(0.1), targeted=True)}, x, "untargeted"),
        ({"noise-linf": FGSM(Linf(0.1))}, x, "noise-linf"),
        ({"fgsm": FGSM(Linf(0.1))}, x[:0], "at least one input"),
    ):
        with pytest.raises(ValueError, match=word):
            evaluate({"net": net}, attacks, inputs, y[: len(inputs)])
    with pytest.raises(ValueError, match="batch must be at least 1"):
        EvaluationOptions(batch=0)


@pytest.mark.parametrize("k, n", [(0, 10), (3, 10), (10, 10), (500, 1000)])
def test_intervals_are_wilsons(k: int, n: int) -> None:
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_long_evaluations_name_the_attack_that_begins(monkeypatch, capsys):
    monkeypatch.setattr(Progress, "interval", -1.0)  # every line is late
    x, y = torch.full((2, 1, 2, 2), 0.5), torch.zeros(2, dtype=torch.int64)
    with progress() as options:
        evaluate({"net": nn.Sequential(nn.Flatten(), nn.Linear(4, 2))}, {"one": FGSM(Linf(0.1))}, x, y, options=options)
    lines = capsys.readouterr().err.splitlines()
    assert "0/" in lines[0] and lines[0].endswith("one on net") and "done" in lines[-1]


def test_pictures_show_images_that_were_attacked_before_those_misclassified_anyway():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(net[1].weight), nn.init.zeros_(net[1].bias)  # always class 0, so no attack succeeds
    y = torch.tensor([1, 1, 0, 0])
    found = evaluate({"net": net}, {"fgsm": FGSM(Linf(0.1))}, torch.rand(4, 1, 2, 2), y)
    assert all(example.y.tolist() == [0, 0, 1, 1] for example in found.examples)


@pytest.mark.parametrize("sourced", [False, True])
def test_the_memory_does_not_grow_with_the_attacks_their_sizes_and_the_models(sourced: bool) -> None:
    net, x, y = batch()
    made: list[weakref.ref] = []
    alive: list[int] = []

    @dataclass(frozen=True)
    class Noted(FGSM):
        def run(self, f, x, y):  # type: ignore[no-untyped-def]
            alive.append(sum(ref() is not None for ref in made))
            return super().run(f, x, y)

        def __call__(self, *args):  # type: ignore[no-untyped-def]
            found = super().__call__(*args)
            made.append(weakref.ref(found))
            return found

    models = {"none": net, "one": Net(), "two": Net()}
    sources = {"one": "none", "two": "none"} if sourced else {}
    options = EvaluationOptions(batch=20, examples=2)
    attacks = {"fgsm": Noted(Linf(0.1)), "other": Noted(Linf(0.2))}
    found = evaluate(models, attacks, x, y, eps=[0.1, 0.2, 0.3], sources=sources, options=options)
    assert len(made) == (18 if sourced else 54) and max(alive) <= 3  # of one batch, one for each source model
    assert [r.model for r in found.rows] == ["none"] * 9 + ["one"] * 9 + ["two"] * 9


def test_a_folder_on_disk_is_evaluated_as_its_images_are(tmp_path, monkeypatch) -> None:
    images = toy_images(70)
    for i, (pixels, label) in enumerate(zip(images.pixels, images.labels.tolist())):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        Image.fromarray(pixels[0].numpy()).save(tmp_path / str(label) / f"{i}.png")
    folder = open_folder(tmp_path, "all", size=8, channels=1, resident=0)
    assert isinstance(folder, Folder)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    attacks = {"pgd": PGD(Linf(0.1), steps=3), "deepfool": DeepFool(steps=3, polish=2)}
    whole = evaluate({"net": net}, attacks, folder.x, folder.labels)
    most, readable = list[int](), Folder.readable
    monkeypatch.setattr(Folder, "readable", lambda self, index: most.append(len(index)) or readable(self, index))
    read = evaluate({"net": net}, attacks, folder, options=EvaluationOptions(batch=16))
    assert max(most) == 16
    for a, b in zip(whole.rows, read.rows, strict=True):
        assert (a.success, a.clean_accuracy, a.forwards) == (b.success, b.clean_accuracy, b.forwards)
        assert a.l2.median == pytest.approx(b.l2.median, rel=1e-4)
    for mine, other in zip(whole.examples, read.examples, strict=True):
        assert torch.equal(mine.y, other.y) and torch.allclose(mine.adversarial, other.adversarial, atol=1e-5)
    with pytest.raises(ValueError, match="labels"):
        evaluate({"net": net}, attacks, images.x)
    folder.files[3].write_bytes(folder.files[3].read_bytes()[:-30])
    with pytest.raises(ValueError, match="1 images of folder:.* cannot be read: remove them"):
        evaluate({"net": net}, attacks, folder)
