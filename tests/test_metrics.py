"""Every figure against its closed form or brute force, and the table, hook and command that gather them."""

import json
import math
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from toys import METHODS

from genlab.cli.main import main
from genlab.data import Pair
from genlab.data.options import DataOptions
from genlab.experiment import Experiment
from genlab.methods.classification.features import default_features
from genlab.metrics import distances
from genlab.metrics import kid as kernel
from genlab.metrics.comparison import METRICS, measure
from genlab.metrics.diversity import birthday, class_histogram, kl_to_uniform, smallest_distance, support
from genlab.metrics.evaluate import evaluate
from genlab.metrics.extract import extract_features, one_set, sampler, samples
from genlab.metrics.features import PixelFeatures
from genlab.metrics.fid import frechet_distance, frechet_gaussians
from genlab.metrics.hook import MetricHook
from genlab.metrics.inception_score import inception_score
from genlab.metrics.kid import kid, mmd2
from genlab.metrics.memorisation import nearest_image, shift_experiment
from genlab.metrics.partner import against_partners
from genlab.metrics.parzen import log_density, mixed_with_noise, parzen, sensitivity
from genlab.metrics.precision_recall import density_coverage, precision_recall
from genlab.metrics.statistics import Statistics
from genlab.metrics.translation import translation
from genlab.training.method import TrainOptions

IMAGES = 10_000  # enough for features of digits that are 96 % right


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("GENLAB_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def digits(cache):
    return default_features(DataOptions(), images=IMAGES)


@pytest.fixture(scope="module")
def test_set():
    return DataOptions().load("test")


# --- statistics and distances


def test_streamed_statistics_are_those_of_numpy_for_any_split_and_any_merge():
    x = 1000 + noise(501, 7)
    whole = Statistics.of(x)
    uneven, left, right = Statistics(7), Statistics(7), Statistics(7)
    for part in x.split([1, 0, 250, 3, 247]):
        uneven.add(part)
    left.add(x[:100])
    right.add(x[100:])
    for found in (whole, uneven, left.merge(right), Statistics(7).merge(whole), whole.merge(Statistics(7))):
        assert found.n == 501
        assert np.allclose(found.mean, x.mean(0), rtol=1e-13)
        assert np.allclose(found.covariance, np.cov(x.numpy().T), rtol=0, atol=1e-10)


def test_blocks_of_distances_are_the_plain_ones(monkeypatch):
    monkeypatch.setattr(distances, "CHUNK", 4)
    x, y = noise(11, 3) + 100, noise(9, 3, seed=1) + 100
    plain = (x[:, None] - y[None]).square().sum(2)
    assert torch.allclose(torch.cat([block for _, block in distances.squared(x, y)]), plain, atol=1e-10)
    distance, where = distances.nearest(x, y.split(4))
    assert torch.allclose(distance, plain.min(1).values.sqrt()) and torch.equal(where, plain.argmin(1))
    own = (x[:, None] - x[None]).square().sum(2).sort(1).values
    assert torch.allclose(distances.radii(x, 2), own[:, 2], atol=1e-10)


# --- Fréchet distance


def gaussians(d, n, seed=0):
    mixing = noise(d, d, seed=seed + 10) / d**0.5
    return noise(n, d, seed=seed), noise(n + 5, d, seed=seed + 1) @ mixing + 0.3


def formula(x, y):
    from scipy.linalg import sqrtm

    s, t = (np.cov(z.numpy().T) for z in (x, y))
    gap = float((x.mean(0) - y.mean(0)).square().sum())
    return gap + np.trace(s) + np.trace(t) - 2 * np.trace(sqrtm(s @ t)).real


def test_frechet_of_scaled_and_shifted_points_is_the_closed_form():
    x = noise(200, 5)
    expected = 5 * 2.0**2 + (3 - 1) ** 2 * float(Statistics.of(x).covariance.trace())
    assert frechet_distance(x, x.mean(0) + 3 * (x - x.mean(0)) + 2) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-10)


