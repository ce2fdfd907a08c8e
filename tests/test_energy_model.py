"""The energy-based model against the Gaussian that a quadratic score describes, and the gradient of a linear one."""

import pytest
import torch
from torch import nn
from toys import SHAPE, LinearCritic, make, stream

from genlab.methods.likelihood.energy_model import EnergyModel, EnergyModelConfig
from genlab.training.update import Update


class Quadratic(nn.Module):
    """The log density of a Gaussian around 0.5."""

    def __init__(self, deviation: float):
        super().__init__()
        self.precision = nn.Parameter(torch.tensor(deviation**-2))

    def forward(self, x):
        return -0.5 * self.precision * (x - 0.5).square().flatten(1).sum(1)


def linear(**options):
    return EnergyModel(LinearCritic(), SHAPE, EnergyModelConfig(**options))


def test_chains_draw_from_the_gaussian_whose_log_density_is_the_score():
    torch.manual_seed(0)
    deviation, step_size = 0.05, 2e-4
    config = EnergyModelConfig(pool=2000, steps=200, step_size=step_size, noise=(2 * step_size) ** 0.5)
    method = EnergyModel(Quadratic(deviation), SHAPE, config)
    x = method.sample(2000)
    assert abs(float(x.mean()) - 0.5) < 1e-3
    expected = deviation**2 / (1 - step_size / deviation**2 / 2)  # stationary variance of steps of this size
    assert float(x.var()) == pytest.approx(expected, rel=0.02)


def test_without_noise_chains_climb_to_the_highest_score_and_never_leave_the_box():
    method = linear(pool=4, steps=50, step_size=1.0, noise=0.0)
    highest = (method.discriminator.weight > 0).float().expand(4, *SHAPE)
    torch.testing.assert_close(method.langevin(method.pool, 1000), highest)
    x = linear(step_size=100.0, noise=3.0).langevin(torch.rand(4, *SHAPE), 3)
    assert x.amin() >= 0 and x.amax() <= 1


def test_the_gradient_is_that_of_the_likelihood_and_the_chains_go_on_in_the_pool():
    method = linear(pool=8, steps=3, step_size=0.01, noise=0.0, restart=0.0, regularisation=0.0)
    before, data = method.pool.clone(), stream(batch=8)
    real, _ = next(stream(batch=8))
    method.step(data, Update(method.optimizers()))
    assert not torch.equal(method.pool, before)
    torch.testing.assert_close(method.discriminator.weight.grad, (method.pool - real).mean(0))


@pytest.mark.parametrize("restart", [0.0, 1.0])
def test_chains_begin_again_as_often_as_they_should(restart):
    method = linear(pool=8, step_size=0.0, noise=0.0, restart=restart)
    before = method.pool.clone()
    method.step(stream(batch=4), Update(method.optimizers()))
    changed = (method.pool != before).flatten(1).any(1)
    assert int(changed.sum()) == 4 * restart


def test_samples_are_different_chains_as_long_as_there_are_any():
    method = make("energy-model").eval()
    method.langevin = lambda x, steps: x
    assert len(method.sample(len(method.pool)).unique(dim=0)) == len(method.pool)
    assert len(method.sample(len(method.pool) + 3)) == len(method.pool) + 3


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"restart": 1.5}, "restart must be at least 0 and at most 1, got 1.5"),
        ({"pool": 0}, "pool must be at least 1 .*, got 0"),
        ({"norm": "batch"}, "one image at a time, not batch"),
        ({"minibatch": True}, "not minibatch"),
    ],
)
def test_bad_options_are_refused(options, why):
    with pytest.raises(ValueError, match=why):
        EnergyModelConfig(**options).build(SHAPE, 3)


def test_a_batch_of_more_images_than_chains_is_refused():
    method = linear(pool=3)
    with pytest.raises(ValueError, match="3 chains are too few for batches of 4"):
        method.step(stream(batch=4), Update(method.optimizers()))
