"""Auto-encoders against what they must be: PCA's bound, shared weights, exact Jacobians, running means, real code
lengths."""

from math import log

import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn.functional import conv2d, conv_transpose2d, max_pool2d, one_hot, pad
from toys import CLASSES, SHAPE, images, make, stream

from genlab.data import Images, Stream, load
from genlab.latent.baselines import nmf, pca
from genlab.latent.codes import linear_probe, nearest_image_error, retrieval_precision, scatter, squared_error
from genlab.likelihood.decoders import LogisticLikelihood
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.likelihood.vq_vae import Codebook, VQVAEConfig, usage
from genlab.methods.representation.autoencoder import AutoEncoderConfig, Corruption, contractive, jacobian_norm
from genlab.methods.representation.cpc import CPCConfig, info_nce
from genlab.methods.representation.deep_infomax import DeepInfoMaxConfig, information
from genlab.methods.representation.disentangle import DisentangleConfig
from genlab.methods.representation.pretraining import PreTrainingConfig
from genlab.nets.adain import adain, statistics
from genlab.nets.autoencoder import ACTIVATIONS, Convolutional, Dense, unpooled
from genlab.nets.spatial import encoder
from genlab.training.loop import fit
from genlab.training.method import TrainOptions
from genlab.training.update import Update


def trained(config, length=8_000, batch=32):
    torch.manual_seed(0)
    method = config.build(SHAPE, CLASSES)
    return fit(method, stream(batch), TrainOptions(length, batch, schedule="cosine")).eval()


def test_a_linear_auto_encoder_nears_pca_from_above_and_never_passes_it():
    data, k = load("digits").subset(slice(0, 500)), 4
    best = squared_error(pca(data, k).reconstruct, data)
    torch.manual_seed(0)
    method = AutoEncoderConfig(hidden=(), code=k, error="linear", lr=2e-2).build(data.shape, 10)
    update, x, seen = Update(method.optimizers()), data.x, []
    for _ in range(120):
        for _ in range(10):
            method.step(iter([(x, data.labels)]), update)
        seen.append(method.evaluate(data)["error"])
    assert min(seen) >= best - 1e-9
    assert seen[0] > 1.3 * best and seen[-1] < 1.01 * best


def test_a_larger_network_passes_pca():
    data = load("digits").subset(slice(0, 300))
    torch.manual_seed(0)
    method = AutoEncoderConfig(hidden=(64,), code=2, lr=5e-3).build(data.shape, 10)
    update = Update(method.optimizers())
    for _ in range(600):
        method.step(iter([(data.x, data.labels)]), update)
    assert method.evaluate(data)["error"] < 0.9 * squared_error(pca(data, 2).reconstruct, data)


def test_tied_weights_are_one_and_the_same():
    net, untied = (Dense(SHAPE, (7, 3), tied=tied) for tied in (True, False))
    count = lambda module: sum(p.numel() for p in module.parameters())
    assert count(untied) - count(net) == 64 * 7 + 7 * 3
    z = torch.randn(5, 3)
    with torch.no_grad():
        before = net.decode(z)
        expected = (z @ net.up[1].weight + net.bias[1]).relu() @ net.up[0].weight + net.bias[0]
        assert torch.allclose(before.flatten(1), expected, atol=1e-6)
        net.up[0].weight.mul_(2)
        assert torch.allclose(net.decode(z), 2 * before, atol=1e-6)


def test_the_exact_contraction_is_the_norm_of_the_jacobian():
    torch.manual_seed(0)
    net, x = Dense(SHAPE, (5,), code="sigmoid"), torch.rand(4, *SHAPE)
    jacobians = [torch.autograd.functional.jacobian(net.encode, one[None]).flatten(2)[0, :, :] for one in x]
    expected = torch.stack([j.square().sum() for j in jacobians])
    assert torch.allclose(contractive(net, x, net.encode(x)), expected, rtol=1e-5)


