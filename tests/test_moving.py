"""Moving images with known futures, and the losses that a predictor learns by."""

import pytest
import torch

from genlab.data import Images, Stream
from genlab.data.moving import SHOWN, TURNS, moving
from genlab.methods.translation.pix2pix import LOSSES, Pix2Pix, Pix2PixConfig, gradient_difference
from genlab.nets.unet import UNet
from genlab.training.update import Update


def dots(n=40):
    """A dot in the middle of 8x8 pixels, as bright as its number."""
    pixels = torch.zeros(n, 1, 8, 8, dtype=torch.uint8)
    pixels[:, 0, 4, 4] = torch.arange(n) + 1
    return Images(pixels, torch.zeros(n).long(), ("dot",), "dots")


def test_a_dot_moves_on_or_turns_by_a_right_angle_and_stays_what_it_is():
    found = moving(dots(), 3)
    assert len(found) == 120 and found.past.shape == (120, SHOWN, 16, 16) and found.shape == (1, 16, 16)
    before, now = found.past.unbind(1)
    at = lambda frame: frame.flatten(1).argmax(1)
    place = lambda frame: torch.stack([at(frame) // 16, at(frame) % 16], 1)
    step = place(now) - place(before)
    assert (step.abs().sum(1) == 4).all() and {tuple(s) for s in step.tolist()} == {(4, 0), (-4, 0), (0, 4), (0, -4)}
    down, right = step.unbind(1)
    turned = {"straight": step, "right": torch.stack([right, -down], 1), "left": torch.stack([-right, down], 1)}
    for k, turn in enumerate(TURNS):
        frame = found.futures[:, k, 0]
        assert torch.equal(place(frame) - place(now), turned[turn])
        assert torch.equal(frame.amax((1, 2)), now.amax((1, 2))) and (frame.flatten(1).count_nonzero(1) == 1).all()
    assert found.turned.unique().tolist() == [0, 1, 2]
    past, came = found.gather(torch.arange(120))
    assert torch.equal(past, found.past) and torch.equal(came, found.futures[torch.arange(120), found.turned])
    with pytest.raises(ValueError, match="at least 2 pixels, got 1x1"):
        moving(Images(torch.zeros(4, 1, 1, 1, dtype=torch.uint8), torch.zeros(4).long(), ("a",), "small"))


def test_gradients_are_compared_by_their_size():
    a, b = torch.rand(2, 3, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    down = ((a[..., 1:, :] - a[..., :-1, :]).abs() - (b[..., 1:, :] - b[..., :-1, :]).abs()).abs().mean()
    across = ((a[..., 1:] - a[..., :-1]).abs() - (b[..., 1:] - b[..., :-1]).abs()).abs().mean()
    assert gradient_difference(a, b).item() == pytest.approx((down + across).item(), rel=1e-5)
    assert gradient_difference(a, 1 - a).item() == pytest.approx(0, abs=1e-6)


def test_the_weights_of_the_losses_are_those_of_the_options():
    data = Stream(moving(dots()), 8)
    torch.manual_seed(0)
    method = Pix2Pix(UNet((2, 16, 16), 1, 4, 2, noise=0.0), None, Pix2PixConfig(gan=0.0, l1=1.0, l2=2.0, gradient=3.0))
    seen = {}

    class Record(Update):
        def __call__(self, name, loss, leaves=()):
            seen[name] = loss.detach()

    found = method.step(data, Record(method.optimizers()))
    past, came = next(Stream(moving(dots()), 8))
    with torch.no_grad():
        each = {name: loss(method.translate(past), came) for name, loss in LOSSES.items()}
    torch.testing.assert_close(found, each)
    torch.testing.assert_close(seen["generator"], each["l1"] + 2 * each["l2"] + 3 * each["gradient"])
