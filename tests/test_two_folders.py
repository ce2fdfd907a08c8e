"""`genlab evaluate --real DIR --fake DIR`, features by name, and the order of known corruptions."""

import io

import pytest
import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d, conv2d
from torchvision.transforms.functional import gaussian_blur

from genlab.cli.main import main
from genlab.data import Images, load
from genlab.data.whole_folder import whole_folder
from genlab.metrics.cmmd import cmmd
from genlab.metrics.evaluate import compare
from genlab.metrics.features import PixelFeatures
from genlab.metrics.own_features import Inception

FUNCTION = """
from torch.nn.functional import avg_pool2d
def coarse(x):
    return avg_pool2d(x, 4).flatten(1)
def wrong(x):
    return x
"""


@pytest.fixture(scope="module")
def clean():
    return load("sprites", "train", channels=1).subset(slice(0, 400))


class Filters:
    """Absolute responses to fixed random filters without a mean, averaged over quarters of the image."""

    name = "filters"

    def __init__(self):
        filters = torch.randn(32, 1, 3, 3, generator=torch.Generator().manual_seed(0))
        self.filters = filters - filters.mean((2, 3), keepdim=True)

    def __call__(self, x):
        return adaptive_avg_pool2d(conv2d(x, self.filters).abs(), 2).flatten(1)


def noise(x, strength):
    return (x + strength * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def jpeg(x, quality):
    def packed(picture):
        file = io.BytesIO()
        Image.fromarray(picture.numpy()).save(file, "JPEG", quality=quality)
        return torch.frombuffer(bytearray(Image.open(file).tobytes()), dtype=torch.uint8).view(picture.shape)

    return torch.stack([packed(picture[0]) for picture in (x * 255).round().byte()])[:, None] / 255


CORRUPTIONS = {  # (images in [0, 1], severity) -> images; from mild to severe
    "blur": (lambda x, s: gaussian_blur(x, 9, s), (0.6, 1.2, 2.4)),
    "noise": (noise, (0.05, 0.15, 0.4)),
    "jpeg": (jpeg, (95, 50, 4)),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_known_corruptions_are_ordered_by_their_severity(name, clean):
    corrupt, severities = CORRUPTIONS[name]
    other = load("sprites", "train", channels=1).subset(slice(400, 800))
    sets = [other, *(Images.of(corrupt(other.x, s)) for s in severities)]
    found = [compare(clean, fake, Filters()) for fake in sets]
    for metric in ("FID", "KID", "CMMD"):
        values = [each[f"{metric}[filters]"] for each in found]
        assert values == sorted(values) and values[-1] > 2 * abs(values[0]), (metric, values)
    for metric in ("coverage", "precision"):
        assert found[-1][f"{metric}[filters]"] < found[0][f"{metric}[filters]"] - 0.2, metric


def test_cmmd_is_that_of_its_formula():
    x, y = torch.randn(7, 5, dtype=torch.float64), torch.randn(9, 5, dtype=torch.float64)
    unit = lambda z: z / z.norm(dim=1, keepdim=True)
    k = lambda a, b: torch.exp(-torch.cdist(unit(a), unit(b)).square() / 200).mean()
    assert cmmd(x, y) == pytest.approx(1000 * float(k(x, x) + k(y, y) - 2 * k(x, y)), abs=1e-9)
    assert cmmd(x, x) == pytest.approx(0, abs=1e-12) and cmmd(x, y) > 0


@pytest.fixture
def folders(clean, tmp_path):
    """Real images, of which two lie in a folder of their own, and blurred ones."""
    for k, picture in enumerate(clean.pixels[:12]):
        for side, x in (("real", picture), ("fake", gaussian_blur(picture[None], 9, 2.0)[0])):
            file = tmp_path / side / ("inside" if k < 2 else "") / f"{k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(x[0].numpy()).save(file)
    (tmp_path / "own.py").write_text(FUNCTION)
    return ["evaluate", "--real", str(tmp_path / "real"), "--fake", str(tmp_path / "fake"), "--size", "16"]


def test_two_unlabelled_folders_are_compared(folders, tmp_path, capsys):
    assert len(whole_folder(tmp_path / "real", size=8)) == 12
    for features, name in [("pixels", "pixels"), (f"{tmp_path}/own.py:coarse", "own-coarse-")]:
        assert main([*folders, "--features", features]) == 0
        out = capsys.readouterr().out
        for metric in ("FID", "KID", "CMMD", "precision", "recall", "density", "coverage"):
            assert f"{metric}[{name}" in out
    same = whole_folder(tmp_path / "real", size=16)
    assert compare(same, same, PixelFeatures())["FID[pixels]"] == pytest.approx(0, abs=1e-6)


def test_what_cannot_be_compared_is_refused(folders, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    pixels = ["--features", "pixels"]
    for words, said in [
        (folders, "two folders have no classifier"),
        ([*folders, "--features", "inseption"], "--features: unknown features 'inseption'"),
        ([*folders, "--features", "inception:nothing.pth"], "there is no file 'nothing.pth'"),
        ([*folders, "--features", f"inception:{tmp_path}/own.py"], "holds no weights of torchvision's inception_v3"),
        ([*folders, "--features", f"{tmp_path}/own.py:wrong"], "must be (12, d) for 12 images, got (12, 3, 16, 16)"),
        ([*folders[:3], *pixels], "evaluate takes a run directory, or two folders"),
        (["evaluate", *pixels], "evaluate takes a run directory, or two folders"),
        ([*folders[:3], "--fake", str(tmp_path / "none"), *pixels], "is not a folder of images"),
        ([*folders[:3], "--fake", str(tmp_path / "empty"), *pixels], "holds no readable image"),
    ]:
        capsys.readouterr()
        assert main(words) == 2, words
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1, err


def test_inception_features_are_those_of_its_last_pooling(tmp_path):
    from torchvision.models import inception_v3

    net = inception_v3(weights=None, init_weights=False, aux_logits=True)
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    features = Inception(tmp_path / "weights.pth", "cpu")
    assert features(torch.rand(2, 1, 20, 20)).shape == (2, 2048) and features.name.startswith("inception-")