@pytest.mark.parametrize("net", [Dense(SHAPE, (9, 3)), Convolutional(SHAPE, 3, 4)])
def test_random_probes_of_the_jacobian_are_unbiased(net):
    torch.manual_seed(0)
    x = torch.rand(3, *SHAPE)
    expected = torch.stack([torch.autograd.functional.jacobian(net.encode, one[None]).square().sum() for one in x])
    found = jacobian_norm(net.encode, x.repeat(100, 1, 1, 1), probes=30).view(100, 3).mean(0)  # of 3000 probes
    assert torch.allclose(found, expected, rtol=0.12)


def test_contraction_steadies_the_code():
    config = AutoEncoderConfig(hidden=(), code=8, code_activation="sigmoid", lr=5e-3)
    free, bound = trained(config), trained(AutoEncoderConfig(**{**vars(config), "contractive": 1.0}))
    x = images().x
    torch.manual_seed(0)
    noisy = (x + 0.1 * torch.randn_like(x)).clamp(0, 1)
    with torch.no_grad():
        move = [
            float(((m.code(noisy) - m.code(x)).norm(dim=1) / m.code(x).std(0).norm()).mean()) for m in (free, bound)
        ]
    assert move[1] < 0.8 * move[0], move


def test_a_sparse_code_is_sparse_and_a_short_one_short():
    size = {}
    for name in ("sparse", "l2", None):
        config = AutoEncoderConfig(hidden=(), code=80, code_activation="relu", **({name: 0.2} if name else {}))
        size[name] = trained(config).code(images().x)
    assert size["sparse"].abs().sum(1).mean() < 0.5 * size[None].abs().sum(1).mean()
    assert size["l2"].square().sum(1).mean() < 0.5 * size[None].square().sum(1).mean()


def test_a_denoiser_filters_noise_that_it_was_shown():
    found = trained(AutoEncoderConfig(hidden=(64,), code=16, noise=0.4)).evaluate(images())
    assert found["error_denoised"] < 0.5 * found["error_corrupted"]


def test_spoiling_leaves_pixels_in_their_range_and_blackens_its_share():
    x = torch.full((50, 3, 20, 20), 0.5)
    noisy, masked = Corruption(noise=1.0)(x), Corruption(mask=0.3)(x)
    assert noisy.min() == 0 and noisy.max() == 1
    assert ((masked == 0).float().mean() - 0.3).abs() < 0.02 and set(masked.unique().tolist()) == {0.0, 0.5}
    assert torch.equal(masked[:, 0], masked[:, 1])  # all channels of a pixel


def test_discrete_codes_are_bits_or_one_of_many_and_their_gradients_pass():
    h = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    bits, one = ACTIVATIONS["binary"](h), ACTIVATIONS["one-hot"](h)
    assert torch.equal(bits, (h > 0).float())
    assert torch.equal(one.argmax(1), h.argmax(1)) and one.sum(1).tolist() == [1] * 5
    weights = torch.arange(20.0).view(5, 4)
    for hard, soft in ((bits, h.sigmoid()), (one, h.softmax(1))):
        mine, theirs = (torch.autograd.grad((weights * each).sum(), h)[0] for each in (hard, soft))
        assert torch.allclose(mine, theirs)


def test_unpooling_puts_values_back_where_the_maxima_were():
    x = torch.rand(2, 3, 6, 6)
    h, switches = max_pool2d(x, 2, return_indices=True)
    back = unpooled(h, switches)
    at = back != 0
    assert at.sum() == h.numel() and torch.equal(back[at], x[at])
    assert torch.equal(max_pool2d(back, 2), h)
    assert torch.equal(unpooled(h)[:, :, 1::2, ::2], h) and torch.equal(unpooled(h)[:, :, ::2, 1::2], h)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 0), (2, 1)])
def test_a_transposed_convolution_is_one_of_the_spread_input_with_the_turned_kernel(stride, padding):
    torch.manual_seed(0)
    x, kernel = torch.randn(2, 3, 5, 5), torch.randn(3, 4, 3, 3)
    h, w = ((n - 1) * stride + 1 for n in x.shape[2:])
    spread = x.new_zeros(2, 3, h, w)
    spread[:, :, ::stride, ::stride] = x
    turned = kernel.flip(2, 3).transpose(0, 1)
    found = conv2d(pad(spread, [2 - padding] * 4), turned)
    assert torch.allclose(conv_transpose2d(x, kernel, stride=stride, padding=padding), found, atol=1e-5)


