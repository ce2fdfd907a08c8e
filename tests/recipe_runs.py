"""Runs every recipe from its command line with tiny numbers; a new recipe joins TINY."""

import io
import json
import re
import runpy
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch

import genlab
from attacks.evaluation.evaluate import evaluate

RECIPES = Path(__file__).parents[1] / "recipes"

TINY = {
    "quickstart": "--classifier-images 5000 --gan-images 64 --gan-width 4 --attacked 20 --eps 0.25 --out {out}",
    "benchmark_attacks": "--size 10 --n 4 --repeats 1 --images 640 --out {out}",
    "gan_theory": "--gaps 0.5 2 --steps 40 --frames 2 --out {out}",
    "discriminator_generates": "--rounds 2 --steps 30 --batch 64 --climb 20 --n 100 --width 4 --images 64 --out {out}",
    "mode_collapse": "--steps 2 --batch 8 --seeds 0 --looks 1 --lr 1e-6 --out {out}",
    "mode_collapse_images": "--remedies plain 'ensemble of 4' --images 128 --looks 2 --seeds 1 --width 4 "
    "--classifier-images 320 --out {out}",
    "benchmark_training": "--steps 5 --repeats 1 --batch 8 --width 16 --out {out}",
    "benchmark_loader": "--batches 2 --repeats 1 --out {out}",
    "sequence_gan": "--pretraining 5120 --images 64 --lr 0.01 --temperatures 0.5 --samples 100 --pairs 2 "
    "--seeds 0 --out {out}",
    "sequence_style": "--images 512 --width 8 --seeds 0 --out {out}",
    "gan_zoo": "--methods lsgan wgan --seeds 0 1 --images 64 --width 4 --hidden 8 --n 50 "
    "--classifier-images 320 --out {out}",
    "generative_table": "--families DCGAN 'gated PixelCNN' --minutes 0.003 --width 4 --n 20 "
    "--classifier-images 320 --out {out}",
    "stacked_mnist": "--methods 'least squares' 'packs of 2' --images 64 --width 4 --n 2000 --seeds 0 "
    "--classifier-images 3000 --out {out}",
    "vae_latent": "--images 1000 --width 4 --components 2 --covariance diag --n 40 --out {out}",
    "importance_bound": "--width 16 --images 1280 --n 20 --trained-by 8 --counts 1 50 --seeds 0 --out {out}",
    "triangular_matrices": "--width 32 --lr 5e-3 --images 32000 --seeds 0 --out {out}",
    "discrete_codes": "--bits 3 --more-bits 12 --codes 8 --hidden 32 --images 640 --seeds 0 --out {out}",
    "diffusion_mnist": "--images 64 --width 4 --steps 2 --guidance 1 2 --solver-steps 4 8 16 --n 20 --measured 3 "
    "--classifier-images 320 --out {out}",
    "flow_mnist": "--nets nice glow --noises variational --steps 2 --dense 1 --images 64 --temperatures 1 --out {out}",
    "benchmark_flow": "--steps 1 --repeats 1 --batch 4 --couplings 1 --width 4 --peers --out {out}",
    "infogan_factors": "--data digits --size 8 --images 128 --ablation-images 32 --starts 2 --values 1 --width 4 "
    "--hidden 16 --classifier-images 320 --out {out}",
    "autoencoder_codes": "--code 4 --hidden 16 --images 640 --out {out}",
    "conditional": "--data digits --size 8 --images 64 --classifier-images 320 --width 4 --stack --out {out}",
    "domain_adversarial": "--targets night --images 1920 --seeds 0 --width 8 --lr 0.1 --out {out}",
    "several_labels": "--groups 3 --noise 0 --pictures 40 --images 160 --measured 40 --width 4 --seeds 0 --out {out}",
    "few_labels": "--labels 2 --images 96 --gan-images 64 --width 4 --components 16 --clusters 40 --seeds 0 --methods "
    "gaussians em svm nearest label-propagation clusters cnn pseudo-labels triple-gan pre-trained --out {out}",
    "batch_size": "--data digits --size 8 --sizes 1 64 --images 128 --seconds 0.02 --lr 0.02 --width 8 --seeds 0 "
    "--out {out}",
    "optimisers": "--images 640 --factors 1 --few 40 --width 8 --lanczos 4 --seeds 0 --out {out}",
    "augmentation": "--data digits --size 8 --images 320 --width 4 --tested 40 --attacked 8 --steps 2 --turns 20 "
    "--seeds 0 --out {out}",
    "photo_editing": "--images 64 --width 8 --classifier-images 320 --steps 40 --n 4 --nears 0.1 0.001 --seeds 0 "
    "--out {out}",
    "reprogramming": "--net cnn --rate 0.1 --classifier-images 1500 --images 1500 --size 12 --pixels 1 --gap 2 "
    "--out {out}",
    "physical_patch": "--classifier-images 5000 --images 2000 --shapes square --out {out}",
    "why_attacks_work": "--classifier-images 2500 --attacked 20 --eps 0.05 0.3 --out {out}",
    "beyond_images": "--examples 6000 --n 40 --eps 0.02 0.1 --seeds 0 --out {out}",
    "explanations": "--images 640 --n 12 --out {out}",
    "dream": "--data digits --images 64 --filters 2 --steps 6 --weights 10 --out {out}",
    "layer_transfer": "--target digits --near digits --size 8 --labels 2 --copied 6 --source-images 800 --images 100 "
    "--width 4 --seeds 0 --out {out}",
    "mimic_tree": "--images 3200 --depths 2 6 --components 4 --seeds 0 --out {out}",
    "gradient_saturation": "--images 9600 --n 10 --contrasts 1 --seeds 0 --out {out}",
    "shortcut": "--images 3200 --n 60 --out {out}",
    "activation_maximisation": "--images 640 --each 1 --out {out}",
    "energy_based": "--data digits --size 8 --images 320 --width 4 --n 20 --classifier-images 320 --out {out}",
    "wgan_gp": "--data digits --size 8 --images 1920 --width 4 --n 50 --classifier-images 320 --out {out}",
    "random_settings": "--objectives LSGAN VAE --settings 2 --images 320 --width 4 --n 50 --classifier-images 320 "
    "--out {out}",
    "universal": "--nets mlp shallow --classifier-images 320 --length 64 --known 10 2000 --eps 0.3 --out {out}",
    "attack_table": "--images 320 --width 8 --n 4 --attacks pgd deepfool jsma fmn-l1 --out {out}",
    "attack_bench": "--images 3200 --eps 0.02 --n 5 --passes 100 --norms l2 --out {out}",
    "benchmark_sampling": "--layers 2 --width 8 --size 8 --batches 1 2 --pixels 1 --repeats 1 "
    "--denoiser-width 4 --denoiser-batch 2 --steps 2 --out {out}",
    "likelihood_table": "--images 64 --models 'gated PixelCNN' VQ-VAE --components 2 --out {out}",
    "representations": "--ink digits --images 1000 --sizes 32 16 --labels 10 --plane 40 --out {out}",
    "deep_compression": "--images 3000 --rounds 1 --sparsities 0.9 --step 500 --seeds 0 1 --out {out}",
    "cheaper_layers": "--images 192 --seeds 0 --timings 1 --out {out}",
    "robust_compression": "--images 2000 --rounds 1 --attacked 20 --eps 0.2 --seeds 0 --out {out}",
    "distillation": "--images 16000 --teacher 200 --students 32 --temperatures 8 --teachers 1 --seeds 0 --out {out}",
    "lottery_ticket": "--images 2000 --rounds 1 --seeds 0 1 --out {out}",
    "data_free": "--images 4000 --gan-images 128 --samples 500 --width 8 --out {out}",
    "gradient_clipping": "--images 640 --at-once 8 --width 8 --rates 0.01 10 --seeds 0 --out {out}",
    "early_exit": "--data digits --size 8 --images 480 --width 4 --thresholds 0 0.12 1.1 --attacked 20 --seeds 0 "
    "--out {out}",
    "overcomplete_codes": "--data digits --size 8 --code 100 --images 2000 --contractive 2 --levels 0.2 --seeds 0 "
    "--out {out}",
    "vae_gan": "--images 64 --width 4 --latent 4 --n 20 --classifier-images 320 --seeds 0 --out {out}",
    "what_metrics_see": "--data digits --size 8 --n 360 --counts 100 1000 --classifier-images 5000 --shifts 0 1 "
    "--supports 25 100 --out {out}",
    "pixelcnn_mnist": "--nets gated row-lstm --images 480 --width 6 --layers 1 --lr 0.02 --out {out}",
    "pixelrnn_sprites": "--images 32 --width 6 --layers 1 --size 8 --colours 4 --counts 8 64 --seeds 0 --out {out}",
    "exposure_bias": "--images 32 --width 6 --layers 1 --seeds 0 1 --n 20 --classifier-images 320 --out {out}",
    "smoothing_defence": "--images 2000 --filters median bits:bits=1 resize-pad --attacks fgsm --eps 0.2 --attacked 20 "
    "--out {out}",
    "certify": "--images 1000 --sigma 0.2 --radii 0.1 0.3 --eps 0.02 --n 20 --attacked 10 --out {out}",
    "adversarial_training": "--images 256 --rounds 1 --attacked 10 --looks 1 --out {out}",
    "generated_data": "--images 2000 --gan-images 64 --width 8 --known 300 --attacked 60 --share 0 "
    "--seeds 0 --out {out}",
    "defence_matrix": "--images 192 --filters bits --attacked 16 --steps 5 --apgd-steps 5 --queries 5 --out {out}",
    "cyclegan": "--data unpaired:digits,night:digits --size 8 --images 16 --width 4 --classifier-images 64 "
    "--variants cycle 'no cycle' shallow features --pretraining digits --out {out}",
    "hidden_code": "--size 8 --images 16 --n 40 --width 4 --out {out}",
    "pix2pix": "--data digits --size 8 --task super-resolution:2 --images 64 --width 4 --classifier-images 64 "
    "--out {out}",
    "next_frame": "--losses L2 'GAN and gradients' --images 64 --width 4 --copies 1 --draws 2 --seeds 0 --out {out}",
    "super_resolution": "--data digits --size 8 --factors 2 4 --images 16 --classifier-images 64 --width 4 --out {out}",
    "inpainting": "--data digits --size 8 --hole 4 --images 96 --classifier-images 64 --width 4 --n 40 --out {out}",
    "unpaired_common_space": "--a grey:digits --b textured:digits --size 8 --images 16 --gan-images 64 --width 4 "
    "--classifier-images 64 --models independent tied CoGAN --out {out}",
    "stargan": "--data domains:digits,night:digits --size 8 --images 80 --width 4 --width-critic 4 "
    "--classifier-images 64 --out {out}",
    "benchmark_adversarial": "--steps 1 --repeats 1 --batch 4 --pgd 1 --size 8 --out {out}",
    "benchmark_cyclegan": "--steps 1 --repeats 1 --width 4 --size 32 --out {out}",
    "feature_squeezing": "--images 320 --models VAE flow --outliers sprites --attacks fgsm --steps 1 --tested 16 "
    "--fpr 0.2 --out {out}",
    "anomalies": "--known 3 --images 960 --width 4 --outliers sprites --eps 0.3 --steps 2 --tested 40 "
    "--seeds 0 --out {out}",
    "purify": "--images 400 --models gan auto-encoder pixelcnn --steps 2 --descent 2 --eps 0.1 --attacked 6 "
    "--out {out}",
    "reproduce": "--only tiny --results {out} --out {out}/runs",
    "black_box": "--images 192 --attacked 64 --queries 22 40 --out {out}",
    "attack_transfer": "--nets cnn shallow mlp --images 320 --attacked 64 --steps 10 --seeds 0 --out {out}",
}
BENCHMARKS = ["benchmark_training", "benchmark_flow", "benchmark_cyclegan", "benchmark_adversarial"]  # of one kind


