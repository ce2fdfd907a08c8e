"""Units of likelihood, and the binary data that it is measured on."""

from math import exp, log

import pytest
import torch

from genlab.data import DataError, load
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
