"""Compression: pruning, sharing, files, low rank, exits and teachers, against closed forms."""

import hashlib
import json
import os
import zlib
from copy import deepcopy
from math import log2

import numpy as np
import pytest
import torch
from torch import nn

from genlab.compress import file, huffman
from genlab.compress.count import macs, nonzeros, parameters, xz_bytes
from genlab.compress.distil import Distillation, DistillationConfig, soft_loss, softened
from genlab.compress.early_exit import EarlyExitConfig
from genlab.compress.layers import plain_copy, remove_parametrisations, weighted
from genlab.compress.low_rank import factorise, factors, rank_for
from genlab.compress.neurons import prune_neurons, remove, scores
from genlab.compress.prune import apply_masks, masks, prune, rewind, weights
from genlab.compress.quantise import BinaryWeights, binarise, quantise_uniformly, share
from genlab.compress.separable import separate, separated
from genlab.compress.table import channels_last
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.nets.classifiers import cnn, mlp
from genlab.nets.msdnet import msdnet
from genlab.training.loop import fit
from genlab.training.method import TrainOptions

SHAPE = (1, 8, 8)


def net(kind=cnn, width=4):
    torch.manual_seed(0)
    return kind(SHAPE, 3, width)


def data(n=200):
    g = torch.Generator().manual_seed(1)
    y = torch.randint(3, (n,), generator=g)
    x = 0.4 * torch.rand(n, *SHAPE, generator=g) + 0.3 * y.view(-1, 1, 1, 1)
    return Images((x * 255).byte(), y, ("dark", "grey", "light"), "toy")


def train(model, images=320):
    return fit(Classifier(model, ClassifierConfig(lr=0.02)), Stream(data(), 16), TrainOptions(images=images)).net


def test_pruning_takes_the_smallest_of_every_layer_or_of_the_network():
    model, whole = net(), net()
    prune(model, 0.75)
    for (name, layer), (_, before) in zip(weighted(model), weighted(whole)):
        gone = layer.weight == 0
        assert gone.float().mean() == pytest.approx(0.75, abs=0.5 / layer.weight.numel())
        assert before.weight[gone].abs().max() <= before.weight[~gone].abs().min(), name
        assert torch.equal(layer.weight[~gone], before.weight[~gone])
    across = net()
    prune(across, 0.75, scope="network")
    total = sum(layer.weight.numel() for _, layer in weighted(across))
    assert sum(int((layer.weight == 0).sum()) for _, layer in weighted(across)) == round(0.75 * total)
    shares = [float((layer.weight == 0).float().mean()) for _, layer in weighted(across)]
    assert max(shares) - min(shares) > 0.1
    some = net()
    prune(some, {"1": 0.5})
    assert list(masks(some)) == ["1"]


def test_masks_stay_zero_through_training_and_the_rest_learns():
    model = net()
    prune(model, 0.8)
    before = weights(model)
    train(model)
    for name, layer in weighted(model):
        gone = masks(model)[name] == 0
        assert (layer.weight[gone] == 0).all() and not torch.equal(layer.weight[~gone], before[f"{name}.weight"][~gone])
    prune(model, 0.9)  # another round
    assert all(m.mean() == pytest.approx(0.1, abs=0.5 / m.numel()) for m in masks(model).values())


def test_a_lottery_ticket_is_the_start_under_the_mask():
    model = net()
    start = weights(model)
    train(model)
    prune(model, 0.5)
    kept = {name: m.clone() for name, m in masks(model).items()}
    rewind(model, start)
    for name, layer in weighted(model):
        assert torch.equal(layer.weight, start[f"{name}.weight"] * kept[name])
        assert torch.equal(layer.bias, start[f"{name}.bias"])
    other = net()
    apply_masks(other, kept)
    assert all(torch.equal(a.weight, b.weight) for (_, a), (_, b) in zip(weighted(other), weighted(model)))


def test_hardening_a_copy_leaves_the_original_as_it_is():
    model = net()
    prune(model, 0.5)
    other = remove_parametrisations(deepcopy(model))
    assert list(masks(other)) == [] and len(masks(model)) == 4
    for (_, a), (_, b) in zip(weighted(model), weighted(other)):
        assert torch.equal(a.weight, b.weight) and isinstance(b.weight, nn.Parameter)
    assert torch.equal(model(data().x), other(data().x))


