"""Purifiers against closed forms: least squares, pixel-by-pixel search by whole passes, their own promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from attacks.core.ball import Linf
from attacks.defences.detection import Detector
from attacks.defences.purify import DefenseGAN, FilterDetected, PixelDefend, Reconstruct, magnet
from attacks.defences.scores import ReconstructionError
from attacks.defences.smoothing import BitDepth, Filtered, Mean
from attacks.latent import LatentAttack
from attacks.pgd import FGSM
from genlab.likelihood.pixels import Bernoulli, LogisticMixture, Palette, PixelDistribution, Regression, Softmax
from genlab.nets.causal import CausalNet
from genlab.nets.pixelcnn import GatedPixelCNN


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def seeded(make: Callable[[], Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


class Plane(nn.Module):
    """z (N, 3) -> 0.5 + A z, images of 4 x 4 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(0.1 * (draw(16, 3) - 0.5))

    def forward(self, z: Tensor) -> Tensor:
        return (0.5 + z @ self.a.T).view(-1, 1, 4, 4)


class Folded(nn.Module):
    """A generator with many valleys, that draws at random and counts batches while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Dropout(0.5), nn.Linear(32, 16))

    def forward(self, z: Tensor) -> Tensor:
        return self.body(6 * z).sin().add(1).div(2).view(-1, 1, 4, 4)


def pixel_model(head: PixelDistribution) -> tuple[CausalNet, PixelDistribution]:
    net = seeded(lambda: GatedPixelCNN(head.inputs, head.groups, 6, 2, head.outputs))
    for p in net.parameters():
        p.data.mul_(3)  # so that it is sure of something
    return net, head


HEADS = {"softmax": Softmax(2, 5), "logistic": LogisticMixture(2, 2, 9), "bernoulli": Bernoulli(2)}


def test_defense_gan_on_a_linear_generator_is_the_projection_onto_its_plane() -> None:
    plane, x = Plane(), 0.3 + 0.4 * draw(6, 1, 4, 4, seed=1)
    found = DefenseGAN(plane, 3, restarts=2, steps=150, lr=0.3)(x)
    z = torch.linalg.lstsq(plane.a.detach(), (x - 0.5).flatten(1).T).solution.T
    assert torch.allclose(found, plane(z).detach(), atol=1e-4)
    assert (found - x).abs().mean() > 0.05


def test_more_restarts_come_nearer_and_no_image_depends_on_the_others() -> None:
    folded, x = seeded(Folded), draw(5, 1, 4, 4)
    state = {name: value.clone() for name, value in folded.state_dict().items()}
    few, many = (DefenseGAN(folded, 2, restarts=n, steps=30) for n in (1, 12))
    few.starts = many.starts[:1]
    near, far = ((x - gan(x)).square().flatten(1).mean(1) for gan in (many, few))
    assert (near <= far + 1e-6).all() and near.mean() < 0.95 * far.mean()
    assert torch.allclose(torch.cat([many(one[None]) for one in x]), many(x), atol=1e-3)
    assert torch.equal(many(x), many(x)) and not torch.equal(many(x), DefenseGAN(folded, 2, 12, 30, seed=1)(x))
    assert folded.body[3].training and all(torch.equal(state[n], v) for n, v in folded.state_dict().items())


def test_the_attack_through_latents_finds_the_nearest_image_that_the_generator_draws() -> None:
    plane, w = Plane(), draw(16, seed=1) - 0.5
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
    with torch.no_grad():
        net[1].weight.copy_(torch.stack([w, -w]))
        net[1].bias.zero_()
    z = torch.tensor([[1.0, -1.0, 0.5]])
    x = plane(z).detach()
    y = net(x).argmax(1)
    a, side = plane.a.detach().double().numpy(), (net(x)[0, 0] - net(x)[0, 1]).item()
    # min t: |A d| <= t, and w (x + A d) is zero
    rows = np.block([[a, -np.ones((16, 1))], [-a, -np.ones((16, 1))]])
    level = np.append(2 * w.double().numpy() @ a, 0.0)[None]
    least = linprog([0, 0, 0, 1], rows, np.zeros(32), level, [-side], bounds=[(None, None)] * 3 + [(0, None)]).fun
    purifier = DefenseGAN(plane, 3, restarts=2, steps=150, lr=0.3)
    defended = Filtered(purifier, net)
    for factor, fooled in ((1.1, True), (0.5, False)):
        attack = LatentAttack(Linf(factor * least), purifier, net, confidence=0.05)
        found = attack(defended, x, y)
        assert bool(defended(found).argmax(1) != y) is fooled
        assert float((found - x).abs().max()) <= factor * least + 1e-6
    assert "plane" not in repr(attack).lower() and plane.training and net.training


@pytest.mark.parametrize("name", HEADS)
def test_pixel_defend_is_the_greedy_search_by_one_whole_pass_per_pixel(name: str) -> None:
    net, head = pixel_model(HEADS[name])
    x, eps = draw(3, 2, 4, 5), 0.6
    k, out = head.indices(x), x.clone()
    with torch.no_grad():
        for i, j, c in ((i, j, c) for i in range(4) for j in range(5) for c in range(2)):
            log_p = head.log_probs(net(head.encode(k))[:, :, :, i, j])[:, c]
            for n in range(3):
                allowed = [v for v in range(head.values) if abs(v / (head.values - 1) - x[n, c, i, j]) <= eps]
                k[n, c, i, j] = max(allowed, key=lambda v, row=log_p[n]: row[v])  # type: ignore[misc]
                out[n, c, i, j] = k[n, c, i, j] / (head.values - 1)
    found = PixelDefend(net, head, eps)(x)
    assert torch.equal(found, out) and (found - x).abs().max() > 0.3


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("eps", [0.0, 0.1, 0.25, 1.0])
def test_pixel_defend_never_leaves_eps_and_with_none_is_the_identity(name: str, eps: float) -> None:
    net, head = pixel_model(HEADS[name])
    x = torch.cat([draw(3, 2, 4, 5), head.images(head.indices(draw(2, 2, 4, 5, seed=1)))])
    found = PixelDefend(net, head, eps)(x)
    assert (found - x).abs().max() <= eps + 1e-6 and found.min() >= 0 and found.max() <= 1
    assert eps > 0 or torch.equal(found, x)
    assert eps < 1 or not torch.equal(found, x)
    assert torch.equal(PixelDefend(net, head, eps)(x[:1]), found[:1])


def test_purifiers_stand_before_a_model_and_are_attacked_through() -> None:
    x, model = draw(4, 2, 4, 4), seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 3)))
    y = model(x).argmax(1)
    folded = nn.Sequential(nn.Linear(2, 32), nn.Sigmoid(), nn.Unflatten(1, (2, 4, 4)))
    net, head = pixel_model(HEADS["softmax"])
    gated = FilterDetected(Detector(ReconstructionError(Mean(3)), 0.0), BitDepth(1))
    for filter in (DefenseGAN(folded, 2, 2, 5), PixelDefend(net, head), Reconstruct(Mean(3)), gated):
        defended = Filtered(filter, model)
        assert torch.equal(defended.adaptive()(x), model(filter(x)))
        assert defended.adaptive().straight_through == (not isinstance(filter, Reconstruct))
        adv = FGSM(Linf(0.1))(defended.adaptive(), x, y)
        assert ((adv - x).abs().flatten(1).amax(1) > 0.05).all()
        filter.to("meta")
        assert all(tensor.is_meta for tensor in [*filter.parameters(), *filter.buffers()])


class Coder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.brighter = nn.Parameter(torch.tensor(0.7))

    def reconstruct(self, x: Tensor) -> Tensor:
        return x + self.brighter


def test_a_reformer_stays_in_the_box_and_takes_its_network_along() -> None:
    filter = Reconstruct(Coder().reconstruct)
    assert torch.equal(filter(torch.tensor([0.2, 0.9])), torch.tensor([0.9, 1.0]))
    assert [p.shape for p in filter.parameters()] == [()]


def test_only_what_raises_the_alarm_is_purified() -> None:
    x = torch.cat([draw(3, 1, 4, 4).round(), draw(3, 1, 4, 4, seed=1)])
    both = FilterDetected(Detector(ReconstructionError(BitDepth(1)), 1e-6), Mean(3))(x)
    assert torch.equal(both[:3], x[:3]) and torch.equal(both[3:], Mean(3)(x[3:]))
    assert torch.equal(FilterDetected(Detector(ReconstructionError(BitDepth(1)), 1.0), Mean(3))(x), x)


def test_magnet_refuses_what_is_far_from_its_images_and_keeps_its_promise_on_others() -> None:
    smooth = lambda n, seed: Mean(3)(Mean(3)(draw(n, 1, 6, 6, seed=seed)))  # noqa: E731
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 3)))
    guarded = magnet(model, Mean(3), smooth(600, 0), fpr=0.09)
    assert len(guarded.detectors) == 3
    alarms = [(guarded(x).argmax(1) == 3).double().mean().item() for x in (smooth(600, 1), draw(600, 1, 6, 6, seed=2))]
    assert alarms[0] < 0.09 + 4 * (0.09 / 300) ** 0.5 and alarms[1] > 0.95
    assert torch.equal(guarded(draw(5, 1, 6, 6))[:, :3], model(Mean(3)(draw(5, 1, 6, 6))))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: DefenseGAN(Plane(), 3, restarts=0), "restarts.*0"),
        (lambda: DefenseGAN(Plane(), 3, lr=0.0), "lr.*0.0"),
        (lambda: PixelDefend(*pixel_model(HEADS["softmax"]), eps=-0.1), "eps.*-0.1"),
        (lambda: PixelDefend(*pixel_model(Palette(3, 4))), "Palette"),
        (lambda: PixelDefend(*pixel_model(Regression(1))), "Regression"),
        (lambda: magnet(nn.Flatten(), Mean(3), draw(9, 1, 6, 6), 0.01), "at least 299 clean images, got 9"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_a_reconstruction_in_a_tuple_is_found_and_images_outside_the_range_are_named():
    x = torch.rand(4, 1, 3, 3).round()
    assert torch.equal(Reconstruct(lambda x: (x / 2, x, x))(x), x / 2)
    signed = nn.Sequential(nn.Linear(2, 9), nn.Hardtanh(), nn.Unflatten(1, (1, 3, 3)))
    with torch.no_grad():
        signed[0].weight.fill_(9)
    for defence in (Reconstruct(lambda x: 2 * x - 1), DefenseGAN(signed, latent=2, steps=1, restarts=2)):
        with pytest.raises(ValueError, match=r"images must be in \[0, 1\], but a model returned -1 to 1: bring it to"):
            defence(x)
    with pytest.raises(ValueError, match="must return images, got dict"):
        Reconstruct(lambda x: {"x": x})(x)
