"""Folders as users bring them: depths of pixels, layouts, few images, and what is passed over."""

import os
import socket
import struct
import zlib
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.data import DataError, Folder, Images, Pair, Stream, load
from genlab.data import decode as decoding
from genlab.data.decode import Budget, ImageDecoder, Unreadable
from genlab.data.domains import names
from genlab.data.images import to_float
from genlab.run import Run, RunError


def save(path: Path, values=0, size: int = 12) -> Path:
    """An array, or a plain grey image, as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((size, size), values, np.uint8) if isinstance(values, int) else values
    if values.dtype == np.uint32:
        path.write_bytes(tiff(values))
    else:
        Image.fromarray(values).save(path)
    return path


def tiff(values: np.ndarray) -> bytes:
    """Unsigned integers of 32 bits, which Pillow does not write."""
    height, width = values.shape
    tags = {256: width, 257: height, 258: 32, 259: 1, 262: 1, 273: 8 + 2 + 9 * 12 + 4, 278: height,
            279: values.nbytes, 339: 1}  # fmt: skip
    rows = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(4) + values.tobytes()


def chart(white: float, dtype, size: int = 16) -> np.ndarray:
    """Left half black, right half white."""
    values = np.zeros((size, size), dtype)
    values[:, size // 2 :] = white
    return values


def ends(path: Path, split: str = "train", **options) -> list[list[int]]:
    """The colours at the left and the right edge of every image in a folder."""
    pixels = load(f"folder:{path}", split, size=8, **options).pixels
    return [[int(p[0, 4, 0]), int(p[0, 4, 7])] for p in pixels]


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


# ---- depths


@pytest.mark.parametrize("resident", [0, 1 << 30])
@pytest.mark.parametrize(
    ("values", "suffix", "warned"),
    [
        (chart(65535, np.uint16), "png", ""),
        (chart(65535, np.uint16), "tif", ""),
        (chart(4095, np.uint16), "png", "0 as black and 4095 as white"),
        (chart(4000, np.uint16), "tif", "0 as black and 4095 as white"),
        (chart(255, np.uint16), "png", "0 as black and 255 as white"),
        (chart(255, np.int32), "tif", "0 as black and 255 as white"),
        (chart(65535, np.int32), "tif", "0 as black and 65535 as white"),
        (chart(2**32 - 1, np.uint32), "tif", "0 as black and 4.29497e+09 as white"),
        (chart(1, np.float32), "tif", ""),
        (chart(1.02, np.float32), "tif", "0 as black and 1 as white"),
        (chart(255, np.float32), "tif", "0 as black and 255 as white"),
        (chart(65535, np.float32), "tif", "0 as black and 65535 as white"),
        (chart(2, np.float32) - 1, "tif", "-1 as black and 1 as white"),
        (chart(True, bool), "png", ""),
        (chart(255, np.uint8), "png", ""),
    ],
)
def test_white_is_white_at_every_depth(values, suffix, warned, resident, tmp_path, caplog):
    for k in range(2):
        save(tmp_path / f"{k}.{suffix}", values)
    images = load(f"folder:{tmp_path}", size=8, resident=resident)
    pixels, _ = images.gather(torch.tensor([0]))
    black, white = pixels[0, :, 4, 0].tolist(), pixels[0, :, 4, 7].tolist()
    assert all(abs(b) <= 5 for b in black) and all(abs(w - 255) <= 6 for w in white)
    load(f"folder:{tmp_path}", "test", size=8)
    assert len(said(caplog)) == bool(warned)
    assert not warned or warned in caplog.text and str(tmp_path) in caplog.text


def test_one_bright_pixel_turns_no_float_image_black(tmp_path):
    values = chart(1, np.float32)
    values[0, 0] = 300
    save(tmp_path / "a.tif", values)
    assert ends(tmp_path) == [[0, 255]]


def test_deep_images_of_a_folder_keep_their_relation_in_both_splits(tmp_path, caplog):
    for k in range(20):
        save(tmp_path / f"{k}.png", np.full((9, 9), 200 * k, np.uint16))
    found = sorted(left for split in ("train", "test") for left, _ in ends(tmp_path, split))
    assert found == [round(200 * k * 255 / 4095) for k in range(20)]
    assert len(said(caplog)) == 1 and "20 16-bit images are from 0 to 3800" in caplog.text


def test_an_image_that_is_not_finite_is_skipped_by_name(tmp_path, caplog):
    save(tmp_path / "train" / "good.tif", chart(1, np.float32))
    save(tmp_path / "train" / "bad.tif", chart(np.nan, np.float32))
    (tmp_path / "test").mkdir()
    assert ends(tmp_path) == [[0, 255]]
    assert "1 pixels are NaN or infinite ('train/bad.tif')" in caplog.text


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, rows: bytes, depth: int = 8) -> bytes:
    header = struct.pack(">2I5B", width, height, depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("white", "warned"), [(65535, 0), (4095, 1)])
def test_white_is_white_in_colours_of_16_bits(white, warned, tmp_path, caplog):
    row = b"\0" + np.repeat([0, white], [12, 12]).astype(">u2").tobytes()
    for k in range(2):
        (tmp_path / f"{k}.png").write_bytes(png(8, 8, 8 * row, 16))
    assert ends(tmp_path) == [[0, 255]] and len(said(caplog)) == warned


def test_palettes_greys_and_first_frames_are_as_they_were(tmp_path):
    first, second = (Image.new("P", (8, 8), colour) for colour in (0, 1))
    for frame in (first, second):
        frame.putpalette([255, 255, 255, 0, 0, 0])
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert ends(tmp_path) == [[255, 255]]
    (tmp_path / "a.gif").unlink()
    pages = [Image.fromarray(chart(white, np.uint8)) for white in (200, 100)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert ends(tmp_path) == [[0, 200]]


# ---- pixels in flight


class Counting(Budget):
    """Remembers the most that was ever taken, and holds on to it for a moment, so that all threads come."""

    def __init__(self, total):
        super().__init__(total)
        self.most, self.asked = 0, []

    def taken(self, n):
        self.asked.append(n)
        outer = super().taken(n)

        class Held:
            def __enter__(held):
                outer.__enter__()
                self.most = max(self.most, self.used)
                sleep(0.002)

            def __exit__(held, *error):
                return outer.__exit__(*error)

        return Held()


@pytest.mark.parametrize(("total", "most"), [(1000, 900), (2000, 1800), (100, 900)])
def test_pixels_in_flight_are_bounded_over_all_threads(total, most, tmp_path, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr(decoding, "IN_FLIGHT", budget := Counting(total))
    files = [save(tmp_path / f"{k}.png", k, size=30) for k in range(12)]
    decoder = ImageDecoder("many", tmp_path, files, 4, 1)
    with ThreadPoolExecutor(8) as pool:
        assert [int(square[0, 0, 0]) for square in pool.map(decoder, files)] == list(range(12))
    assert budget.asked == [900] * 12 and budget.most == most and budget.used == 0


def test_room_is_given_back_when_decoding_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "IN_FLIGHT", budget := Counting(1000))
    (tmp_path / "cut.png").write_bytes(png(30, 30, bytes(99)))
    with pytest.raises(Unreadable):
        ImageDecoder("cut", tmp_path, [], 4, 3)(tmp_path / "cut.png")
    assert budget.asked == [900] and budget.used == 0


def test_a_photograph_counts_as_what_is_decoded_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "IN_FLIGHT", budget := Counting(10**9))
    for progressive in (False, True):
        Image.new("RGB", (800, 800)).save(tmp_path / "a.jpg", progressive=progressive)
        ImageDecoder("photos", tmp_path, [], 50, 3)(tmp_path / "a.jpg")
    assert budget.asked == [100 * 100, 800 * 800]


@pytest.mark.parametrize("inner", ["png", "bitmap"])
def test_an_icon_is_refused_by_what_it_would_decode_to(inner, tmp_path):
    body = png(12000, 12000, b"") if inner == "png" else struct.pack("<I2i2H", 40, 12000, 24000, 1, 32) + bytes(24)
    entry = struct.pack("<4B2H2I", 0, 0, 0, 0, 1, 32, len(body), 22)
    (tmp_path / "a.ico").write_bytes(b"\0\0\1\0\1\0" + entry + body)
    decoder = ImageDecoder("icons", tmp_path, [], 4, 3)
    for read in (decoder, decoder.check):
        with pytest.raises(Unreadable, match="an icon is more than 64 megapixels"):
            read(tmp_path / "a.ico")
    Image.new("RGB", (32, 32), "red").save(tmp_path / "b.ico")
    assert decoder(tmp_path / "b.ico")[0, 0].tolist() == [255, 0, 0]


def test_a_container_that_hides_how_large_its_picture_is_is_not_read(tmp_path, caplog):
    Image.new("RGB", (64, 64)).save(tmp_path / "icon.png", format="ICNS")
    with pytest.raises(DataError, match="no readable image"):
        load(f"folder:{tmp_path}")
    assert "not an image that Pillow can read" in caplog.text


# ---- what is passed over


def test_what_no_image_can_be_read_from_is_counted_and_named_and_nothing_hangs(tmp_path, caplog):
    save(tmp_path / "a" / "good.png"), save(tmp_path / "a" / "too.png"), save(tmp_path / "b" / "good.png")
    os.mkfifo(tmp_path / "a" / "fifo.png")
    (tmp_path / "a" / "loop.png").symlink_to("loop.png")
    (tmp_path / "a" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "b" / "self").symlink_to(tmp_path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "a" / "photo.heic").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_text("not meant to be an image")
    listener = socket.socket(socket.AF_UNIX)
    old = Path.cwd()
    os.chdir(tmp_path)  # the name of a socket must be short
    listener.bind("s.png")
    os.chdir(old)
    images = load(f"folder:{tmp_path}")
    listener.close()
    assert images.classes == ("a", "b") and len(images) == 2
    (line,) = said(caplog)
    for words in (
        "2 no regular files ('s.png', 'a/fifo.png')",
        "1 dangling links ('a/gone.png')",
        "symbolic links ('a/loop.png')",
        "1 links back to a folder around them ('b/self')",
        "1 of a format that is not read ('a/photo.heic')",
    ):
        assert words in line
    assert "notes.txt" not in line and str(tmp_path) in line and "\n" not in line


def test_a_file_that_becomes_a_fifo_while_training_is_skipped(tmp_path):
    for k in range(4):
        save(tmp_path / f"{k}.png", 10 * k)
    folder = load(f"folder:{tmp_path}", resident=0)
    assert isinstance(folder, Folder)
    folder.files[0].unlink()
    os.mkfifo(folder.files[0])
    assert folder.gather(torch.tensor([0, 1]))[0].unique().numel() == 1 and folder.files[0] in folder.broken


def test_a_class_folder_that_may_not_be_read_is_named_and_the_others_are_used(tmp_path, caplog, monkeypatch):
    for name in ("a", "b", "c"):
        save(tmp_path / name / "0.png"), save(tmp_path / name / "1.png")
    allowed = os.scandir

    def scandir(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return allowed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert load(f"folder:{tmp_path}").classes == ("a", "c")
    assert "1 folders that cannot be listed: Permission denied ('b')" in caplog.text


def test_a_file_that_may_not_be_read_is_named(tmp_path, caplog, monkeypatch):
    for k in range(5):
        save(tmp_path / f"{k}.png")
    allowed = open

    def opening(path, *rest):
        if Path(path).name == "3.png":
            raise PermissionError(13, "Permission denied", str(path))
        return allowed(path, *rest)

    monkeypatch.setattr(decoding, "open", opening, raising=False)
    sizes = [len(load(f"folder:{tmp_path}", split)) for split in ("train", "test")]
    assert sizes == [3, 1] and "1 Permission denied ('3.png')" in caplog.text


def test_images_beside_and_inside_class_folders_are_counted(tmp_path, caplog):
    for k in range(7):
        save(tmp_path / f"beside{k}.png")
        save(tmp_path / "cat" / f"{k}.png"), save(tmp_path / "dog" / f"{k}.png")
    for k in range(3):
        save(tmp_path / "cat" / "more" / f"{k}.png")
    assert load(f"folder:{tmp_path}").classes == ("cat", "dog")
    (line,) = said(caplog)
    assert "7 beside the class folders ('beside0.png'" in line and "'beside4.png', ...)" in line
    assert "3 in folders inside class folders ('cat/more/0.png'" in line
    load(f"folder:{tmp_path}", "test")
    assert len(said(caplog)) == 1


def test_classes_nested_one_deeper_are_named_in_the_refusal(tmp_path):
    for name in ("cat", "dog"):
        save(tmp_path / "animals" / name / "0.png")
    with pytest.raises(
        DataError, match=r"no readable image .* 2 in folders inside class folders \('animals/cat/0.png'"
    ):
        load(f"folder:{tmp_path}")
    assert load(f"folder:{tmp_path / 'animals'}").classes == ("cat", "dog")


# ---- layouts


def layout(root: Path, **counts: int) -> Path:
    """counts: "train__cat" -> so many images in train/cat."""
    for first, (name, n) in enumerate(counts.items()):
        for k in range(n):
            save(root.joinpath(*name.split("__")) / f"{name}{k}.png", 10 * k + first)
    return root


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize(
    ("halves", "sizes", "words"),
    [
        (("train", "test"), (20, 5), ""),
        (("train", "val"), (20, 5), "it has no test/, so val/ is the test split"),
        (("Train", "Valid"), (20, 5), "it has no test/, so Valid/ is the test split"),
        (("train", "validation"), (20, 5), "validation/ is the test split"),
        (("training", "testing"), (20, 5), ""),
        (("train", "test", "val"), (20, 5), "1 beside the splits ('val')"),
        (("train",), (18, 2), "it has no test/ or val/, so the test split is a tenth of train/"),
    ],
)
def test_splits_on_disk_are_never_classes(halves, sizes, words, classes, tmp_path, caplog):
    for half, n in zip(halves, (20, 5, 3)):
        if classes:
            layout(tmp_path / half, cat=n // 2, dog=n - n // 2)
        else:
            layout(tmp_path, **{half: n})
    train, test = load(f"folder:{tmp_path}"), load(f"folder:{tmp_path}", "test")
    assert (len(train), len(test)) == sizes and train.classes == test.classes
    assert train.classes == (("cat", "dog") if classes else ("images",))
    assert len(said(caplog)) == bool(words) and words in caplog.text


@pytest.mark.parametrize("half", ["test", "val", "test__cat"])
def test_a_test_split_alone_is_refused_naming_what_is_missing(half, tmp_path):
    layout(tmp_path, **{half: 3})
    with pytest.raises(DataError, match=rf"holds {half[:4].strip('_')}/ but no train/; to use"):
        load(f"folder:{tmp_path}")


def test_a_class_may_be_called_train(tmp_path, caplog):
    layout(tmp_path, train=4, car=4, plane=4)
    assert load(f"folder:{tmp_path}").classes == ("car", "plane", "train")
    assert "train/ is used as a class" in caplog.text


def test_sides_may_be_held_out_as_validation_or_not_at_all(tmp_path, caplog):
    layout(tmp_path / "a", trainA=20, trainB=10, valA=3, valB=2)
    layout(tmp_path / "b", trainA=20, trainB=10, extra=2)
    sizes = []
    for root in (tmp_path / "a", tmp_path / "b"):
        train, test = load(f"unpaired:{root}", size=4), load(f"unpaired:{root}", "test", size=4)
        assert isinstance(train, Pair) and isinstance(test, Pair)
        sizes.append([len(train.a), len(train.b), len(test.a), len(test.b)])
    assert sizes == [[20, 10, 3, 2], [18, 9, 2, 1]]
    first, second = said(caplog)
    assert "so valA and valB are the test split" in first
    assert "so the test split is a tenth of trainA and trainB; not used: 2 in none of these folders" in second


# ---- few and wide images


@pytest.mark.parametrize("resident", [0, 1 << 30])
@pytest.mark.parametrize(
    "layouts", [{"images": 1}, {"images": 2}, {"cat": 3}, {"cat": 1, "dog": 1}, {"cat": 1, "dog": 2}]
)
def test_a_folder_of_few_images_trains_and_tests(layouts, resident, tmp_path, caplog):
    root = layout(tmp_path, **layouts)
    train, test = (load(f"folder:{root}", split, size=4, resident=resident) for split in ("train", "test"))
    n = sum(layouts.values())
    same = max(layouts.values()) == 1
    assert (len(train), len(test)) == ((n, n) if same else (n - 1, 1)) and train.classes == tuple(layouts)
    assert len(said(caplog)) == same and (not same or "so both splits are the same" in caplog.text)
    stream = Stream(train, 16)
    for _ in range(3):
        x, y = next(stream)
        assert x.shape == (16, 3, 4, 4) and len(y) == 16
    assert x.flatten(1).unique(dim=0).shape[0] == len(train) or same


def test_wide_images_are_cut_square_with_a_word(tmp_path, caplog):
    wide = np.zeros((8, 40), np.uint8)
    wide[:, 16:24] = 200
    for k in range(4):
        save(tmp_path / f"{k}.png", wide)
    assert ends(tmp_path) == [[200, 200]] * 3
    load(f"folder:{tmp_path}", "test")
    load(f"folder:{tmp_path}", resident=0)
    (line,) = said(caplog)
    assert "centre-cropped" in line and str(tmp_path) in line


# ---- arrays and tensors


RAMP = np.linspace(0, 1, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
BYTES = torch.from_numpy(np.rint(RAMP * 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("x", "warned"),
    [
        (torch.from_numpy(RAMP), False),
        (RAMP.astype(np.float32), False),
        (torch.from_numpy(RAMP).bfloat16(), False),
        (BYTES, False),
        (BYTES.numpy(), False),
        (torch.from_numpy(RAMP * 1.02 - 0.01), True),
        (torch.from_numpy(RAMP * 255).float(), True),
        (RAMP * 65535, True),
        (BYTES.int(), True),
        (BYTES.long(), True),
        (np.rint(RAMP * 4095).astype(np.uint16), True),
        (np.rint(RAMP * 65535).astype(np.uint16), False),
        (torch.from_numpy(np.rint(RAMP * 65535).astype(np.uint16)), False),
        (torch.from_numpy(RAMP * 2 - 1), True),
        (RAMP.transpose(0, 2, 3, 1), False),
        (np.where(RAMP == 1, 1.5, RAMP), True),
    ],
)
def test_tensors_and_arrays_of_every_range_become_one_set(x, warned, caplog, request):
    images = Images.of(x, [0, 1], ("a", "b"), name=request.node.name)
    assert images.shape == (3, 4, 4) and images.classes == ("a", "b") and images.labels.tolist() == [0, 1]
    assert (images.pixels.int() - BYTES.int()).abs().max() <= 3
    assert len(said(caplog)) == warned


def test_masks_and_grey_images_need_no_labels():
    images = Images.of(torch.tensor([[[True, False]], [[False, True]]]))
    assert (
        images.shape == (1, 1, 2) and images.pixels.flatten().tolist() == [255, 0, 0, 255] and len(images.classes) == 1
    )


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (torch.full((1, 1, 2, 2), torch.nan), None, "pixels are NaN or infinite"),
        (torch.full((1, 1, 2, 2), torch.inf), None, "pixels are NaN or infinite"),
        (torch.tensor([[[-2.1, 2.6]]]), None, r"from -2.1 to 2.6 fit no usual range; bring them to \[0, 1\]"),
        (torch.full((1, 1, 2, 2), -3), None, "from -3 to -3 fit no usual range"),
        (torch.zeros(2, 5, 4, 4), None, r"of 1 or 3 channels, not torch.float32 \(2, 5, 4, 4\)"),
        (torch.zeros(0, 1, 4, 4), None, "there are no pixels"),
        (torch.zeros(2, 1, 4, 4), [0.5, 1], "labels must be integers"),
        (torch.zeros(2, 1, 4, 4), [0], r"labels must be int64 \(2,\)"),
    ],
)
def test_arrays_that_are_no_images_get_one_sentence(x, y, words):
    with pytest.raises(ValueError, match=words):
        Images.of(x, y)


def test_integers_of_unknown_white_are_no_pixels():
    with pytest.raises(ValueError, match=r"uint8 or float, not torch.int32; Images.of finds"):
        to_float(torch.zeros(1, dtype=torch.int32))


# ---- names


def test_a_comma_in_a_path_does_not_divide_it(tmp_path, monkeypatch):
    layout(tmp_path, **{"cats, small": 4, "dogs": 4, "both,of,them__trainA": 3, "both,of,them__trainB": 3})
    comma = tmp_path / "cats, small"
    for name in (f"unpaired:{comma},{tmp_path / 'dogs'}", f"unpaired:folder:{comma},night:{tmp_path / 'dogs'}"):
        pair = load(name, size=4)
        assert isinstance(pair, Pair) and len(pair.a) == len(pair.b) == 3 and len(names(name)) == 2
    assert len(load(f"unpaired:{tmp_path / 'both,of,them'}", size=4)) == 2
    assert names(f"unpaired:{tmp_path / 'both,of,them'}") == ("A", "B")
    domains = load(f"domains:{comma},digits,{tmp_path / 'both,of,them'}:trainA", size=4)
    assert domains.classes == (str(comma), "digits", f"{tmp_path / 'both,of,them'}:trainA")
    for plain in ("digits,night:digits", "mnist:3,mnist:5", "digits,nowhere"):
        assert names(f"unpaired:{plain}") == tuple(plain.split(","))


def test_a_run_of_other_data_is_named_by_the_data(tmp_path):
    Run.create(tmp_path / "run", {"classes": 1, "shape": [3, 32, 32], "data": {"data": "folder:x"}})
    with pytest.raises(RunError, match="data.data is 'folder:x' there and 'digits' here"):
        Run.create(tmp_path / "run", {"classes": 10, "shape": [1, 8, 8], "data": {"data": "digits"}})


def test_classes_without_images_are_named(tmp_path, caplog):
    for where in ("train/a", "train/b", "test/a", "test/c"):
        save(tmp_path / where / "0.png")
    (tmp_path / "train" / "empty").mkdir()
    found = load(f"folder:{tmp_path}", size=8)
    assert found.classes == ("a", "b", "c")
    assert "train/ holds no image of the class 'c'" in caplog.text
    assert "test/ holds no image of the class 'b'" in caplog.text
    assert "1 folders without images ('train/empty')" in caplog.text
