"""`fit` and `Update`: what every method gets from the shared loop."""

import math
import os
import signal
import threading
import time
import warnings

import pytest
import torch
from torch import nn
from toys import images, make, stream

from genlab.methods.classification.classifier import Classifier
from genlab.run import Run
from genlab.training.ema import EMA
from genlab.training.hooks import EarlyStopping
from genlab.training.interrupt import Interrupted
from genlab.training.loop import fit
from genlab.training.method import Method, TrainOptions
from genlab.training.optim import sgd
from genlab.training.progress import Progress
from genlab.training.update import NonFinite, Update, mark_non_finite


class Scalar(Method):
    """One weight that descends `slope * w`, so every step moves it by lr * slope."""

    def __init__(self, slope=1.0, w=1.0, lr=0.1):
        super().__init__()
        self.w, self.slope, self.lr = nn.Parameter(torch.tensor([[w]])), slope, lr

    def optimizers(self):
        return {"w": sgd(self, lr=self.lr, momentum=0.0)}

    def step(self, data, update):
        next(data)
        update("w", self.slope * self.w.sum())
        return {"w": self.w.sum()}


def test_options_refuse_nonsense_by_name():
    for bad, words in [({"images": 0}, "images must be at least 1 .*, got 0"), ({"clip": -1.0}, "clip must be above 0"),
                       ({"half_life": 0.0}, "half_life"), ({"warmup": 1.5}, "below 1, got 1.5")]:  # fmt: skip
        with pytest.raises(ValueError, match=words):
            TrainOptions(**bad)


def test_schedules_are_functions_of_progress():
    assert TrainOptions().learning_rate(0.7) == 1
    assert TrainOptions(schedule="linear").learning_rate(0.25) == 0.75
    assert TrainOptions(schedule="cosine").learning_rate(0.5) == pytest.approx(0.5)
    warm = TrainOptions(schedule="linear", warmup=0.2)
    assert [warm.learning_rate(p) for p in (0.0, 0.1, 0.2, 0.6)] == pytest.approx([0, 0.5, 1, 0.5])


def test_learning_rates_follow_the_schedule_and_return_on_resume(tmp_path):
    linear = dict(batch=8, schedule="linear")
    whole = fit(Scalar(), stream(8), TrainOptions(images=80, **linear))
    assert whole.w.item() == pytest.approx(1 - 0.1 * sum(1 - i / 10 for i in range(10)))


def test_clipping_bounds_the_step():
    method = fit(Scalar(slope=100.0), stream(8), TrainOptions(images=8, clip=0.5))
    assert method.w.item() == pytest.approx(1 - 0.1 * 0.5, abs=1e-6)


def test_average_has_its_half_life_in_images_whatever_the_batch():
    for batch in (10, 50):
        method = Scalar(w=0.0)
        average = EMA(method, half_life=100.0)
        nn.init.ones_(method.w)
        for seen in range(batch, 201, batch):
            average.track(method, batch, 10**6 + seen)
        assert average.current(method).w.item() == pytest.approx(1 - 0.25)


def test_average_forgets_the_start_early_in_training():
    method = Scalar(w=0.0)
    average = EMA(method, half_life=1e9)
    nn.init.ones_(method.w)
    average.track(method, images=20, seen=400)
    assert average.current(method).w.item() == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_non_finite_loss_stops_before_the_step_and_keeps_the_last_good_checkpoint(bad, tmp_path):
    class Breaks(Scalar):
        def step(self, data, update):
            self.slope = bad if data.images >= 40 else 1.0
            return super().step(data, update)

    run, method = Run.create(tmp_path / "run", {}), Breaks()
    with pytest.raises(NonFinite, match="'w'"):
        fit(method, stream(8), TrainOptions(images=800, save_every=16), run=run)
    assert method.w.item() == pytest.approx(1 - 0.1 * 5)
    assert run.checkpoints.load()["images"] == 32


def test_a_non_finite_gradient_of_a_finite_loss_stops_too():
    method = Scalar(w=0.0)
    method.step = lambda data, update: update("w", method.w.sum().sqrt())  # d sqrt(w) / dw is infinite at 0
    with pytest.raises(NonFinite):
        fit(method, stream(8), TrainOptions(images=8))
    assert method.w.item() == 0


