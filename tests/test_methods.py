"""The contract that every method of the lab keeps; toys.py lists them."""

import pytest
import torch
from toys import LEARNS, METHODS, make, source, stream

from genlab.run import Run
from genlab.train import Options, Update, fit


def state(method):
    return {name: value.clone() for name, value in method.state_dict().items()}


def same(a, b):
    return [name for name in a if not torch.equal(a[name], b[name])] == [] and a.keys() == b.keys()


@pytest.mark.parametrize(("precision", "half_life"), [("float32", None), ("bfloat16", 50.0)])
@pytest.mark.parametrize("name", METHODS)
def test_resuming_is_the_same_as_never_stopping(name, precision, half_life, tmp_path):
    how = dict(precision=precision, half_life=half_life, schedule="constant", clip=5.0, log_every=1000)
    whole, part, rest = make(name), make(name), make(name)
    a = fit(whole, stream(name=name), Options(images=160, **how), run=Run.create(tmp_path / "a", {}))
    half = [(80, lambda images, method: True)]  # stops there
    fit(part, stream(name=name), Options(images=160, **how), run=Run.create(tmp_path / "b", {}), hooks=half)
    torch.manual_seed(99)
    b = fit(rest, stream(name=name), Options(images=160, **how), run=Run(tmp_path / "b"))
    assert same(state(whole), state(rest)) and same(state(a), state(b))
    assert not same(state(whole), state(part))
    saved = [Run(tmp_path / run).checkpoints.load() for run in "ab"]
    assert saved[0]["images"] == saved[1]["images"] and saved[0]["step"] == saved[1]["step"]


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
        if step in (79, 119, 159) and last < factor * first:
            break  # learnt
    assert last < factor * first, (first, last)


@pytest.mark.parametrize("name", METHODS)
def test_pictures_are_images_and_figures_are_numbers(name):
    method = make(name).eval()
    before = state(method)
    for batch in method.pictures(source(name)).values():
        assert batch.ndim == 4 and batch.min() >= 0 and batch.max() <= 1
    assert all(isinstance(value, float) for value in method.evaluate(source(name)).values())
    if hasattr(method, "sample"):
        assert method.sample(3).shape == (3, 1, 8, 8)
    assert same(before, state(method))


def test_a_latent_of_the_wrong_width_is_refused_by_name():
    with pytest.raises(ValueError, match=r"latents \(N, 4\), got \(2, 5\)"):
        make("gan").generator(torch.zeros(2, 5))
