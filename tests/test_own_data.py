"""The user's own data in `fit` and Experiment: data sets, loaders, iterables."""

import warnings
from multiprocessing import active_children

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler
from toys import images, make

import genlab
from genlab.data import Images, Stream
from genlab.data.aligned import Aligned
from genlab.data.mapped import Mapped
from genlab.data.own import as_stream, open_own, open_set
from genlab.experiment import Experiment
from genlab.loading import data_of
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.run import Run, RunError
from genlab.training.loop import fit
from genlab.training.method import TrainOptions

TOY = images(96)
FLOATS = TensorDataset(TOY.x, TOY.labels)
OPTIONS = TrainOptions(images=160, batch=8, log_every=1000)


class Items(Dataset):
    """Items made on demand; with `random`, shifted by random numbers of all three kinds."""

    classes = ("dark", "grey", "light")

    def __init__(self, n=96, random=False, kind="tensor"):
        self.n, self.random, self.kind = n, random, kind

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        x, y = TOY.pixels[i], int(TOY.labels[i])
        if self.random:
            return (x / 255 * torch.rand(()) * float(np.random.rand()), y)
        pixels = x.permute(1, 2, 0).numpy()
        return {"tensor": x, "image": Image.fromarray(pixels[..., 0]), "float": x / 255}[self.kind], y


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield TOY.x[0], int(TOY.labels[0])


def trained(data, run=None, hooks=(), options=OPTIONS):
    return fit(make("classifier cnn"), data, options, run=run, hooks=hooks).state_dict()


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


WEIGHTED = WeightedRandomSampler(torch.ones(96), 96)
OWN = {
    "tensors": FLOATS,
    "bytes": TensorDataset(TOY.pixels, TOY.labels),
    "images": TOY,
    "dataset": Items(),
    "floats": Items(kind="float"),
    "pil": Items(kind="image"),
    "random": Items(random=True),
    "loader": DataLoader(FLOATS, batch_size=8, shuffle=True),
    "loader in order": DataLoader(Items(), batch_size=8),
    "loader random": DataLoader(Items(random=True), batch_size=8, shuffle=True),
    "loader weighted": DataLoader(FLOATS, batch_size=8, sampler=WEIGHTED),
    "loader collate": DataLoader(Items(), 8, collate_fn=lambda items: (TOY.x[:8], TOY.labels[:8])),
    "loader endless": DataLoader(Endless(), batch_size=8),
    "batches": [(TOY.x[i : i + 8], TOY.labels[i : i + 8]) for i in range(0, 96, 8)],
}
ITERATED = ("loader weighted", "loader collate", "loader endless", "batches")


@pytest.mark.parametrize("name", OWN)
def test_fit_takes_every_kind_and_resumes_exactly_or_says_that_it_cannot(name, tmp_path):
    whole = trained(OWN[name])
    trained(OWN[name], Run.create(tmp_path / "run", {}), [(80, lambda images, method: True)])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.manual_seed(5)
        rest = trained(OWN[name], Run(tmp_path / "run"))
    said = [str(each.message) for each in told if "cannot be positioned" in str(each.message)]
    assert bool(said) == (name in ITERATED)
    assert same(whole, rest) or name in ITERATED
    assert all(torch.isfinite(value).all() for value in rest.values())


def test_the_same_images_train_the_same_network_whatever_brings_them():
    expected = trained(Stream(TOY, 8))
    for name in ("tensors", "bytes", "images", "dataset", "floats", "pil", "loader"):
        assert same(trained(OWN[name]), expected), name
    assert not same(trained(OWN["loader in order"]), expected)


def test_a_loader_brings_its_batch_size_and_order():
    drawn = as_stream(DataLoader(FLOATS, batch_size=32), batch=8)
    assert torch.equal(next(drawn)[0], TOY.x[:32])
    assert len(next(as_stream(FLOATS, batch=8))[0]) == 8


@pytest.mark.parametrize("workers", [0, 2])
def test_random_items_depend_on_seed_and_position_alone(workers):
    make_stream = lambda seed=0: as_stream(
        DataLoader(Items(random=True), 8, shuffle=True, num_workers=workers), 8, seed
    )
    a, b = make_stream(), make_stream()
    state = torch.get_rng_state()
    first = [next(a) for _ in range(15)]  # more than an epoch
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    b.images = 14 * 8
    assert all(map(torch.equal, next(b), first[14]))
    assert not torch.equal(first[0][0], next(make_stream(seed=1))[0])
    assert not any(torch.equal(first[i][0], first[j][0]) for i in range(15) for j in range(i))


def test_the_workers_of_a_loader_end_with_the_last_reference_to_the_stream():
    drawn = as_stream(DataLoader(Items(random=True), 8, num_workers=2), 8)
    next(drawn)
    workers = active_children()
    assert len(workers) == 2
    del drawn
    assert not any(worker.is_alive() for worker in workers)  # not only after a while, when rubbish is collected