@pytest.mark.parametrize("kernel", ["private", "public"])
def test_numbers_that_are_not_finite_are_marked_with_and_without_the_private_kernel(kernel, monkeypatch):
    if kernel == "public":
        monkeypatch.delattr(torch, "_amp_foreach_non_finite_check_and_unscale_")
    failed, one = torch.zeros(()), torch.ones(())
    for numbers, verdict in [([1.0, 2.0], 0), ([math.nan], 1), ([1.0], 1)]:  # once failed, it stays so
        mark_non_finite([torch.tensor(numbers), torch.ones(2, 2)], failed, one)
        assert failed == verdict
    failed.zero_()
    mark_non_finite([torch.tensor(-math.inf)], failed, one)
    assert failed == 1


def test_the_deferred_guard_freezes_every_optimizer_from_the_bad_step_on():
    method = make("gan")
    update = Update(method.optimizers())
    update.deferred = lambda optimizer: True  # what happens on a GPU
    method.step(stream(), update)
    update.check()
    before = {k: v.clone() for k, v in method.named_parameters()}
    update("discriminator", method.discriminator(torch.rand(4, 1, 8, 8)).mean() * math.nan)
    update("generator", method.discriminator(method.sample(4)).mean())
    assert all(torch.equal(v, before[k]) for k, v in method.named_parameters())
    with pytest.raises(NonFinite):
        update.check()


def test_metrics_are_means_over_the_window_of_the_log(tmp_path):
    run = Run.create(tmp_path / "run", {})
    fit(Scalar(), stream(10), TrainOptions(images=80, log_every=40), run=run)
    rows = run.metrics()
    assert [row["images"] for row in rows] == [40, 80]
    assert [row["w"] for row in rows] == pytest.approx([0.75, 0.35])  # w after each of the steps 1..4, 5..8


def test_hooks_cannot_disturb_training_and_are_called_when_due():
    calls = []

    def nosy(images, method):
        calls.append(images)
        assert not method.training
        torch.manual_seed(3)
        method.sample(2)

    quiet, watched = make("gan"), make("gan")
    fit(quiet, stream(8), TrainOptions(images=64))
    fit(watched, stream(8), TrainOptions(images=64), hooks=[(20, nosy)])
    assert calls == [24, 40, 64]
    for name, value in quiet.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name


def test_fit_leaves_the_callers_random_numbers_alone():
    method = make("gan")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(method, stream(8), TrainOptions(images=16))
    assert torch.equal(torch.rand(3), expected)


def test_early_stopping_stops_and_resumes_with_its_patience(tmp_path):
    figures = iter([1.0, 2.0, 1.5, 1.6, 1.7, 9.9])
    stopping = EarlyStopping(lambda method: next(figures), patience=3)
    method = fit(
        Scalar(), stream(8), TrainOptions(images=800), run=Run.create(tmp_path / "a", {}), hooks=[(8, stopping)]
    )
    assert (stopping.best, stopping.images, stopping.waited) == (2.0, 16, 3)
    assert method.w.item() == pytest.approx(0.5) and stopping.restore(method).w.item() == pytest.approx(0.8)

    figures = iter([1.0, 2.0, 1.5, 1.6, 1.7])
    for length in (24, 800):  # interrupted after three calls: the patience used up so far counts
        stopping = EarlyStopping(lambda method: next(figures), patience=3)
        run = Run.create(tmp_path / "b", {})
        method = fit(Scalar(), stream(8), TrainOptions(images=length), run=run, hooks=[(8, stopping)])
    assert (stopping.best, stopping.images) == (2.0, 16) and method.w.item() == pytest.approx(0.5)


