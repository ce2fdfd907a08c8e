"""Units of likelihood, and the binary data that it is measured on."""

from math import exp, log

import pytest
import torch
from sklearn.cluster import KMeans

from genlab.data import DataError, load
from genlab.latent.k_means import k_means
from genlab.likelihood.units import bits_per_dim, dequantise, discrete, likelihood, logistic_mass


def test_a_uniform_model_of_bytes_costs_eight_bits_a_dimension():
    data = load("digits", "test")
    found = likelihood(lambda x: -64 * log(256) * torch.ones(len(x)), data)
    assert found["bits_per_dim"] == pytest.approx(8) and found["nats"] == pytest.approx(64 * log(256))
    assert bits_per_dim(log(2), (1, 1, 1)) == pytest.approx(1)


def test_the_unit_density_of_dequantised_bytes_also_costs_eight_bits():
    x = load("digits", "test").x
    y = dequantise(x)
    assert y.min() >= 0 and y.max() < 1 and torch.equal((y * 256).floor(), (x * 255).round())
    nats = -discrete(torch.zeros(len(x)), x.shape[1:])
    assert bits_per_dim(float(nats.mean()), x.shape[1:]) == pytest.approx(8)


def test_the_mass_of_a_logistic_is_exact_in_the_middle_in_its_tails_and_to_its_ends():
    low, high = torch.tensor([-1.0, 30.0, -torch.inf, 2.0]).double(), torch.tensor([0.5, 31.0, 0.0, torch.inf]).double()
    exact = [float(torch.sigmoid(high[0]) - torch.sigmoid(low[0])), exp(-30) - exp(-31), 0.5, 1 / (1 + exp(2))]
    assert logistic_mass(low, high).exp().tolist() == pytest.approx(exact, rel=1e-6)


def test_binary_data_keep_their_mean_and_are_always_the_same():
    grey, binary = load("digits", "train"), load("binary:digits", "train")
    assert binary.pixels.unique().tolist() == [0, 255] and binary.name == "binary:digits"
    assert torch.equal(binary.labels, grey.labels)
    assert (binary.x.mean() - grey.x.mean()).abs() < 0.003
    assert binary.x[(grey.x == 0) | (grey.x == 1)].eq(grey.x[(grey.x == 0) | (grey.x == 1)]).all()
    assert torch.equal(binary.pixels, load("binary:digits", "train").pixels)
    assert not torch.equal(load("binary:digits", "test").pixels[:99], binary.pixels[:99])
    assert load("binary:sprites", "test", size=8, channels=1).shape == (1, 8, 8)
    assert load("unpaired:binary:digits,glyphs", "test", channels=1).shape == (1, 32, 32)


def test_binary_data_of_an_unknown_name_are_refused():
    with pytest.raises(DataError, match="did you mean 'digits'"):
        load("binary:digts")


def test_k_means_is_that_of_scikit_learn_and_an_empty_cluster_stays_where_it_is():
    points = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    centres, counts, error = k_means(points, points[:5])
    known = KMeans(5, init=points[:5].numpy(), n_init=1, tol=0).fit(points.numpy())
    assert torch.allclose(centres, torch.from_numpy(known.cluster_centers_), atol=1e-5)
    assert counts.tolist() == [int((known.labels_ == k).sum()) for k in range(5)]
    assert float(error) == pytest.approx(known.inertia_ / 200, rel=1e-5)
    far = torch.full((1, 3), 100.0)
    centres, counts, _ = k_means(points, torch.cat([points[:2], far]))
    assert counts[2] == 0 and torch.equal(centres[2:], far)
    with pytest.raises(ValueError, match="k-means takes"):
        k_means(points, points[:2, :2])