def test_layers_learn_one_after_the_other_and_then_together():
    method = PreTrainingConfig(sizes=(16, 8), images_per_layer=64).build(SHAPE, CLASSES)
    data, update = stream(32), Update(method.optimizers())
    for expected in ([True, False], [True, False], [False, True], [False, True], [True, True]):
        before = [layer.weight.clone() for layer in method.net.up]
        method.step(data, update)
        assert [not torch.equal(a, b.weight) for a, b in zip(before, method.net.up)] == expected


def test_a_pretrained_encoder_begins_a_classifier():
    method = PreTrainingConfig(sizes=(16, 8)).build(SHAPE, CLASSES)
    net, x = method.classifier(CLASSES), images().x
    assert torch.equal(net[:-1](x), method.code(x)) and net(x).shape == (256, CLASSES)
    assert net[1].weight is not method.net.up[0].weight
    with pytest.raises(ValueError, match="not linear"):
        Dense(SHAPE, (4,)).classifier(3)


def test_the_codebook_is_the_running_mean_of_what_chose_it():
    torch.manual_seed(0)
    book, z = Codebook(3, 2, decay=0.9, dead=0.0), torch.randn(4, 2, 3, 3)
    counts, sums = torch.zeros(3), torch.zeros(3, 2)
    for _ in range(5):
        k = book.nearest(z)
        rows, chosen = z.movedim(1, -1).flatten(0, 2), one_hot(k.flatten(), 3).float()
        counts = 0.9 * counts + 0.1 * chosen.sum(0)
        sums = 0.9 * sums + 0.1 * chosen.T @ rows
        book.learn(z, k)
    assert torch.allclose(book.counts, counts) and torch.allclose(book.vectors, sums / counts[:, None], atol=1e-6)


def test_the_nearest_vector_is_the_nearest():
    book, z = Codebook(7, 3, decay=0.99, dead=0.05), torch.randn(2, 3, 4, 5)
    far = (z.movedim(1, -1)[..., None, :] - book.vectors).square().sum(-1)
    k = book.nearest(z)
    assert k.shape == (2, 4, 5) and torch.equal(k, far.argmin(-1))
    assert torch.equal(book(k)[1, :, 2, 3], book.vectors[k[1, 2, 3]])


def test_the_gradient_goes_straight_through():
    method = make("vq-vae")
    z = torch.randn(2, 4, 2, 2, requires_grad=True)
    k = method.codebook.nearest(z)
    quantised = method.straight_through(z, k)
    assert torch.allclose(quantised, method.codebook(k), atol=1e-6)
    given = torch.randn_like(z)
    assert torch.equal(torch.autograd.grad(quantised, z, given)[0], given)


def test_dead_codes_start_anew_from_the_batch():
    torch.manual_seed(0)
    book, z = Codebook(8, 2, decay=0.99, dead=0.1), 5 + torch.rand(16, 2, 4, 4)
    book.learn(z, torch.zeros(16, 4, 4, dtype=torch.int64))
    assert torch.cdist(book.vectors[1:], z.movedim(1, -1).flatten(0, 2)).amin(1).max() < 1e-3
    for _ in range(20):
        book.learn(z, book.nearest(z))
    assert usage(book.nearest(z), 8)[1] == 1


def test_perplexity_counts_the_codes_in_use():
    assert [float(v) for v in usage(torch.arange(4).repeat(5), 8)] == pytest.approx([4, 0.5])
    assert [float(v) for v in usage(torch.full((9,), 2), 8)] == pytest.approx([1, 1 / 8])