def test_frechet_is_the_formula_with_scipys_matrix_root():
    x, y = gaussians(300, 700)
    assert frechet_distance(x, y) == pytest.approx(formula(x, y), rel=1e-9)
    assert frechet_distance(y, x) == pytest.approx(frechet_distance(x, y), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(20, 25), (20, 400), (400, 20)])
def test_frechet_of_few_images_is_that_of_their_singular_covariances(n, m):
    x, y = gaussians(40, 400)
    few = frechet_distance(x[:n], y[:m])
    assert few == pytest.approx(frechet_gaussians(Statistics.of(x[:n]), Statistics.of(y[:m])), rel=1e-5)


def test_frechet_bears_features_that_never_fire():
    x, y = gaussians(6, 50)
    dead = torch.zeros(55, 4, dtype=torch.float64)
    assert frechet_distance(torch.cat([x, dead[:50]], 1), torch.cat([y, dead], 1)) == pytest.approx(
        frechet_distance(x, y), rel=1e-6
    )


# --- kernel


def brute_mmd2(x, y):
    def k(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    def within(z):
        return sum(k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j) / (len(z) * (len(z) - 1))

    return within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


def test_kid_is_the_double_sum_for_any_chunk(monkeypatch):
    x, y = noise(7, 3), noise(5, 3, seed=1) + 0.5
    assert mmd2(x, y) == pytest.approx(brute_mmd2(x, y), rel=1e-10)
    monkeypatch.setattr(kernel, "CHUNK", 2)
    assert mmd2(x, y) == pytest.approx(brute_mmd2(x, y), rel=1e-10)


def test_kid_is_zero_on_average_for_two_draws_of_one_distribution():
    values = torch.tensor([mmd2(noise(10, 3, seed=2 * s), noise(10, 3, seed=2 * s + 1)) for s in range(400)])
    assert values.min() < 0 and abs(values.mean()) < 3 * values.std() / 20


def test_kid_over_subsets_comes_near_the_whole_and_over_one_is_the_whole():
    x, y = noise(300, 4), noise(300, 4, seed=1) + 0.5
    mean, spread = kid(x, y, subsets=40, size=100)
    assert abs(mean - mmd2(x, y)) < spread and spread > 0
    whole, spread = kid(x, y)
    assert whole == pytest.approx(mmd2(x, y)) and math.isnan(spread)


# --- precision, recall, density, coverage


def test_precision_recall_density_and_coverage_are_those_of_brute_force():
    real, fake = noise(20, 2), noise(15, 2, seed=1) * 1.5 + 0.5
    d = lambda a, b: float((a - b).norm())
    reach = lambda z, k: [sorted(d(a, b) for b in z)[k] for a in z]

    def inside(points, balls, k):
        return [[d(p, b) <= r for b, r in zip(balls, reach(balls, k))] for p in points]

    precision, recall = precision_recall(real, fake, k=3)
    assert precision == pytest.approx(np.mean([any(row) for row in inside(fake, real, 3)]))
    assert recall == pytest.approx(np.mean([any(row) for row in inside(real, fake, 3)]))
    held = np.array(inside(fake, real, 5))
    density, coverage = density_coverage(real, fake, k=5)
    assert density == pytest.approx(held.sum() / 5 / 15) and coverage == pytest.approx(held.any(0).mean())


def test_precision_and_recall_tell_collapse_from_noise():
    real = noise(200, 2)
    collapsed, spread = real[:1] + 0.01 * noise(200, 2, seed=1), 5 * noise(200, 2, seed=1)
    assert precision_recall(real, real) == (1.0, 1.0)
    precision, recall = precision_recall(real, collapsed)
    assert precision > 0.9 and recall < 0.1 and density_coverage(real, collapsed)[1] < 0.1
    precision, recall = precision_recall(real, spread)
    assert precision < 0.4 and recall > 0.9


# --- inception score


def test_inception_score_is_one_for_one_verdict_and_k_for_sure_and_equal_classes():
    assert inception_score(torch.zeros(100, 7)) == (pytest.approx(1), pytest.approx(0))
    assert inception_score(torch.tensor([[9.0, 1, 2]]).repeat(50, 1), splits=1)[0] == pytest.approx(1)
    assert inception_score(1000 * torch.eye(7).repeat(20, 1), splits=10) == (pytest.approx(7), pytest.approx(0))
    p = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64)
    expected = 2 * math.exp(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert inception_score(p.log().repeat(5, 1), splits=1)[0] == pytest.approx(expected)


# --- Parzen


def test_parzen_density_is_that_of_scipy():
    from scipy.stats import multivariate_normal

    samples, x = noise(30, 3).float() / 2, noise(6, 3, seed=1).float() / 2
    for row, width in zip(log_density(x, samples, [0.2, 1.5]), [0.2, 1.5]):
        each = [multivariate_normal(s, width**2 * np.eye(3)).pdf(x.numpy()) for s in samples.numpy()]
        assert np.allclose(row, np.log(np.mean(each, 0)), rtol=1e-6)


def test_parzen_takes_the_width_that_validation_likes_best():
    data = [noise(400, 4, seed=s) * 0.3 for s in range(3)]
    found = parzen(*data)
    on_validation = sensitivity(data[0], data[1], [400])
    assert found.width == max(on_validation, key=lambda row: row["nats"])["width"]
    assert found.mean == pytest.approx(float(log_density(data[2], data[0], [found.width]).mean()))
    truth = -2 * math.log(2 * math.pi * 0.09) - 2
    assert abs(found.mean - truth) < 0.5 and found.error < 0.1


def test_parzen_hangs_on_the_number_of_samples_and_on_the_width(test_set):
    x = test_set.x.flatten(1)
    rows = {(r["samples"], r["width"]): r["nats"] for r in sensitivity(x[:200], x[200:], [20, 200], [0.05, 0.15, 0.5])}
    assert rows[200, 0.15] > rows[20, 0.15] + 5  # nothing but more samples
    assert rows[200, 0.15] > rows[200, 0.05] + 20 and rows[200, 0.15] > rows[200, 0.5] + 20


def test_ninety_nine_percent_noise_costs_no_more_than_ln_100():
    images, background = noise(50, 64).float() / 10, torch.rand(50, 64)
    log_p = log_density(images, images + 0.01, [0.1])[0]
    mixture = mixed_with_noise(log_p, 0.99, log_density(images, background, [0.1])[0])
    assert torch.allclose(log_p - mixture, torch.full((50,), math.log(100), dtype=log_p.dtype), atol=1e-6)
    assert float((log_p - mixture).mean()) == pytest.approx(4.605, abs=1e-3)
    assert torch.equal(mixed_with_noise(log_p, 0.0), log_p)
    assert (mixed_with_noise(log_p, 0.99, log_p) - log_p).abs().max() < 1e-10


# --- memorisation


def test_copies_are_found_with_their_originals(test_set):
    train = DataOptions().load("train")
    distance, where = nearest_image(train.x[5:9].flatten(1), train, PixelFeatures(), batch=100)
    assert where.tolist() == [5, 6, 7, 8] and distance.max() < 1e-6
    assert nearest_image(test_set.x[:9].to(train.device).flatten(1), train, PixelFeatures())[0].min() > 0.1


def test_shifted_images_are_lost_to_pixel_distance_and_not_to_features_that_ignore_place():
    class Centred:
        name = "centred"

        def __call__(self, x):
            columns = (x.sum((1, 2)) > 0).long().argmax(1)
            return torch.stack([image.roll(-int(c), 2) for image, c in zip(x, columns)]).flatten(1)

    x = torch.nn.functional.pad(DataOptions().load("test").x, (0, 4, 0, 0))
    found = shift_experiment(x, [PixelFeatures(), Centred()], (0, 1, 2, 3))
    assert found["pixels"][0] == found["centred"][0] == 1
    assert found["pixels"][2] < 0.2 and min(found["centred"]) == 1
    kin = shift_experiment(x, [PixelFeatures()], (0, 2), DataOptions().load("test").labels)["pixels"]
    assert kin[0] == 1 and found["pixels"][2] < kin[1] < 0.6


# --- diversity


def test_support_is_s_squared_over_2_ln_2():
    assert support(400) == pytest.approx(400**2 / (2 * math.log(2)))
    assert 1 - math.exp(-(30**2) / 2 / support(30, 0.2)) == pytest.approx(0.2)


@pytest.mark.parametrize("n", [100, 2000])
def test_the_birthday_test_finds_the_support_of_a_known_distribution(n):
    points = noise(n, 5)
    drawn = points[torch.randint(n, (1500,), generator=torch.Generator().manual_seed(0))]
    found = birthday(drawn, 1e-6)
    assert found.found and n / 1.7 < found.support < n * 1.7


def test_the_birthday_test_without_duplicates_gives_a_bound():
    found = birthday(noise(50, 5), 1e-6)
    assert not found.found and found.size == 50 and found.support == support(50)
    assert smallest_distance(torch.tensor([[0.0], [3.0], [3.0], [5.0]])) == pytest.approx(2)


def test_class_shares_and_their_divergence_from_equal_ones():
    logits = torch.eye(4)[torch.tensor([0, 0, 1, 2])]
    shares = class_histogram(logits)
    assert shares.tolist() == [0.5, 0.25, 0.25, 0]
    assert kl_to_uniform(shares) == pytest.approx(math.log(4) - 1.5 * math.log(2))
    assert kl_to_uniform(torch.ones(4) / 4) == pytest.approx(0) and kl_to_uniform(torch.eye(4)[0]) == pytest.approx(
        math.log(4)
    )


# --- features


def test_default_features_are_trained_once_kept_with_a_hash_and_named_by_their_data(digits, cache, test_set):
    start = time.perf_counter()
    again = default_features(DataOptions(), images=IMAGES)
    assert time.perf_counter() - start < 1
    assert again.name == digits.name == "digits-cnn"
    assert torch.equal(again(test_set.x), digits(test_set.x)) and digits(test_set.x).shape == (360, 128)
    (run,) = [p for p in (cache / "features").iterdir() if p.is_dir()]
    assert run.name.startswith("digits-8x8-1-") and list(run.glob("checkpoints/*.sha256"))
    assert json.loads((run / "results.json").read_text())["accuracy"] > 0.93


def test_features_of_other_images_are_refused(digits):
    with pytest.raises(ValueError, match="digits-cnn are for images of 1x8x8 .*, got 3x32x32"):
        digits(torch.zeros(2, 3, 32, 32))


def test_data_without_classes_and_untrained_features_under_torchrun_get_a_sentence(cache, tmp_path, monkeypatch):
    from PIL import Image

    for i in range(3):
        Image.new("L", (8, 8), 40 * i).save(tmp_path / f"{i}.png")
    with pytest.raises(ValueError, match="no classes"):
        default_features(DataOptions(f"folder:{tmp_path}"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="without torchrun"):
        default_features(DataOptions(), images=7)


# --- the whole table


class Generator:
    """Real images, of all or some classes, with noise."""

    def __init__(self, images, spread=0.0):
        self.x, self.spread = images.x, spread

    def sample(self, n):
        x = self.x[torch.randint(len(self.x), (n,))]
        return (x + self.spread * torch.randn_like(x)).clamp(0, 1)


def test_collapse_and_noise_each_make_the_figures_worse(digits, test_set):
    train = DataOptions().load("train")
    real = extract_features([test_set.x], digits)

    def figures(generator):
        fake = extract_features(samples(generator.sample, 500), digits)
        return {k: v for name in METRICS for k, v in measure(name, real, fake).items()}

    good = figures(Generator(train))
    collapsed = figures(Generator(train.subset(train.labels < 2)))
    noisy = figures(Generator(train, 0.6))
    for bad in (collapsed, noisy):
        assert bad["IS[digits-cnn]"] < good["IS[digits-cnn]"] - 1
        assert bad["FID[digits-cnn]"] > 4 * good["FID[digits-cnn]"]
        assert bad["KID[digits-cnn]"] > good["KID[digits-cnn]"] + 0.1
        assert bad["coverage[digits-cnn]"] < good["coverage[digits-cnn]"] - 0.2
    assert collapsed["recall[digits-cnn]"] < 0.5 < collapsed["precision[digits-cnn]"]
    assert collapsed["KL to uniform[digits-cnn]"] > 1 > good["KL to uniform[digits-cnn]"]
    assert noisy["precision[digits-cnn]"] < good["precision[digits-cnn]"] - 0.2
    few = figures(Generator(train.subset(slice(0, 50))))
    assert few["support[digits-cnn]"] < 100 < good["support[digits-cnn]"]


def test_the_table_names_its_features_shows_the_floor_and_does_not_depend_on_the_batch(digits, test_set, capfd):
    train = DataOptions().load("train")
    state = torch.get_rng_state()
    a, b = (evaluate(Generator(train).sample, test_set, digits, train, 300, batch=batch, seed=3) for batch in (256, 37))
    assert torch.equal(torch.get_rng_state(), state)
    assert list(a) == ["samples", "train"] and a["samples"]["images"] == 300
    assert {"FID[digits-cnn]", "recall[digits-cnn]", "Parzen", "nearest[pixels]"} <= set(a["samples"])
    for column in a:
        assert set(a[column]) == set(a["samples"])
        for figure, value in a[column].items():
            assert value == pytest.approx(b[column][figure], rel=1e-4, abs=1e-4), figure
    assert a["train"]["nearest[digits-cnn]"] < 1e-3 and a["samples"]["nearest[pixels]"] < 1e-3  # copies
    assert "evaluating  960/960 images" in capfd.readouterr().err


@pytest.mark.parametrize("n", [2, 3, 5, 8])
@pytest.mark.parametrize("held_out", [1, 2, 3, 5])
def test_few_images_leave_out_what_they_do_not_determine_and_say_so(n, held_out, digits, test_set, caplog):
    train = DataOptions().load("train").subset(slice(12))
    table = evaluate(Generator(train).sample, test_set.subset(slice(held_out)), digits, train, n)
    left = {record.args[0]: record.args[1] for record in caplog.records}
    whole = {"Parzen"} if held_out < 4 else set()
    if held_out == 1:
        whole |= {"FID", "KID", "CMMD", "precision-recall", "density-coverage", "support"}
    assert set(left) == whole and all("images are needed, got" in reason for reason in left.values())
    for column in table.values():
        assert {"images", "IS[digits-cnn]", "classes[digits-cnn]", "nearest[pixels]"} <= set(column)
        assert set(column) == set(table["samples"]) and all(map(math.isfinite, column.values()))
        assert held_out == 1 or 0 <= column["precision[digits-cnn]"] <= 1


def test_equal_images_leave_out_the_figures_of_their_distances(digits, test_set, caplog):
    same = test_set.subset([3] * 6)
    table = evaluate(Generator(test_set).sample, same, digits, same, n=8)
    reasons = {record.args[0]: record.args[1] for record in caplog.records}
    assert reasons.pop("support") == "all 6 images are equal"
    assert set(reasons) == {"nearest[digits-cnn]", "nearest[pixels]"} and "copies" in reasons["nearest[pixels]"]
    assert {"FID[digits-cnn]", "recall[digits-cnn]", "coverage[digits-cnn]", "Parzen"} <= set(table["samples"])
    assert all(map(math.isfinite, [value for column in table.values() for value in column.values()]))


def test_the_hook_and_translations_do_without_figures_of_one_image(test_set, digits, caplog):
    one = test_set.subset([0])
    hook = MetricHook(None, PixelFeatures(), one, ("FID", "precision-recall"), n=4)
    hook(8, Generator(test_set))
    assert hook.rows == [{"images": 8}] and "FID left out" in caplog.text
    found = translation(lambda x: x, lambda x: x, Pair(one, one, aligned=True), digits)
    assert "cycle error" in found and "FID[digits-cnn]" not in found
    assert "content preservation" in against_partners(one.x, one, digits)


def test_features_of_ones_own_need_only_a_name(test_set):
    def half(x):
        return x[:, :, ::2].flatten(1)

    half.name = "rows"
    table = evaluate(Generator(test_set).sample, test_set, half, n=50)
    assert "FID[rows]" in table["samples"] and "IS[rows]" not in table["samples"] and list(table) == ["samples"]


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda: frechet_distance(noise(1, 3), noise(5, 3)), "at least 2 images are needed, got 1"),
        (lambda: frechet_distance(noise(5, 3), noise(5, 4)), "same number of columns, got 3 and 4"),
        (lambda: mmd2(noise(5, 3) / 0, noise(5, 3)), "must be finite"),
        (lambda: kid(noise(5, 3), noise(5, 3), size=1), "at least 1 subset of 2"),
        (lambda: precision_recall(noise(3, 2), noise(9, 2)), "3 nearest neighbours need at least 4 images"),
        (lambda: inception_score(noise(9, 2), splits=5), "splits must lie between 1 and half"),
        (lambda: inception_score(noise(9)), "must have shape"),
        (lambda: log_density(noise(5, 2), noise(5, 2), [0.0]), "widths must be positive"),
        (lambda: mixed_with_noise(noise(5), 1.0), r"noise must lie in \[0, 1\)"),
        (lambda: birthday(noise(5, 2), -1), "threshold >= 0"),
        (lambda: support(5, 1.0), r"probability in \(0, 1\)"),
        (lambda: smallest_distance(torch.ones(4, 2)), "all 4 images are equal"),
        (lambda: distances.nearest(noise(5, 2), []), "need reference images"),
        (lambda: Statistics(3).add(noise(1, 3)).covariance, "at least two images, got 1"),
        (lambda: extract_features([torch.rand(1, 1, 8, 8)], PixelFeatures()), "at least 2 images are needed, got 1"),
        (lambda: extract_features([2 * torch.ones(2, 1, 8, 8)], PixelFeatures()), r"must lie in \[0, 1\]"),
        (lambda: extract_features([torch.full((2, 1, 8, 8), torch.nan)], PixelFeatures()), r"must lie in \[0, 1\]"),
        (lambda: extract_features([torch.rand(2, 8, 8)], PixelFeatures()), "images must be float"),
        (lambda: extract_features([torch.rand(2, 1, 8, 8)], PixelFeatures(), batch=0), "batch must be at least 1"),
        (lambda: list(samples(lambda n: torch.rand(1, 1, 8, 8), 2)), "must return as many images, got 1"),
        (lambda: sampler(torch.nn.Identity()), "Identity does not generate images"),
        (lambda: shift_experiment(torch.rand(3, 1, 8, 8), [PixelFeatures()], [8]), r"shifts must lie in \[0, 8\)"),
        (lambda: MetricHook(None, PixelFeatures(), None, ("FDI",)), "did you mean 'FID'"),
        (lambda: MetricHook(None, PixelFeatures(), None, n=1), "at least two samples"),
    ],
)
def test_bad_input_gets_one_sentence(work, words):
    with pytest.raises(ValueError, match=words) as caught:
        work()
    assert "\n" not in str(caught.value)