def test_a_classifier_that_starts_far_from_log_c_is_doubted():
    method = make("classifier mlp")
    nn.init.constant_(method.net[-1].bias, 0.0)
    method.net[-1].bias.data[0] = 50.0
    with pytest.warns(UserWarning, match=r"first loss is .*far from log 3 = 1.10"):
        fit(method, stream(8), TrainOptions(images=8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(make("classifier mlp"), stream(8), TrainOptions(images=8))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_within_one_step_and_the_same_call_continues(number, tmp_path):
    class Slow(Scalar):
        def step(self, data, update):
            if data.images == 24:
                threading.Timer(0.02, os.kill, (os.getpid(), number)).start()
                time.sleep(0.1)
            return super().step(data, update)

    run = Run.create(tmp_path / "run", {})
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="saved after 32 images") as caught:
        fit(Slow(), stream(8), TrainOptions(images=80), run=run)
    assert caught.value.signal == number and signal.getsignal(number) == before
    assert run.checkpoints.load()["images"] == 32
    assert fit(Slow(), stream(8), TrainOptions(images=80), run=run).w.item() == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(Interrupted, match="^stopped after 32 images, not saved$"):
        fit(Slow(), stream(8), TrainOptions(images=80))


def test_a_finished_run_is_loaded_and_not_trained_again(tmp_path):
    run = Run.create(tmp_path / "run", {})
    fit(Scalar(), stream(8), TrainOptions(images=16), run=run)
    data = stream(8)
    assert fit(Scalar(), data, TrainOptions(images=16), run=run).w.item() == pytest.approx(0.8)
    assert data.images == 16


def test_resuming_with_other_parts_is_refused_by_name(tmp_path):
    run = Run.create(tmp_path / "run", {})
    fit(Scalar(), stream(8), TrainOptions(images=16), run=run)
    with pytest.raises(ValueError, match="no 'average'"):
        fit(Scalar(), stream(8), TrainOptions(images=32, half_life=10), run=run)


class Viewing(nn.Module):
    """A network of the user, which needs contiguous tensors."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(256, 3)

    def forward(self, x):
        return self.last(self.first(x.view(-1).view(x.shape)).view(len(x), -1))


def test_networks_are_trained_in_the_format_that_suits_them():
    is_last = lambda weight: weight.is_contiguous(memory_format=torch.channels_last)
    how = lambda **options: TrainOptions(images=8, **options)
    assert is_last(fit(make("classifier cnn"), stream(8), how()).net[4].weight)
    assert not is_last(fit(make("classifier cnn"), stream(8), how(channels_last=False)).net[4].weight)
    own = fit(Classifier(Viewing()), stream(8), how(half_life=10.0))
    assert own(images(8).x).shape == (8, 3)  # also after training, on images that are channels last
    with pytest.raises(RuntimeError, match="view size"):
        fit(Classifier(Viewing()), stream(8), how(channels_last=True))


def test_networks_with_instance_normalisation_never_leave_the_contiguous_format():
    method = make("cyclegan")
    fit(method, stream(8, "cyclegan"), TrainOptions(images=8))
    found = []
    for part in method.modules():
        if isinstance(part, nn.InstanceNorm2d):
            part.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].is_contiguous()))
    method.translate(images(4).x)
    assert found and all(found)


def test_evaluation_counts_what_is_right():
    method = make("classifier mlp")
    x = images()
    right = (method.eval()(x.x).argmax(1) == x.labels).float().mean().item()
    assert method.evaluate(x)["accuracy"] == pytest.approx(right)


def test_progress_within_progress_is_silent_and_brief_work_says_nothing(capsys):
    with Progress("outer", 2) as outer:
        with Progress("inner", 1) as inner:
            inner.advance(1)
        outer.advance(2)
    with Progress("blink", 1, brief=True) as blink:
        blink.advance(1)
    err = capsys.readouterr().err
    assert "outer  2/2" in err and "inner" not in err and "blink" not in err


def test_work_that_never_logs_shows_itself_from_time_to_time(monkeypatch, capsys):
    monkeypatch.setattr(Progress, "interval", -1.0)
    with Progress("drawing", 3) as progress:
        progress.advance(1)
        progress.advance(4)  # the last batch
    assert [line.split("  ")[1] for line in capsys.readouterr().err.splitlines()] == ["1/3 images", "4/4 images"]