def test_the_logistic_of_a_pixel_sums_to_one_over_its_256_values():
    torch.manual_seed(0)
    outputs = torch.randn(1, 2, 3, 3, dtype=torch.float64) * torch.tensor([0.4, 3.0]).view(1, 2, 1, 1)
    x = (torch.arange(256) / 255).view(-1, 1, 1, 1)
    for i in range(9):
        one = outputs[:, :, i // 3, i % 3, None, None].expand(256, -1, -1, -1)
        assert float(LogisticLikelihood().log_prob(one, x).exp().sum()) == pytest.approx(1, abs=1e-4)


def test_vq_figures_are_code_lengths():
    method = make("vq-vae").eval()
    found = method.evaluate(images())
    assert found["rate_uniform"] == pytest.approx(4 * log(8))
    assert found["bits_per_dim"] == pytest.approx((found["reconstruction"] + found["rate"]) / 64 / log(2))
    bits = -float(method.log_prob(images().x).detach().mean()) / 64 / log(2)
    assert found["bits_per_dim"] == pytest.approx(bits, rel=1e-4)
    assert "bits_per_dim" not in make("vq-vae bernoulli").evaluate(images())
    assert "bits_per_dim" in make("vq-vae bernoulli").evaluate(load("binary:digits", "test"))


def test_the_prior_of_codes_is_a_distribution_and_draws_them():
    method = make("vq-vae").eval()
    k = torch.cartesian_prod(*[torch.arange(8)] * 4).view(-1, 2, 2)
    assert float((-method.rate(k)).exp().sum().detach()) == pytest.approx(1, abs=1e-4)
    assert method.sample(5).shape == (5, 1, 8, 8)


def test_images_come_back_from_their_codes():
    method = make("vq-vae").eval()
    k = method.codes(images().x)
    assert k.shape == (256, 2, 2) and k.dtype == torch.int64
    assert torch.equal(method.from_codes(k), method.reconstruct(images().x))
    with pytest.raises(ValueError, match=r"codes are int64 \(N, 2, 2\), got torch.int64 \(3, 4\)"):
        method.from_codes(torch.zeros(3, 4, dtype=torch.int64))


def test_adaptive_normalisation_gives_exactly_the_statistics_asked_for():
    torch.manual_seed(0)
    h, mean, deviation = torch.randn(3, 4, 8, 8) * 7 + 2, torch.randn(3, 4), 1 + torch.rand(3, 4)
    found = statistics(adain(h, mean, deviation))
    assert torch.allclose(found[0], mean, atol=1e-5) and torch.allclose(found[1], deviation, rtol=1e-4)
    other = torch.randn(3, 4, 8, 8)
    assert torch.allclose(adain(h, *statistics(h)), h, atol=1e-4)
    assert torch.allclose(statistics(adain(other, *statistics(h)))[1], statistics(h)[1], rtol=1e-4)


def test_the_content_code_keeps_no_statistics():
    content, x = make("disentangle").eval().content, load("digits", "test").x
    mean, deviation = statistics(content(x))
    assert mean.abs().max() < 1e-4 and (deviation - 1).abs().max() < 0.05
    assert torch.allclose(content(x), content(0.5 * x), atol=0.1)  # not even the contrast


def test_the_adversary_drives_the_style_out_of_the_content_and_leaves_the_rest():
    data, found = corners(), {}
    for weight in (0.0, 0.05):
        torch.manual_seed(0)
        config = DisentangleConfig(content=4, style=4, width=8, weight=weight, noise=0.1, lr=2e-3)
        found[weight] = fit(config.build(data.shape, 2), Stream(data, 32), TrainOptions(5_000, 32)).evaluate(data)
    assert found[0.0]["style_from_content"] > 0.8 > 0.65 > found[0.05]["style_from_content"], found
    assert found[0.05]["style_from_style"] > 0.95 and found[0.05]["corner_from_content"] > 0.7, found


def corners():
    """Squares in one of four corners, red or blue; the colour is the style."""
    g = torch.Generator().manual_seed(0)
    corner, style = (torch.randint(n, (512,), generator=g) for n in (4, 2))
    x = torch.zeros(512, 1, 8, 8)
    for i, c in enumerate(corner.tolist()):
        x[i, :, 4 * (c // 2) : 4 * (c // 2) + 4, 4 * (c % 2) : 4 * (c % 2) + 4] = 1
    ink = torch.tensor([[1.0, 0.4, 0.1], [0.1, 0.4, 1.0]])[style].view(-1, 3, 1, 1)
    pixels = (x * ink * 0.8 + 0.2 * torch.rand(512, 3, 8, 8, generator=g)).mul(255).byte()
    return Images(pixels, style, ("red", "blue"), "corners", {"corner": corner})


def test_the_information_is_bounded_and_its_best_discriminator_is_best():
    torch.manual_seed(0)
    p, q = torch.randn(20_000) + 1.5, torch.randn(20_000)
    ratio = lambda x: 1.5 * x - 1.5**2 / 2  # log p/q, which the best discriminator tells
    best = information(ratio(p), ratio(q))
    others = [information(a * ratio(p) + b, a * ratio(q) + b) for a, b in ((0.5, 0), (2, 0), (1, 1), (0, 0), (-1, 0))]
    assert all(best > other for other in others) and 0 < best < 2 * log(2)
    assert information(torch.zeros(5), torch.zeros(5)) == pytest.approx(0, abs=1e-6)
    assert information(torch.full((5,), 50.0), torch.full((5,), -50.0)) == pytest.approx(2 * log(2))


def test_infomax_finds_information_and_pairs_that_do_not_match_have_none():
    torch.manual_seed(0)
    data = load("digits")
    method = DeepInfoMaxConfig(code=8, width=8, hidden=64).build(data.shape, 10)
    method = fit(method, Stream(data, 64), TrainOptions(16_000, 64)).eval()
    with torch.no_grad():
        features = method.encoder.features(data.x[:400])
        code, discriminator = method.encoder.head(features), method.discriminators["global"]
        own, other, third = (discriminator(features.roll(n, 0), code) for n in (0, 1, 2))
    assert 2 * log(2) > information(own, other) > 0.5 > 0.1 > information(third, other)
    found = method.evaluate(load("digits", "test"))
    assert found["probe"] > found["probe_untrained"] + 0.1


def test_predictions_of_later_rows_are_told_from_others_and_read_no_row_ahead():
    torch.manual_seed(0)
    scores = torch.randn(6, 6)
    share = scores.diag() - scores.logsumexp(1)  # of the own code among all
    assert info_nce(scores) == pytest.approx(-float(share.mean()), rel=1e-5)
    assert info_nce(torch.zeros(6, 6)) == pytest.approx(log(6)) and info_nce(50 * torch.eye(6)) < 1e-6
    encoder = CPCConfig(code=3, width=8, band=2).build((1, 8, 8), 0).encoder
    x = torch.rand(2, 1, 8, 8)
    changed = x.clone()
    changed[:, :, 4:6] = 0  # the third of four bands
    (z, c), (z2, c2) = encoder.read(x), encoder.read(changed)
    assert z.shape == c.shape == (2, 4, 3) and torch.equal(encoder(x), c[:, -1])
    assert [torch.equal(z[:, i], z2[:, i]) for i in range(4)] == [True, True, False, True]
    assert [torch.equal(c[:, i], c2[:, i]) for i in range(4)] == [True, True, False, False]


def test_search_and_probe_find_classes_where_they_are():
    y = torch.arange(5).repeat(20)
    apart = 10 * one_hot(y, 5) + torch.rand(100, 5)
    assert retrieval_precision(apart, y) == 1 and linear_probe(apart, y) == 1
    torch.manual_seed(0)
    assert retrieval_precision(torch.rand(100, 5), y) < 0.4 and linear_probe(torch.rand(100, 5), y) < 0.5
    assert scatter(apart[:, :2], y, tuple("abcde"))[:4] == b"\x89PNG"
    assert nearest_image_error(images().x[:9], images()) == pytest.approx(0, abs=1e-9)


def test_components_have_the_interface_of_an_auto_encoder():
    data = load("digits", "test")
    reference = PCA(5).fit(data.x.flatten(1).numpy())
    p, n = pca(data, 5), nmf(data, 5)
    assert torch.allclose(
        p.code(data.x).abs(), torch.tensor(reference.transform(data.x.flatten(1))).float().abs(), atol=1e-3
    )
    for model in (p, n):
        z = model.code(data.x)
        assert z.shape == (len(data), 5) and model.decode(z).shape == data.x.shape
        assert torch.equal(model.reconstruct(data.x), model.decode(z))
        pictures = model.pictures()
        assert pictures.shape == (5, *data.shape) and pictures.min() >= 0 and pictures.max() <= 1
    assert n.code(data.x).min() >= 0 and squared_error(p.reconstruct, data) < squared_error(n.reconstruct, data)


def test_pretraining_helps_where_labels_are_few():
    data, test = load("digits"), load("digits", "test")
    few = data.subset(torch.cat([(data.labels == c).nonzero()[:2, 0] for c in range(10)]))
    torch.manual_seed(0)
    plan = PreTrainingConfig(sizes=(64, 64, 32), images_per_layer=8_000)
    method = fit(plan.build(data.shape, 10), Stream(data, 64), TrainOptions(32_000, 64))
    found = []
    for net in (method.classifier(10), plan.build(data.shape, 10).classifier(10)):
        classifier = ClassifierConfig(net="mlp").build(data.shape, 10)
        classifier.net = net
        fit(classifier, Stream(few, 20), TrainOptions(3_000, 20, schedule="cosine"))
        found.append(classifier.evaluate(test)["accuracy"])
    assert found[0] > found[1], found


BAD = [
    (lambda: Dense(SHAPE, ()), r"positive sizes of its layers, the code's last, got \(\)"),
    (lambda: Dense(SHAPE, (4,)).decode(torch.zeros(2, 5)), r"codes \(N, 4\), got \(2, 5\)"),
    (lambda: Convolutional(SHAPE, 0), "at least 1, got 0"),
    (lambda: Convolutional(SHAPE, 4, unpool="switches").decode(torch.zeros(1, 4)), "use 'copy'"),
    (lambda: Corruption(mask=1.0), "mask must be at least 0 and below 1, got 1.0"),
    (lambda: AutoEncoderConfig(sparse=-1.0), "sparse must be at least 0 .*, got -1.0"),
    (lambda: PreTrainingConfig(images_per_layer=0), "images_per_layer must be at least 1 .*, got 0"),
    (lambda: VQVAEConfig(codes=1), "codes must be at least 2 .*, got 1"),
    (lambda: encoder((1, 10, 10), 4, 8), r"multiples of 4, got \(1, 10, 10\)"),
    (lambda: CPCConfig(band=3).build(SHAPE, 0), "divide the 8 rows of an image into two parts or more, got 3"),
    (lambda: CPCConfig(band=8).build(SHAPE, 0), "two parts or more, got 8"),
    (lambda: DeepInfoMaxConfig(weight_global=0.0).build(SHAPE, 0), "must not both be 0"),
    (lambda: DisentangleConfig().build(SHAPE, 1), "needs at least 2 classes"),
    (lambda: DisentangleConfig().build((1, 4, 4), 2), "more than one position, got 1x1"),
    (lambda: pca(images(), 65), r"1 to 64 components, not 65"),
    (lambda: pca(images(), 2).code(torch.zeros(1, 1, 4, 4)), r"\(1, 8, 8\), got \(1, 4, 4\)"),
    (lambda: retrieval_precision(torch.zeros(5, 2), torch.zeros(5)), "more than k codes, got 5"),
    (lambda: linear_probe(torch.zeros(1, 2), torch.zeros(1)), "got 1 and share 0.5"),
    (lambda: scatter(torch.zeros(4, 3), torch.zeros(4), ("a",)), r"\(N, 2\) have a place in the plane, got \(4, 3\)"),
    (lambda: next_of_one(), "a batch of at least 2 images, got 1"),
]  # fmt: skip


def next_of_one():
    method = make("deep-infomax")
    return method.step(stream(1), Update(method.optimizers()))


@pytest.mark.parametrize(("act", "says"), BAD)
def test_bad_input_gets_one_sentence(act, says):
    with pytest.raises(ValueError, match=says):
        act()
