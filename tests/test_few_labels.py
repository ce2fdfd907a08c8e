"""Learning from few labels: what each method is known to do, in closed form or on data whose classes are plain."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from toys import CLASSES, images, make, stream

import genlab
from genlab.data import Stream
from genlab.methods.classification.few_labels import labelled_positions
from genlab.methods.classification.semi_supervised import (
    DiscriminatorClassifier,
    SemiSupervisedConfig,
    entropy,
    pseudo_label_loss,
)
from genlab.methods.gan.gan import GANConfig
from genlab.semi_supervised.clusters import cluster_then_label, nearest_label
from genlab.semi_supervised.gaussian_em import gaussian_em
from genlab.semi_supervised.graph import NeighbourGraph
from genlab.semi_supervised.transductive_svm import newton, objective, switch, transductive_svm
from genlab.training.update import Update


def logits(n=6, k=4):
    return torch.randn(n, k, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()


def one_label_each(y):
    """`y` with the label of the first point of each class, all others unknown."""
    labels = torch.full_like(y, -1)
    first = torch.stack([(y == k).nonzero()[0, 0] for k in y.unique()])
    labels[first] = y[first]
    return labels


def blobs(n=60, apart=8.0, classes=2):
    g = torch.Generator().manual_seed(0)
    y = torch.arange(classes).repeat(n // classes)
    x = torch.randn(n, 3, dtype=torch.float64, generator=g)
    x[:, 0] += apart * y
    return x, y


def moons():
    from sklearn.datasets import make_moons

    x, y = make_moons(200, noise=0.05, random_state=0)
    return torch.from_numpy(x), torch.from_numpy(y)


# --- terms of the loss


def test_a_pseudo_label_is_the_most_probable_class_and_counts_above_the_threshold():
    z = logits()
    assert pseudo_label_loss(z) == cross_entropy(z, z.argmax(1))
    sure = z.softmax(1).amax(1)
    middle = float(sure.detach().median())
    expected = cross_entropy(z, z.argmax(1), reduction="none")[sure >= middle].sum() / len(z)
    assert torch.isclose(pseudo_label_loss(z, middle), expected) and pseudo_label_loss(z, 1.0) == 0


def test_a_network_learns_nothing_from_its_own_soft_labels_but_from_hard_ones():
    z = logits()
    cross_entropy(z, z.detach().softmax(1)).backward()
    assert z.grad.abs().max() < 1e-15
    pseudo_label_loss(z).backward()
    assert (z.grad.gather(1, z.argmax(1, keepdim=True)) < 0).all()


def test_the_gradient_of_the_entropy_makes_the_largest_output_larger():
    z = logits()
    value = entropy(z)
    value.backward()
    p = z.detach().softmax(1)
    each = -(p * p.log()).sum(1, keepdim=True)
    torch.testing.assert_close(z.grad, -p * (p.log() + each) / len(z))
    assert (z.grad.gather(1, z.argmax(1, keepdim=True)) < 0).all() and torch.isclose(value, each.mean())
    assert entropy(torch.zeros(1, 5)) == pytest.approx(math.log(5))


def test_a_step_descends_the_sum_of_all_terms_and_the_labels_of_others_play_no_part():
    config = SemiSupervisedConfig(labels_per_class=2, net="mlp", width=8, pseudo=0.5, entropy=0.3, smoothness=2.0)
    x, y = next(stream(batch=32))
    trained = []
    for hidden in (y, (y + 1) % CLASSES):
        torch.manual_seed(0)
        method = config.build(x.shape[1:], CLASSES)
        update = Update(method.optimizers())
        method.collect(x, y)
        update.progress = 0.65  # half of the rise from 0.3 on
        torch.manual_seed(1)
        x_l, y_l = method.labelled(len(x))
        terms = method.terms(x, method.net(x))
        loss = cross_entropy(method.net(x_l), y_l) + 0.5 * (
            0.5 * terms["pseudo"] + 0.3 * terms["entropy"] + 2.0 * terms["smoothness"]
        )
        expected = torch.autograd.grad(loss, list(method.net.parameters()))
        torch.manual_seed(1)
        method.step(iter([(x, hidden)]), update)
        for parameter, gradient in zip(method.net.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)
        trained.append(method.state_dict())
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def test_a_method_labels_the_same_images_as_labelled_positions():
    method, data = make("semi-supervised"), images()
    for x, y in (next(s) for s in [Stream(data, 32, seed=5)] * 2):
        method.collect(x, y)
    where = labelled_positions(data, method.each, 5)
    assert (method.known == method.each).all() and torch.equal(data.subset(where).x, method.labelled_x[:-1])
    assert torch.equal(data.labels[where], method.labelled_y)
    assert not torch.equal(where, labelled_positions(data, method.each, 6))
    with pytest.raises(ValueError, match="--labels-per-class must be at most .* got 200"):
        labelled_positions(data, 200, 0)


# --- a discriminator as classifier


def test_a_discriminator_becomes_a_classifier_that_leaves_the_gan_alone(tmp_path):
    run = tmp_path / "gan"
    gan = genlab.Experiment(GANConfig(width=4, hidden=0, latent=4), images=64).run(run, pictures=1)
    method = SemiSupervisedConfig(discriminator=run).build((1, 8, 8), 10)
    assert isinstance(method.net, DiscriminatorClassifier)
    x = torch.rand(5, 1, 8, 8)
    features = gan.discriminator.features(x)
    torch.testing.assert_close(method.eval()(x), method.net.head(features))
    method.train()
    method.step(Stream(genlab.DataOptions().load(), 8), Update(method.optimizers()))
    torch.testing.assert_close(gan.discriminator.features(x), features)
    assert not torch.allclose(method.eval().net.body.features(x), features)
    for shape, where, words in (
        ((1, 16, 16), run, r"of a GAN of images \(1, 16, 16\), .*: it holds a GAN of images \(1, 8, 8\)"),
        ((1, 8, 8), tmp_path / "none", "--discriminator must name the run directory of a GAN"),
    ):
        with pytest.raises(ValueError, match=words):
            SemiSupervisedConfig(discriminator=where).build(shape, 10)


# --- Gaussian densities


@pytest.mark.parametrize("shared", [True, False])
def test_em_finds_two_gaussians_from_one_label_each(shared):
    x, y = blobs()
    labels = one_label_each(y)
    model, likelihoods = gaussian_em(x, labels, 2, 20, shared=shared, floor=0.0)
    assert torch.equal(model.log_joint(x).argmax(1), y)
    assert all(b >= a - 1e-9 for a, b in zip(likelihoods, likelihoods[1:])) and likelihoods[-1] > likelihoods[0]
    means = torch.stack([x[y == k].mean(0) for k in (0, 1)])
    torch.testing.assert_close(model.mean, means, atol=0.01, rtol=0)
    within = torch.stack([torch.cov(x[y == k].T, correction=0) for k in (0, 1)])
    torch.testing.assert_close(model.covariance, within.mean(0) if shared else within, atol=0.05, rtol=0)
    with pytest.raises(ValueError, match="every class needs a labelled point, class 1 has none"):
        gaussian_em(x, torch.where(y == 0, 0, -1), 2)


def test_the_likelihood_of_em_is_that_of_labels_and_of_the_mixture():
    x, y = blobs()
    labels = one_label_each(y)
    before, _ = gaussian_em(x, labels, 2, 0)
    joint = before.log_joint(x)
    expected = torch.where(labels >= 0, joint.gather(1, y[:, None])[:, 0], joint.logsumexp(1)).mean()
    assert gaussian_em(x, labels, 2, 1)[1][0] == pytest.approx(float(expected))


# --- graphs


def test_labels_propagate_along_two_moons_which_the_nearest_label_cuts():
    x, y = moons()
    labels = one_label_each(y)
    graph = NeighbourGraph.of(x, neighbours=5)
    found = graph.propagate(labels, 2)
    assert (found.argmax(1) == y).double().mean() > 0.99
    nearest = labels[labels >= 0][torch.cdist(x, x[labels >= 0]).argmin(1)]
    assert (nearest == y).double().mean() < 0.9
    new = x + 0.01
    assert (graph.extend(found, new).argmax(1) == y).double().mean() > 0.99


def test_propagation_minimises_the_smoothness_which_is_that_of_the_laplacian():
    x, y = blobs(20, apart=1.0)
    labels = torch.where(torch.arange(20) < 6, y, -1)
    graph = NeighbourGraph.of(x, neighbours=4, gamma=0.5)
    assert torch.equal(graph.w, graph.w.T) and not graph.w.diag().any()
    nearest = torch.cdist(x, x).fill_diagonal_(torch.inf).argmin(1)
    assert (graph.w[torch.arange(20), nearest] > 0).all()
    found = graph.propagate(labels, 2)
    assert torch.equal(found[:6], one_hot(y[:6]).double())
    torch.testing.assert_close(found.sum(1), torch.ones(20).double())
    laplacian = (found.T @ graph.laplacian() @ found).trace() / graph.w.sum()
    torch.testing.assert_close(graph.smoothness(found), laplacian)
    torch.testing.assert_close(graph.propagate(labels, 2, iterations=500), found, atol=1e-4, rtol=0)
    free = found[6:].clone().requires_grad_()
    graph.smoothness(torch.cat([found[:6], free])).backward()
    assert free.grad.abs().max() < 1e-6


def test_a_point_that_no_label_reaches_is_of_no_class():
    x = torch.tensor([[0.0], [0.1], [0.2], [100.0], [100.1], [100.2]])
    found = NeighbourGraph.of(x, neighbours=2).propagate(torch.tensor([0, -1, -1, -1, -1, -1]), 3)
    torch.testing.assert_close(found[3:], torch.full((3, 3), 1 / 3), atol=1e-3, rtol=0)
    assert (found[:3, 0] > 0.99).all()
    with pytest.raises(ValueError, match="a graph of neighbours takes 2 to 20,000 points, got 1"):
        NeighbourGraph.of(x[:1])


# --- clusters and margins


def test_clusters_get_the_label_of_most_of_their_points_or_of_the_nearest():
    x, y = blobs(classes=3)
    labels = one_label_each(y)
    assert torch.equal(nearest_label(*cluster_then_label(x, labels, 3, 3), x), y)
    few = torch.where(labels == 2, -1, labels)  # the third cluster has none, and class 1 is the nearest
    assert torch.equal(nearest_label(*cluster_then_label(x, few, 3, 3), x), y.clamp(max=1))
    with pytest.raises(ValueError, match="clusters must be at most 60, the number of points, got 61"):
        cluster_then_label(x, labels, 3, 61)


def test_a_transductive_svm_moves_the_boundary_to_where_no_points_are():
    g = torch.Generator().manual_seed(0)
    y = torch.arange(2).repeat(50)
    x = torch.randn(100, 2, dtype=torch.float64, generator=g) * torch.tensor([0.4, 1.5])
    x[:, 0] += 4.0 * y - 2.0
    x[:2] = torch.tensor([[-2.0, -2.0], [2.0, 2.0]])  # the labelled points differ in what does not matter, too
    labels = one_label_each(y)
    alone = transductive_svm(x, labels, 2, 10.0, 0.0)(x).argmax(1)
    found = transductive_svm(x, labels, 2, 10.0, 100.0)
    assert (alone == y).double().mean() < 0.95 and torch.equal(found(x).argmax(1), y)
    assert torch.equal(found.signs, 2 * one_hot(y).T.double() - 1)


def test_newton_finds_the_minimum_and_every_switch_lowers_the_objective():
    rows = nn.functional.pad(blobs(40, apart=2.0)[0], (0, 1), value=1.0)
    signs = torch.where(torch.arange(40) % 3 == 0, 1.0, -1.0).double()[None]
    costs, free = torch.full((40,), 0.1).double(), torch.arange(2, 40)
    w = newton(rows, signs, costs).requires_grad_()
    objective(rows, signs, costs, w).sum().backward()
    assert w.grad.abs().max() < 1e-9
    before, balance, rounds = objective(rows, signs, costs, w).item(), signs.sum(), 0
    while switch(signs, free, w @ rows.T):
        now = objective(rows, signs, costs, w).item()
        assert now < before and signs.sum() == balance and rounds < 50
        w = newton(rows, signs, costs, w)
        before, rounds = objective(rows, signs, costs, w).item(), rounds + 1
    assert rounds


@pytest.mark.parametrize("method", [gaussian_em, transductive_svm, lambda *a: cluster_then_label(*a, 2), None])
def test_points_and_labels_out_of_range_get_one_sentence(method):
    method = method or (lambda x, labels, k: NeighbourGraph.of(x, 3).propagate(labels, k))
    x, labels = torch.randn(20, 2), torch.tensor([0, 1] + [-1] * 18)
    for points, known, said in (
        (torch.full((20, 2), float("nan")), labels, "must be finite"),
        (x, labels[:5], "need as many labels"),
        (x, labels + 2, "from 0 to 1, or -1"),
        (x, torch.full((20,), -1), "got none"),
    ):
        with pytest.raises(ValueError, match=said):
            method(points, known, 2)


def test_the_network_of_a_discriminator_has_no_options():
    with pytest.raises(ValueError, match="--spatial-transformer belongs to a new network"):
        SemiSupervisedConfig(discriminator=Path("run"), spatial_transformer=True)