def test_what_does_not_fit_into_memory_is_read_during_training_with_the_same_batches():
    streamed, held = open_set(Items(), resident=10), open_set(Items())
    assert isinstance(streamed, Mapped) and isinstance(held, Images)
    a, b = Stream(streamed, 8, seed=3), Stream(held, 8, seed=3)
    for _ in range(14):
        (x, y), (u, v) = next(a), next(b)
        assert torch.equal(x, u) and torch.equal(y, v)
    assert torch.equal(streamed.labels, held.labels) and streamed.shape == held.shape
    assert torch.equal(streamed.subset(slice(3, 9)).x, held.subset(slice(3, 9)).x)


def test_targets_that_are_images_stay_with_their_inputs():
    pairs = open_own(TensorDataset(TOY.x, 1 - TOY.x))
    assert isinstance(pairs, Aligned)
    x, y = next(as_stream(pairs, 8))
    assert x.shape == y.shape and torch.allclose(x, 1 - y, atol=1e-6)


X, Y = TOY.x, TOY.labels


class Growing(IterableDataset):
    def __iter__(self):
        return iter([(X[:8], Y[:8]), (X[:8, :, :4], Y[:8])])


BAD = {
    "normalised": (TensorDataset(X * 2 - 1, Y), r"pixels go from -1 to .*must be in \[0, 1\].*leave out Normalize"),
    "bytes as floats": (TensorDataset(X * 255, Y), "pixels go from 0 to .*divide them by 255"),
    "nan": (TensorDataset(X.where(X < 0.5, torch.nan), Y), "pixels must be finite"),
    "channels last": (TensorDataset(X.permute(0, 2, 3, 1).repeat(1, 1, 1, 3), Y), "move the channels"),
    "flat": (TensorDataset(X.flatten(1), Y), r"images must be \(N, C, H, W\) of 1 to 4 channels, got \(96, 64\)"),
    "float labels": (TensorDataset(X, Y.float()), "labels must be integers, got torch.float32"),
    "one-hot": (TensorDataset(X, torch.eye(3).long()[Y]), "one-hot"),
    "negative": (TensorDataset(X, Y - 1), "labels"),
    "long pixels": (TensorDataset((X * 255).long(), Y), "pixels must be uint8 or float"),
    "three": (TensorDataset(X, Y, Y), "got 3 values"),
    "empty": (TensorDataset(X[:0], Y[:0]), "is empty"),
    "shapes": ([(X[0], 0), (X[1][:, :4], 0)], "images must have one shape"),
    "smaller later": (DataLoader(Growing(), None), r"images of one shape, got \(1, 8, 8\) and \(1, 4, 8\)"),
    "dict": ([{"x": X, "y": Y}], "must be .* got a dict"),
    "lengths": ([(X, Y[:5])], "96 images but 5 labels"),
    "exhausted": (iter([(X[:8], Y[:8])]), "end after 8 images: .*iterated only once"),
    "number": (3, "data must be a DataLoader, a Dataset or an iterable of batches"),
    "text": ("digits", "data must be a DataLoader"),
}


@pytest.mark.parametrize("name", BAD)
def test_data_that_do_not_fit_are_refused_in_one_sentence(name):
    data, words = BAD[name]
    with pytest.raises(ValueError, match=words) as caught:
        trained(data)
    assert "\n" not in str(caught.value)


def test_an_experiment_on_own_data_is_recorded_resumed_and_loaded(tmp_path):
    config = ClassifierConfig(width=4)
    loader = DataLoader(Items(), batch_size=8, shuffle=True)
    Experiment(config, loader, images=80).run(tmp_path / "run")
    whole = Experiment(config, loader, images=160).run(tmp_path / "run")
    assert same(whole.state_dict(), genlab.load(tmp_path / "run").state_dict())
    run = Run(tmp_path / "run")
    assert run.experiment["training"]["batch"] == 8 and run.experiment["classes"] == 3
    assert "accuracy" in run.results()
    with pytest.raises(ValueError, match="given in Python: .* resume in the program that has them"):
        data_of(run).load("test")
    with pytest.raises(RunError, match="another run: data.data"):
        Experiment(config, Items(50), batch=8, images=160).run(tmp_path / "run")


def test_the_test_images_of_own_data_are_given_or_a_tenth(tmp_path):
    experiment = Experiment(ClassifierConfig(width=4), Items())
    train, test = (experiment.data.load(split) for split in ("train", "test"))
    assert (len(train), len(test)) == (87, 9)
    both = Experiment(ClassifierConfig(width=4), Items(), test=Items(30), best_by="max:accuracy")
    assert [len(both.data.load(split)) for split in ("train", "validation", "test")] == [87, 9, 30]
    weighted = OWN["loader weighted"]
    with pytest.raises(ValueError, match="cannot be split: give test data"):
        Experiment(ClassifierConfig(width=4), weighted).run(tmp_path / "a")
    Experiment(ClassifierConfig(width=4), weighted, test=Items(30), images=16).run(tmp_path / "b")
    assert Run(tmp_path / "b").experiment["classes"] == 3


def test_an_experiment_refuses_contradictions():
    with pytest.raises(ValueError, match="batch is 4, but the batch size of the DataLoader 8"):
        Experiment(ClassifierConfig(), OWN["loader"], batch=4)
    with pytest.raises(ValueError, match="DataOptions name both"):
        Experiment(ClassifierConfig(), test=FLOATS)
    with pytest.raises(ValueError, match="split must be one of .*got 'tests'"):
        Experiment(ClassifierConfig(), FLOATS).data.load("tests")