def start(name, words):
    """Exit status, output and complaints of a recipe; in this process, since importing torch takes longer than it."""
    words = [str(RECIPES / f"{name}.py"), *words]
    printed, complaints = io.StringIO(), io.StringIO()
    argv, sys.argv = sys.argv, words
    try:
        with redirect_stdout(printed), redirect_stderr(complaints), pytest.raises(SystemExit) as done:
            runpy.run_path(words[0], run_name="__main__")
    finally:
        sys.argv = argv
        torch.set_grad_enabled(True)  # a recipe has its process for itself
        torch.set_num_threads(1)
    return done.value.code, printed.getvalue(), complaints.getvalue()


def run(name, out):
    """What the recipe prints with its tiny command line; the pages of its runs are made without training curves, which
    take longer to draw than a tiny training."""
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()  # a recipe makes the folder that it is given
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genlab.reporting.report.metric_curves", lambda rows: {})
        status, printed, complaints = start(name, shlex.split(TINY[name].format(out=out)))
    assert status == 0, complaints
    if (page := Path(out) / "report.html").exists() and not name.startswith("benchmark"):  # these print ratios
        check_opening(page.read_text())
    return printed


def check_opening(page):
    """A page begins with its message, a sentence with what was measured, under the title or a heading, and the figure
    that shows it; tables come later."""
    top = page[page.index("<h1") :]
    first = [top.find(tag) for tag in ("<p>", "<figure", "<table")]
    assert -1 < first[0] < first[1] and not -1 < first[2] < first[1], top[:500]
    assert re.search(r"\d", top[first[0] : top.index("</p>", first[0])]), top[:500]


def results(out):
    return json.loads((out / "results.json").read_text())


def by(key, rows):
    return {row[key]: row for row in rows}


def held_out(n, data="digits"):
    return genlab.DataOptions(data).load("test").subset(slice(0, n))


def success(attack, model, test, source=None):
    """The success rate of one attack, made for `source`, or for the model itself."""
    models, sources = {"model": model}, {}
    if source is not None:
        models["source"], sources["model"] = source, "source"
    found = evaluate(models, {"attack": attack}, test.x, test.labels, sources=sources).rows
    return next(row.success.value for row in found if (row.model, row.attack) == ("model", "attack"))


def cells(printed):
    """The rows of the tables on a terminal, without their heads."""
    lines = [line for line in printed.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
