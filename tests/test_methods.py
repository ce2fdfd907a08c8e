"""The contract that every method of the lab keeps; toys.py lists them."""

import math
import shutil
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from PIL import Image
from toys import LEARNS, METHODS, SHAPE, UNPAIRED, make, source, stream

from genlab.compress.early_exit import EarlyExitConfig
from genlab.core.batch import batch_sizes, check_batch
from genlab.core.picture import as_picture
from genlab.data import Folder, Pair, Stream
from genlab.data.decode import ImageDecoder
from genlab.data.kinds import KINDS, check_kind
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.run import Run
from genlab.training.loop import fit
from genlab.training.method import TrainOptions
from genlab.training.update import Update

CLASSIFIERS = ClassifierConfig | EarlyExitConfig


def state(method):
    return {name: value.clone() for name, value in method.state_dict().items()}


def same(a, b):
    return [name for name in a if not torch.equal(a[name], b[name])] == [] and a.keys() == b.keys()


HOW = TrainOptions(72, schedule="constant", clip=5.0, save_every=40, log_every=1000)  # by 40, image pools are full


@pytest.mark.parametrize("name", METHODS)
def test_going_on_from_a_checkpoint_is_the_same_as_never_stopping(name, tmp_path):
    how = replace(HOW, precision="bfloat16", half_life=50.0)
    whole, rest = make(name), make(name)
    a = fit(whole, stream(16, name), how, run=Run.create(tmp_path / "a", {}))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    _, last = sorted((tmp_path / "b" / "checkpoints").glob("*.pt"))
    for file in (last, last.with_name(f"{last.name}.sha256"), tmp_path / "b" / "metrics.jsonl"):
        file.unlink()
    torch.manual_seed(99)
    b = fit(rest, stream(16, name), how, run=Run(tmp_path / "b"))
    assert same(state(whole), state(rest)) and same(state(a), state(b))
    logged = [Run(tmp_path / run).metrics() for run in "ab"]  # of images, steps and the means over both parts
    assert logged[0] == logged[1] and len(logged[0]) == 1 and last.exists()


# Whether saving and stopping change anything does not depend on the method: one of each family, without EMA.
PLAIN = ("classifier cnn", "gan lsgan replay", "pixelcnn gated", "vae", "cyclegan", "pretraining")


@pytest.mark.parametrize("name", PLAIN)
def test_resuming_is_the_same_as_never_stopping(name, tmp_path):
    whole, part, rest = make(name), make(name), make(name)
    once = replace(HOW, save_every=1000)
    fit(whole, stream(name=name), once, run=Run.create(tmp_path / "a", {}))
    half = [(40, lambda images, method: True)]  # stops there
    fit(part, stream(name=name), once, run=Run.create(tmp_path / "b", {}), hooks=half)
    torch.manual_seed(99)
    fit(rest, stream(name=name), once, run=Run(tmp_path / "b"))
    assert same(state(whole), state(rest)) and not same(state(whole), state(part))


@pytest.mark.parametrize("name", METHODS)
def test_update_touches_only_its_own_parameters(name):
    method, data = make(name), stream(name=name)
    optimizers = method.optimizers()
    owned = {n: {p for g in o.param_groups for p in g["params"]} for n, o in optimizers.items()}
    seen = set()

    class Watched(Update):
        def __call__(self, which, loss, leaves=()):
            seen.add(which)
            others = [p for p in method.parameters() if p not in owned[which]]
            before = [(p.clone(), None if p.grad is None else p.grad.clone()) for p in others]
            super().__call__(which, loss, leaves)
            for p, (value, grad) in zip(others, before, strict=True):
                assert torch.equal(p, value)
                assert (p.grad is None) == (grad is None) and (grad is None or torch.equal(p.grad, grad))

    watched = Watched(optimizers)
    for _ in range(3):
        metrics = method.step(data, watched)
    assert all(v.ndim == 0 and v.isfinite() for v in metrics.values())
    assert seen == set(optimizers)


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_that_learns_belongs_to_one_optimizer(name):
    method = make(name)
    owned = [p for o in method.optimizers().values() for g in o.param_groups for p in g["params"]]
    assert len(owned) == len(set(owned)) and set(owned) == {p for p in method.parameters() if p.requires_grad}