def test_too_few_images_and_two_sets_at_once_are_refused(test_set):
    for n, train in ((1, test_set), (5, test_set.subset([0]))):
        with pytest.raises(ValueError, match="at least two samples and two training images are needed, got 1"):
            evaluate(Generator(test_set).sample, test_set, PixelFeatures(), train, n)
    with pytest.raises(ValueError, match="one set of images"):
        one_set(Pair(test_set, test_set))


# --- during training, and from the command line


def test_the_hook_logs_figures_and_training_does_not_notice(tmp_path, test_set):
    gan, options = METHODS["gan"], TrainOptions(images=512, batch=16, half_life=50)
    hook = MetricHook(tmp_path / "with", PixelFeatures(), test_set, ("FID", "precision-recall"), n=64)
    watched = Experiment(gan, DataOptions(), **vars(options)).run(tmp_path / "with", [(200, hook)], pictures=1)
    alone = Experiment(gan, DataOptions(), **vars(options)).run(tmp_path / "without", pictures=1)
    for a, b in zip(watched.state_dict().values(), alone.state_dict().values()):
        assert torch.equal(a, b)
    rows = [json.loads(line) for line in (tmp_path / "with" / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "FID[pixels]" in row]
    assert [row["images"] for row in rows] == [208, 400, 512] and rows == hook.rows
    assert set(rows[0]) == {"images", "FID[pixels]", "precision[pixels]", "recall[pixels]"}


def test_the_hook_counts_classes_and_remembers_them_over_a_stop(test_set):
    class Judge(PixelFeatures):
        def logits(self, x):
            return torch.stack([x[:, 0], 0.5 - x[:, 0]], 1)

    class Bright(torch.nn.Module):
        def sample(self, n):
            return torch.where(torch.arange(n) % 4 == 0, 0.0, 1.0)[:, None, None, None].expand(n, 1, 8, 8)

    hook = MetricHook(None, Judge(), test_set, ("classes",), n=256)
    hook(10, Bright()), hook(20, Bright())
    assert hook.shares == [[0.75, 0.25]] * 2 and [row["images"] for row in hook.rows] == [10, 20]
    again = MetricHook(None, Judge(), test_set, ("classes",), n=256)
    again.load_state_dict(hook.state_dict())
    assert again.rows == hook.rows and again.shares == hook.shares


def test_the_command_prints_a_table_and_adds_to_the_run(tmp_path, cache, monkeypatch, capsys):
    import genlab.methods.classification.features as home

    whole = default_features
    monkeypatch.setattr(home, "default_features", lambda data: whole(data, images=IMAGES))
    run = tmp_path / "gan"
    Experiment(METHODS["gan"], DataOptions(), images=64).run(run, pictures=1)
    assert main(["evaluate", str(run), "--n", "60"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("FID[digits-cnn]", "recall", "Parzen", "samples", "train"))
    found = json.loads((run / "results.json").read_text())["evaluation"]
    assert found["samples"]["FID[digits-cnn]"] > 10 * found["train"]["FID[digits-cnn]"] > 0
    assert "evaluation.samples.FID[digits-cnn]" in (run / "report.html").read_text()
    assert main(["evaluate", str(run), "--n", "50", "--features", "pixels"]) == 0
    assert "FID[pixels]" in capsys.readouterr().out
    run = tmp_path / "bigan"  # which reconstructs, too
    Experiment(METHODS["bigan"], DataOptions(), images=64).run(run, pictures=1)
    assert main(["evaluate", str(run), "--n", "60"]) == 0
    found = json.loads((run / "results.json").read_text())["evaluation"]
    assert (
        found["samples"]["content preservation[digits-cnn]"] < 0.3
        and found["train"]["content preservation[digits-cnn]"] > 0.8
    )


def test_the_command_meets_bad_input_with_one_sentence(tmp_path, capsys):
    Experiment(METHODS["classifier mlp"], DataOptions(), images=64).run(tmp_path / "net", pictures=1)
    capsys.readouterr()
    for words, sentence in (
        ([str(tmp_path / "net")], "Classifier does not generate images"),
        (["nowhere"], "nowhere is not a run"),
        (["nowhere", "--n", "1"], "--n must be at least 2 and at most 1,000,000, got 1"),
    ):
        assert main(["evaluate", *words]) == 2
        error = capsys.readouterr().err
        assert sentence in error and error.startswith("genlab: ") and error.count("\n") == 1


def test_help_of_evaluate_does_not_import_torch():
    code = "import sys; from genlab.cli.main import main\ntry: main(['evaluate', '--help'])\nexcept SystemExit: pass\n"
    words = [sys.executable, "-c", code + "print('torch' in sys.modules)"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert "usage: genlab evaluate" in done.stdout and done.stdout.endswith("False\n"), done.stderr


@pytest.mark.parametrize("name", ["config.json", "results.json and weights", "half"])
def test_features_that_cannot_be_used_are_trained_again(name, tmp_path, monkeypatch):
    monkeypatch.setenv("GENLAB_CACHE", str(tmp_path))
    data = DataOptions("digits")
    first = default_features(data, images=128)
    (run,) = (tmp_path / "features").iterdir()
    if name == "config.json":
        (run / name).write_text("{")
    else:
        next(run.glob("checkpoints/*.pt")).write_bytes(b"")
    if name == "half":
        (run / "results.json").unlink()
    with pytest.warns(UserWarning, match=f"the features in {run} are trained again"):
        again = default_features(data, images=128)
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(first(x), again(x))
