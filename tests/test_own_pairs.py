"""The user's own pairs: `pairs:FOLDER`, and what pix2pix learns from them."""

import numpy as np
import pytest
import torch
from PIL import Image

import genlab
from genlab.cli.main import main
from genlab.data import DataError, Stream, load
from genlab.data.aligned import Aligned
from genlab.data.augment import Augment
from genlab.methods.translation.pix2pix import Pix2PixConfig
from genlab.run import Run

N = 12


def side(k, shift=0):
    return np.full((8, 8, 3), 10 * k + shift, np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def layout(base, kind, n=N):
    """n pairs, of which B is brighter than A by 100."""
    for k in range(n):
        half = "train" if k < n - 2 else "test"
        if kind == "joined":
            save(base / f"{k}.png", np.concatenate([side(k), side(k, 100)], 1))
        elif kind == "joined in splits":
            save(base / half / f"{k}.png", np.concatenate([side(k), side(k, 100)], 1))
        else:
            for letter, shift in (("A", 0), ("B", 100)):
                places = {"folders": letter, "folders in splits": f"{half}/{letter}", "split folders": half + letter}
                save(base / places[kind] / f"{k}.{'png' if letter == 'A' else 'bmp'}", side(k, shift))
    return base


KINDS = ("joined", "joined in splits", "folders", "folders in splits", "split folders")


@pytest.mark.parametrize("resident", [0, 1 << 30])
@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_keeps_partners_together(kind, resident, tmp_path):
    layout(tmp_path, kind)
    train, test = (load(f"pairs:{tmp_path}", split, size=4, resident=resident) for split in ("train", "test"))
    held = 2 if "split" in kind else 1
    assert isinstance(train, Aligned) and (len(train), len(test)) == (N - held, held) and train.shape == (3, 4, 4)
    stream = Stream(train, 8, augment=Augment(flip=True, crop=1))
    seen = set()
    for _ in range(4):
        x, y = next(stream)
        assert x.shape == y.shape == (8, 3, 4, 4)
        inside = (slice(None), 0, slice(1, 3), slice(1, 3))  # the crop fills with black
        assert torch.allclose((y - x)[inside], torch.tensor(100 / 255), atol=1e-6)
        seen |= {round(255 * value) // 10 for value in x[:, 0, 1, 1].tolist()}
    kept = {round(255 * value) // 10 for value in test.x[:, 0, 1, 1].tolist()}
    assert len(kept) == held and seen <= set(range(N)) - kept


def test_what_is_not_used_is_said(tmp_path, caplog):
    layout(tmp_path, "folders")
    save(tmp_path / "A" / "alone.png", side(0))
    (tmp_path / "B" / "0.bmp").write_bytes(b"damaged")
    assert len(load(f"pairs:{tmp_path}", size=4)) == N - 2 or len(load(f"pairs:{tmp_path}", "test", size=4)) == 1
    assert "1 without a partner of the same name ('A/alone.png')" in caplog.text and "('B/0.bmp')" in caplog.text


def test_folders_without_pairs_are_refused(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        load("pairs:nothing")
    with pytest.raises(DataError, match="no pairs for split 'train'.*neither images A|B side by side nor folders"):
        load(f"pairs:{tmp_path}")
    save(tmp_path / "square.png", side(1))
    with pytest.raises(DataError, match="1 not wider than high, so not two images side by side"):
        load(f"pairs:{tmp_path}")


def test_a_folder_of_double_images_names_the_pairs(tmp_path, caplog):
    load(f"folder:{layout(tmp_path, 'joined')}", size=4)
    assert "for two images side by side there is pairs:FOLDER" in caplog.text


def test_pix2pix_learns_own_pairs_in_either_direction(tmp_path, capsys):
    data = genlab.DataOptions(f"pairs:{layout(tmp_path / 'own', 'joined')}", size=8)
    run = lambda **how: genlab.Experiment(Pix2PixConfig(width=4, gan=0, noise=0, **how), data, images=64, batch=8)
    run().run(tmp_path / "run")
    found = Run(tmp_path / "run").results()
    assert found["input error"] == pytest.approx(100 / 255, abs=1e-3)
    x, y = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8)
    forth, back = (Pix2PixConfig(width=4, reverse=reverse).build((3, 8, 8), 0) for reverse in (False, True))
    assert forth.pair(x, y) == (x, y) and back.pair(x, y) == (y, x)
    words = ["train", "pix2pix", "--width", "4", "--images", "16", "--out", str(tmp_path / "x")]
    for wrong, said in [
        (["--data", data.data, "--size", "8", "--task", "edges:10"], "--task makes pairs of single images, but"),
        (["--data", "digits", "--reverse"], "--reverse needs pairs, as in --data pairs:FOLDER"),
    ]:
        capsys.readouterr()
        assert main([*words, *wrong]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1 and not (tmp_path / "x").exists()
    assert main([*words, "--data", data.data, "--size", "8", "--dry-run"]) == 0