@pytest.mark.parametrize("name", [name for name in METHODS if " " not in name])
def test_data_of_a_kind_that_a_method_does_not_take_are_refused(name):
    """Two sets for one, or one for two; check_kind is what every experiment calls before anything is built."""
    takes = METHODS[name].takes
    for kind, data in (("images", source("gan")), ("two sets", source("cyclegan"))):
        with nullcontext() if kind in takes else pytest.raises(ValueError, match=f"it learns from .*got {KINDS[kind]}"):
            check_kind(data, takes, "it")
    assert (name in UNPAIRED) == ("two sets" in takes)


@pytest.mark.parametrize("name", [name for name, config in METHODS.items() if isinstance(config, CLASSIFIERS)])
def test_one_class_is_refused_by_those_that_tell_classes_apart(name):
    with pytest.raises(ValueError, match="needs at least 2 classes, as in --data digits .*got 1"):
        METHODS[name].build(SHAPE, 1)


@pytest.mark.parametrize("name", LEARNS)
def test_learns_the_toy(name):
    metric, factor = LEARNS[name]
    method, seen = make(name), []
    data = stream(batch=32, name=name)
    update = Update(method.optimizers())
    for step in range(200):
        torch.manual_seed(step)
        seen.append(method.step(data, update)[metric].item())
        first, last = (sum(part) / len(part) for part in (seen[:10], seen[-10:]))
        if step >= 19 and step % 5 == 4 and last < factor * first:
            break  # learnt
    assert last < factor * first, (first, last)


@pytest.mark.parametrize("name", [name for name in METHODS if hasattr(make(name), "sample")])
def test_a_number_of_samples_that_is_none_is_refused(name):
    method = make(name).eval()
    for n in (-1, 0, 1.5, "3", None, True):
        with pytest.raises(ValueError, match=f"n must be (a whole number, )?at least 1 .*, got {n!r}"):
            method.sample(n)


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory):
    """Images as a Folder, which reads its files when asked."""

    def written(images, name):
        folder = tmp_path_factory.mktemp(name)
        files = tuple(folder / f"{i}.png" for i in range(len(images)))
        for picture, file in zip(images.pixels[:, 0], files):
            Image.fromarray(picture.numpy()).save(file)
        decoder = ImageDecoder(name, folder, files, size=SHAPE[1], channels=SHAPE[0])
        return Folder(files, images.labels, images.classes, name, decoder)

    return written


@pytest.mark.parametrize("name", METHODS)
def test_twelve_images_on_disk_suffice_and_any_number_of_held_out_ones(name, on_disk):
    few = source(name, 12)
    data = Pair(on_disk(few.a, "a"), on_disk(few.b, "b")) if name in UNPAIRED else on_disk(few, "one")
    method = fit(make(name), Stream(data, 8), TrainOptions(images=16)).eval()
    before, shown, figures = state(method), [], []
    for n in (1, 12):
        test = Pair(data.a.subset(slice(n)), data.b.subset(slice(n))) if name in UNPAIRED else data.subset(slice(n))
        pictures = method.pictures(test)
        for batch in (as_picture(shown).images for shown in pictures.values()):
            assert batch.ndim == 4 and len(batch) and batch.min() >= 0 and batch.max() <= 1
        found = method.evaluate(test)
        assert all(isinstance(value, float) and math.isfinite(value) for value in found.values()), found
        shown.append(set(pictures)), figures.append(set(found))
    assert shown[0] <= shown[1] and figures[0] <= figures[1]
    if hasattr(method, "sample"):
        assert method.sample(3).shape == (3, 1, 8, 8)
    assert same(before, state(method))  # looking at a method does not change it
    if name not in UNPAIRED:
        one_class = replace(test, labels=torch.zeros_like(test.labels))
        assert all(map(math.isfinite, method.evaluate(one_class).values()))


def test_what_few_images_leave_out_is_said(caplog):
    for name, left_out in (
        ("flow nice", "interpolations left out: pictures of at least 2 images are needed, got 1"),
        ("infogan", "category_information left out: logits of at least 2 images are needed, got 1"),
        ("bigan", "neighbour_accuracy left out: features of at least 2 images are needed, got 1"),
        ("deep-infomax", "search left out: 10 nearest others need"),
        ("disentangle", "style_from_content left out: a probe learns on some codes and is tested on others, got 1"),
    ):
        method, one = make(name).eval(), source(name, 1)
        method.pictures(one), method.evaluate(one)
        assert left_out in caplog.text, name