def test_shared_weights_are_few_stay_equal_and_learn_by_the_sum_of_their_gradients():
    model = net()
    prune(model, 0.5)
    share(model, 3)
    for _, layer in weighted(model):
        assert len(layer.weight.unique()) <= 8 and (layer.weight == 0).float().mean() == pytest.approx(0.5, abs=0.1)
    layer = next(iter(dict(weighted(model)).values()))
    how, centroids = layer.parametrizations.weight[0], layer.parametrizations.weight.original
    slope = torch.randn_like(layer.weight)
    (found,) = torch.autograd.grad((layer.weight * slope).sum(), centroids)
    sums = torch.stack([slope[how.index == i + 1].sum() for i in range(len(centroids))])
    assert torch.allclose(found, sums, atol=1e-5)
    before = layer.weight.detach().clone()
    train(model)
    assert len(layer.weight.unique()) <= 8 and not torch.equal(layer.weight, before)
    assert torch.equal(layer.weight == 0, before == 0)


def test_even_levels_are_near_and_two_values_are_two():
    whole, model = net(mlp, 8), net(mlp, 8)
    quantise_uniformly(model, 4)
    for (_, a), (_, b) in zip(weighted(model), weighted(whole)):
        step = b.weight.abs().max() / 7
        assert ((a.weight - b.weight).abs() <= step / 2 + 1e-6).all() and (a.weight / step).round().abs().max() <= 7
    binarise(model)
    for _, layer in weighted(model):
        assert len(layer.weight.abs().unique()) == 1
    x = torch.rand(4, *SHAPE)
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_binary_weight_beyond_its_scale_gets_no_gradient():
    how = BinaryWeights(torch.zeros(4, 2))
    assert how.h == pytest.approx(1.0)
    w = torch.tensor([[-3.0, -0.5], [0.2, 7.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(how(w).sum(), w)
    assert slope.tolist() == [[0.0, 1.0], [1.0, 0.0]] and how(w).tolist() == [[-1.0, -1.0], [1.0, 1.0]]


@pytest.mark.parametrize("seed", range(20))
def test_huffman_codes_come_back_and_are_near_the_entropy(seed):
    rng = np.random.default_rng(seed)
    kinds = int(rng.integers(1, 40))
    symbols = rng.choice(kinds, size=int(rng.integers(1, 3000)), p=rng.dirichlet(np.full(kinds, 0.3)))
    counts = np.bincount(symbols, minlength=kinds)
    sizes = huffman.lengths(counts)
    coded = huffman.encode(symbols, sizes)
    assert np.array_equal(huffman.decode(coded, sizes, len(symbols)), symbols)
    p = counts[counts > 0] / len(symbols)
    mean = sum(c * s for c, s in zip(counts, sizes)) / len(symbols)
    assert -(p * np.log2(p)).sum() - 1e-9 <= mean <= -(p * np.log2(p)).sum() + 1
    assert sum(2.0**-s for s in sizes if s) <= 1  # Kraft
    assert len(coded) == -(-int(mean * len(symbols) + 0.5) // 8)


def test_huffman_of_a_known_alphabet():
    assert huffman.lengths(np.array([8, 4, 2, 1, 1])) == [1, 2, 3, 4, 4]
    assert log2(16) == 4 and huffman.codes([1, 2, 3, 4, 4]) == [0b0, 0b10, 0b110, 0b1110, 0b1111]


def test_a_file_gives_every_bit_back_and_is_small(tmp_path):
    model = train(net(width=16))
    prune(model, 0.9)
    share(model, 4)
    state = remove_parametrisations(model).state_dict()
    state |= {
        "odd": torch.tensor([0.0, -0.0, float("nan"), float("inf")]),
        "empty": torch.empty(0),
        "n": torch.tensor(7),
    }
    state |= {"far": torch.zeros(1000).index_fill(0, torch.tensor([0, 1, 299, 999]), 2.5), "zero": torch.zeros(3, 5)}
    size = file.save(state, tmp_path / "net.gl", {"net": "cnn"})
    found, about = file.load(tmp_path / "net.gl")
    assert about == {"net": "cnn"} and size == (tmp_path / "net.gl").stat().st_size
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        assert found[name].numpy().tobytes() == tensor.contiguous().numpy().tobytes(), name
    again = net(width=16)
    again.load_state_dict({name: found[name] for name in again.state_dict()})
    x = torch.rand(5, *SHAPE)
    assert torch.equal(again(x), model(x))
    assert size < 4 * parameters(model) / 10 and size < xz_bytes(state)


def test_a_damaged_file_is_refused_by_name(tmp_path):
    path = tmp_path / "net.gl"
    file.save({"w": torch.randn(20)}, path)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(file.CompressedFileError, match="net.gl"):
            file.load(path)
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with pytest.raises(file.CompressedFileError, match="net.gl"):
            file.load(path)


HOSTILE = [None, True, -1, 0, 1, 7, 2**31, 2**63, 10**40, 1.5, float("nan"), "", "w", "plain", "sparse", [], [-1], [0],
           [2**40], [10**30, 0], [[1]], {}, {"a": 1}]  # fmt: skip


def taken_apart(path):
    """The head of a compressed file as values, and its payload."""
    body = path.read_bytes()[39:]
    size = int.from_bytes(body[:4], "big")
    return json.loads(zlib.decompress(body[4 : 4 + size])), body[4 + size :]


def sealed(path, head, payload):
    """Writes a file of any head (bytes are taken for the packed ones) under a checksum that fits."""
    packed = head if isinstance(head, bytes) else zlib.compress(json.dumps(head).encode())
    body = len(packed).to_bytes(4, "big") + packed + payload
    path.write_bytes(b"genlab\1" + hashlib.sha256(body).digest() + body)


def places(value, way=()):
    """The way to every value within lists."""
    yield way
    for k, inner in enumerate(value if isinstance(value, list) else []):
        yield from places(inner, (*way, k))


def altered(value, way, new):
    if not way:
        return new
    return [altered(inner, way[1:], new) if k == way[0] else inner for k, inner in enumerate(value)]


def loads_or_refuses(path):
    try:
        state, _ = file.load(path)
        assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())
    except file.CompressedFileError as error:
        assert str(path) in str(error) and "\n" not in str(error) and len(str(error)) < 400


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A file with a tensor of every kind."""
    g = torch.Generator().manual_seed(0)
    few = torch.randint(0, 3, (9, 7), generator=g).float()
    spaced = torch.zeros(2000).index_fill(0, torch.tensor([3, 700, 701]), 2.5)
    many = torch.zeros(5000).index_copy(0, torch.arange(0, 4000, 13), torch.randn(308, generator=g))
    state = {"plain": torch.randn(4, 3, generator=g), "few": few, "spaced": spaced, "many": many, "n": torch.tensor(5)}
    path = tmp_path_factory.mktemp("stored") / "net.gl"
    file.save(state | {"flag": torch.tensor([True, False])}, path, ["about"])
    assert {row[1] for row in taken_apart(path)[0][1]} == {"plain", "table", "sparse", "spaced"}
    return path


def test_a_file_with_a_hostile_head_and_a_fitting_checksum_is_refused_by_name(stored, tmp_path):
    head, payload = taken_apart(stored)
    path, rng = tmp_path / "hostile.gl", np.random.default_rng(0)
    cases = [(way, value) for way in places(head) for value in HOSTILE]
    for k in rng.choice(len(cases), 250, replace=False):
        sealed(path, altered(head, *cases[k]), payload)
        loads_or_refuses(path)
    for way, wrong in (((1, 0, 3), [3, 5]), ((1, 0, 4), [47]), ((1, 1, 5), 64), ((1, 2, 5), [10**9, 4])):
        sealed(path, altered(head, way, wrong), payload)
        with pytest.raises(file.CompressedFileError, match="hostile.gl is not as genlab writes it"):
            file.load(path)


def test_a_file_with_changed_bytes_and_a_fitting_checksum_is_read_or_refused_by_name(stored, tmp_path):
    head, payload = taken_apart(stored)
    packed, path, rng = zlib.compress(json.dumps(head).encode()), tmp_path / "flipped.gl", np.random.default_rng(1)
    for k in range(300):
        parts = [bytearray(packed), bytearray(payload)]
        part = parts[k % 4 > 0]
        for place in rng.integers(len(part), size=rng.integers(1, 4)):
            part[place] = rng.integers(256)
        sealed(path, bytes(parts[0]), bytes(parts[1]))
        loads_or_refuses(path)


def test_bombs_and_what_is_no_file_are_refused_by_name(stored, tmp_path):
    head, payload = taken_apart(stored)
    path = tmp_path / "bomb.gl"
    bombs = [zlib.compress(b" " * 10**8), zlib.compress(b"[" * 10**6), zlib.compress(b"[0,[]]")[:-1], b"", b"\0" * 9]
    gaps = [0, [["w", "sparse", "torch.float32", [10**9], [4, 1, 1, 19, 8], [10**9, 60]]]]
    for bomb, rest in [*((bomb, b"") for bomb in bombs), (gaps, bytes(33)), (head, payload + b"x"), (head, b"")]:
        sealed(path, bomb, rest)
        with pytest.raises(file.CompressedFileError, match="bomb.gl"):
            file.load(path)
    os.mkfifo(tmp_path / "fifo")
    for place in (tmp_path / "fifo", tmp_path):
        with pytest.raises(file.CompressedFileError, match="is not a file"):
            file.load(place)
    with pytest.raises(file.CompressedFileError, match="take more than"):
        file.save({}, path, "x" * file.HEAD)


def test_zeros_at_the_end_are_coded_so_that_the_file_can_justify_them(tmp_path):
    state = {"w": torch.zeros(10**6).index_fill(0, torch.tensor([0]), 1.0)}
    assert file.save(state, tmp_path / "net.gl") < 1000
    assert torch.equal(file.load(tmp_path / "net.gl")[0]["w"], state["w"])


def test_the_error_of_low_rank_is_the_tail_of_the_spectrum():
    torch.manual_seed(0)
    linear, conv = nn.Linear(30, 20), nn.Conv2d(4, 12, 3, padding=1, stride=2)
    for layer, x in ((linear, torch.rand(5, 30)), (conv, torch.rand(2, 4, 9, 9))):
        matrix = layer.weight.detach().flatten(1)
        tail = torch.linalg.svdvals(matrix)
        for rank in (1, 5, len(tail)):
            a, b = factors(layer, rank)
            product = (b.weight.flatten(1) @ a.weight.flatten(1)).detach()
            assert (matrix - product).square().sum().sqrt() == pytest.approx(float(tail[rank:].norm()), abs=1e-5)
        assert torch.allclose(nn.Sequential(a, b)(x), layer(x), atol=1e-5)
    assert rank_for(torch.tensor([3.0, 2.0, 1.0]), 13 / 14) == 2 and rank_for(torch.ones(4), 1.0) == 4
    model = net(mlp, 32)
    small = factorise(model, 0.5)
    assert parameters(small) < parameters(model) and small(torch.rand(2, *SHAPE)).shape == (2, 3)
    kept = factorise(nn.Sequential(nn.Linear(30, 20, bias=False)), 1.0, budget=0.5)
    assert [tuple(layer.weight.shape) for layer in kept[0]] == [(6, 30), (20, 6)]  # 6 * 50 is half of 600
    assert isinstance(factorise(nn.Sequential(linear), 1.0)[0], nn.Linear)
    with pytest.raises(ValueError, match="ranks 1 to 20, got 0"):
        factors(linear, 0)


def test_separable_counts_are_exact_and_a_separable_filter_survives():
    conv = nn.Conv2d(6, 10, 3, padding=1, bias=False)
    pair = separated(conv)
    assert sum(p.numel() for p in pair.parameters()) / conv.weight.numel() == pytest.approx(1 / 10 + 1 / 9)
    assert macs(pair, (6, 8, 8)) / macs(conv, (6, 8, 8)) == pytest.approx(1 / 10 + 1 / 9)
    with torch.no_grad():
        conv.weight.copy_(torch.randn(10, 6, 1, 1) * torch.randn(1, 6, 3, 3))
    x = torch.rand(2, 6, 8, 8)
    assert torch.allclose(separated(conv)(x), conv(x), atol=1e-5)
    example = nn.Conv2d(2, 4, 3, bias=False)
    assert example.weight.numel() == 72 and parameters(separated(example)) == 26
    assert separate(net())(torch.rand(2, *SHAPE)).shape == (2, 3)


def test_removing_dead_neurons_leaves_the_function_equal():
    model = net(width=6)
    with torch.no_grad():
        for i, dead in ((1, [0, 3]), (4, [2, 5, 7]), (8, list(range(100)))):
            model[i].weight[dead] = 0
            model[i].bias[dead] = -1.0
    alive = scores(model, "zeros", data())
    small = remove(model, [score > 0 for score in alive])
    x = data().x
    assert torch.allclose(small(x), model(x), atol=1e-5) and parameters(small) < parameters(model)
    assert macs(small, SHAPE) < 0.7 * macs(model, SHAPE)
    half = prune_neurons(model, 0.5, "l2")
    assert [half[i].weight.shape[0] for i in (1, 4, 8, 10)] == [3, 6, 64, 3]
    assert half(x).shape == (200, 3) and model[1].weight.shape[0] == 6
    with pytest.raises(ValueError, match="would lose all its 6 outputs"):
        remove(model, [torch.zeros(6, dtype=torch.bool), alive[1] > 0, alive[2] > 0])


def test_compressed_networks_are_timed_in_the_memory_format_of_the_dense_one():
    dense = cnn((1, 8, 8), 10, 4)
    prune(sparse := deepcopy(dense), 0.5)
    binarise(binary := deepcopy(dense))
    stride = lambda net: [layer.weight.stride() for _, layer in weighted(net)]
    nets = [channels_last(plain_copy(net)) for net in (dense.to(memory_format=torch.channels_last), sparse, binary)]
    assert stride(nets[0]) == stride(nets[1]) == stride(nets[2])
    assert stride(nets[0])[:2] == [(9, 1, 3, 1), (36, 1, 12, 4)]


def test_counts_are_those_by_hand():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3, bias=False))
    assert parameters(model) == 18 + 2 + 384 and macs(model, SHAPE) == 64 * 18 + 384
    prune(model, {"3": 0.75})
    assert parameters(model) == 404 and nonzeros(model) == 20 + 96


def test_the_soft_loss_matches_logits_at_high_temperature_and_labels_at_one():
    p = softened(torch.tensor([[100.0, 10.0, 1.0]]), 100.0)
    assert [round(float(v), 2) for v in p[0]] == [0.56, 0.23, 0.21]
    torch.manual_seed(0)
    student = torch.randn(1, 5, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(1, 5, dtype=torch.float64)
    (slope,) = torch.autograd.grad(soft_loss(student, softened(teacher, 1e4), 1e4), student)
    centred = (student - student.mean()) - (teacher - teacher.mean())
    assert torch.allclose(slope, centred.detach() / 5, atol=1e-3)
    assert soft_loss(teacher, softened(teacher, 3.0), 3.0) == pytest.approx(0, abs=1e-12)


def test_a_student_becomes_its_teacher_and_the_targets_stay_with_their_images():
    teacher = train(net(width=8), 1600)
    student = Distillation(
        net(mlp, 16), [teacher], DistillationConfig(temperature=2.0, weight=1.0, lr=0.02, weight_decay=0.0)
    )
    x, _ = next(Stream(data(), 16))
    assert torch.allclose(student.targets(x), softened(teacher(x), 2.0))
    fit(student, Stream(data(), 16), TrainOptions(images=3200))
    test = data(500).x
    assert (student(test).argmax(1) == teacher(test).argmax(1)).float().mean() > 0.9
    assert not any("teacher" in name for name in student.state_dict())
    two = Distillation(net(), [lambda x: torch.zeros(len(x), 3), teacher])
    assert torch.allclose(two.targets(x), (torch.full((16, 3), 1 / 3) + softened(teacher(x), 4.0)) / 2)


def test_a_student_smooths_its_labels_as_a_classifier_does():
    x, y = next(Stream(data(), 16))
    student = Distillation(net(), [net()], DistillationConfig(smoothing=0.2))
    expected = nn.functional.cross_entropy(student(x), y, label_smoothing=0.2)
    torch.testing.assert_close(student.step(iter([(x, y)]), lambda name, loss: None)["loss"], expected)


@pytest.mark.parametrize(
    ("kind", "first"), [("cnn", 64 * 4 * 9 + 16 * 4 * 3), ("msdnet", 11_520 + 6_912 + 20_736 + 16 * 48 * 3)]
)
def test_an_early_exit_takes_the_first_that_is_sure_and_costs_what_it_needs(kind, first):
    torch.manual_seed(0)
    model = EarlyExitConfig(net=kind, width=4).build(SHAPE, 3).eval()
    x, net = torch.rand(30, *SHAPE), model.net
    logits = net.all(x)
    for threshold in (0.0, float(logits[0].detach().softmax(1).amax(1).median()), 1.1):
        net.threshold = threshold
        found, exits = net.predict(x)
        assert torch.allclose(found, net(x), atol=1e-5) and torch.equal(exits, net.exit(logits))
    assert (exits == 2).all()
    net.threshold = 0.0
    assert (net.predict(x)[1] == 0).all()
    costs = net.costs(SHAPE)
    assert costs == sorted(costs) and costs[0] == first
    found = model.evaluate(data())
    assert found["macs"] == costs[0] and found["accuracy"] == found["accuracy_exit1"]


def test_msdnet_keeps_all_features_and_computes_none_that_its_next_classifier_does_not_need():
    torch.manual_seed(0)
    stages, heads = msdnet(SHAPE, 3, width=2)
    scales = stages[0](torch.rand(4, *SHAPE))
    assert [tuple(x.shape[1:]) for x in scales] == [(2, 8, 8), (4 + 4, 4, 4), (8 + 16, 2, 2)]
    for before, after in zip(scales, stages[1](scales)):
        assert torch.equal(after[:, : before.shape[1]], before) and after.shape[1] > before.shape[1]
    for last, head in enumerate(heads):
        path = nn.Sequential(*stages[: last + 1], head)
        grads = torch.autograd.grad(path(torch.rand(4, *SHAPE)).square().sum(), list(path.parameters()))
        assert all(grad.abs().sum() > 0 for grad in grads)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: prune(net(), 1.2), r"in \[0, 1\), got 1.2"),
        (lambda: prune(net(), {"nowhere": 0.5}), "no layer 'nowhere'"),
        (lambda: share(net(), 9), "from 1 to 8 bits, got 9"),
        (lambda: quantise_uniformly(net(), 1), "from 2 to 16 bits, got 1"),
        (lambda: factorise(net(), 0.0), r"in \(0, 1\], got 0.0"),
        (lambda: factorise(net(), 0.9, 1.5), r"may stay, in \(0, 1\], got 1.5"),
        (lambda: prune_neurons(net(), 1.0), r"in \[0, 1\), got 1.0"),
        (lambda: prune_neurons(net(), 0.5, "zeros"), "needs data, got none"),
        (lambda: prune_neurons(nn.ModuleList(), 0.5), "not from ModuleList"),
        (lambda: Distillation(net(), []), "at least 1 teacher"),
        (lambda: DistillationConfig(temperature=0), "temperature must be above 0 .*got 0"),
        (lambda: EarlyExitConfig(weights=(1.0,)).build(SHAPE, 3), "3 exits need as many --weights, got 1"),
        (lambda: EarlyExitConfig(weights=(0, 0, 0)), "--weights needs at least one weight above 0, got .*0, 0, 0"),
        (lambda: file.save({"w": torch.zeros(1, dtype=torch.float16)}, "x.gl"), "'w' is torch.float16"),
    ],
)
def test_bad_requests_get_one_sentence(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        wrong()


def test_a_student_of_other_classes_is_refused():
    student = Distillation(cnn(SHAPE, 4, 4), [net()])
    with pytest.raises(ValueError, match="the student has 4 classes, its teachers 3"):
        fit(student, Stream(data(), 16), TrainOptions(images=16))


def test_pruned_weights_take_no_room_in_the_file_whatever_their_sign_was(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(400, 100, bias=False))
    prune(net, 0.9)
    zeros = remove_parametrisations(net)[0].weight.flatten()
    zeros = zeros[zeros == 0]
    assert len(zeros) == 36_000 and not zeros.signbit().any()
    assert file.save(net.state_dict(), tmp_path / "net") < 4000 * (4 + 1) + 500  # a value, a gap of a few bits