@pytest.mark.parametrize("name", METHODS)
def test_the_smallest_batch_trains_and_a_smaller_one_is_refused_by_name(name):
    method = make(name)
    sizes = batch_sizes(method)
    data, update = Stream(source(name, 12), sizes.start), Update(method.optimizers())
    for _ in range(2):
        assert all(value.isfinite() for value in method.step(data, update).values())
    update.check()
    check_batch(method, sizes.start)
    check_batch(method, 2 * sizes.start, world=2)
    for batch, world in ((sizes.start - 1, 1), (2 * sizes.start - 2, 2)):
        with pytest.raises(ValueError, match=f"--batch must be at least {sizes.start * world}[ ,].*, got {batch}"):
            check_batch(method, batch, world)
    if sizes.start > 1 and sizes.step == 1:  # not refused in vain
        with pytest.raises((ValueError, ArithmeticError)):
            method = make(name)
            update = Update(method.optimizers())
            method.step(Stream(source(name, 12), sizes.start - 1), update), update.check()


@pytest.mark.parametrize(
    "name, batch, words",
    [
        ("ot-gan", 3, "at least 2 and a multiple of 2 for OTGAN"),
        ("gan lsgan replay", 41, "at least 1 and at most 40 for GAN"),
        ("energy-model", 41, "at least 1 and at most 40"),
        ("cyclegan", 51, "at least 1 and at most 50"),
    ],
)
def test_a_batch_that_does_not_suit_is_refused_with_those_that_do(name, batch, words):
    with pytest.raises(ValueError, match=words):
        check_batch(make(name), batch)


CONDITIONAL = ("conditional-gan", "stack-gan", "triple-gan", "pixelcnn gated", "diffusion conditional")


@pytest.mark.parametrize("name", CONDITIONAL)
@pytest.mark.parametrize(
    "labels, words",
    [
        (torch.tensor([0, 3]), "labels must be from 0 to 2, there are 3 classes; got 0 to 3"),
        (torch.tensor([-1, 0]), "labels must be from 0 to 2, there are 3 classes; got -1 to 0"),
        (torch.tensor([0, 1, 2]), r"labels must be whole numbers \(2,\), got torch.int64 \(3,\)"),
        (torch.tensor([0.0, 1.0]), r"labels must be whole numbers \(2,\), got torch.float32"),
        ([0, 3], "labels must be from 0 to 2, there are 3 classes; got 0 to 3"),
        ([0, 0.5], r"labels must be whole numbers \(2,\), got torch.float32"),
        ([0, 2**70], r"labels must be whole numbers \(2,\), got \[0, 11805"),
        ("ab", r"labels must be whole numbers \(2,\), got 'ab'"),
        ([[0], [1, 2]], r"labels must be whole numbers \(2,\), got \[\[0\], \[1, 2\]\]"),
        (1, r"labels must be whole numbers \(2,\), got torch.int64 \(\)"),
    ],
)
def test_labels_that_there_are_not_are_refused_by_name(name, labels, words):
    method = make(name).eval()
    with pytest.raises(ValueError, match=words):
        method.sample(2, labels=labels)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_labels_are_whole_numbers_of_any_type(name):
    method = make(name).eval()
    torch.manual_seed(0)
    expected = method.sample(2, labels=torch.tensor([0, 2]))
    for same in (torch.tensor([0, 2], dtype=torch.int32), [0, 2], (0, 2)):
        torch.manual_seed(0)
        assert torch.equal(method.sample(2, labels=same), expected)


def test_categories_and_the_labels_of_a_likelihood_are_checked_too():
    method = make("infogan").eval()
    with pytest.raises(ValueError, match="categories must be from 0 to 2"):
        method.generate(torch.tensor([3]), torch.zeros(1, 2), torch.zeros(1, 4))
    method, x = make("pixelcnn gated").eval(), torch.zeros(1, *SHAPE)
    with pytest.raises(ValueError, match="labels must be from 0 to 2"):
        method.log_prob(x, torch.tensor([3]))
    with pytest.raises(ValueError, match="labels must be from 0 to 2"):
        method.complete(x, torch.ones(1, *SHAPE[1:], dtype=torch.bool), torch.tensor([3]))


def test_a_latent_of_the_wrong_width_is_refused_by_name():
    with pytest.raises(ValueError, match=r"latents \(N, 4\), got \(2, 5\)"):
        make("gan").generator(torch.zeros(2, 5))
