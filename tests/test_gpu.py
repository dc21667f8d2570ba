"""What only a GPU can show: pytest -m gpu."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from oracle import levels
from PIL import Image, ImageFilter
from safetensors.torch import save_file
from test_families import BUILDERS, FOX, KEYFRAMES, SIZE, STOCHASTIC, film, plain
from test_images import paint
from test_interpolate import rife
from test_upscale import compact, enlarger, noisy

from walk import Settings, Walk, cli, cuda_graphs, families, interpolate, machine, models
from walk.interpolate import Interpolator

pytestmark = pytest.mark.gpu
SD = "StableDiffusionPipeline"


@pytest.fixture(scope="module", autouse=True)
def _exact():
    """float32 means float32 here, for us and for the plain pipelines."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def load(folder, **settings):
    usual = {"device": "cuda", "dtype": "float32"}
    return models.load(Settings(model=str(folder), steps=2, **SIZE, **(usual | settings)))


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - STOCHASTIC))
def test_a_keyframe_is_the_plain_pipelines_picture(tmp_path, name):
    folder = BUILDERS[name](tmp_path)
    expected = plain(folder, FOX, guidance=families.FAMILIES[name].guidance)  # on a CPU
    assert levels(film(load(folder), Walk.through([FOX, FOX], frames=2), [0])[0], expected) <= 1


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_any_frames_are_those_of_the_whole_film(tmp_path, name):
    model = load(BUILDERS[name](tmp_path), batch=3, dtype="auto")
    walk = dataclasses.replace(Walk.through(KEYFRAMES, frames=11), pulse=tuple(k / 10 for k in range(11)))
    whole = film(model, walk)
    for indices in ([10], [7, 2, 9, 0, 5]):
        for index, picture in film(model, walk, indices).items():
            np.testing.assert_array_equal(picture, whole[index])


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_what_is_played_back_makes_the_same_bytes(tmp_path, monkeypatch, name):
    folder = BUILDERS[name](tmp_path)
    walk = Walk.through(KEYFRAMES, frames=11)
    model = load(folder, batch=3, dtype="auto")
    played = film(model, walk)
    assert model.recorder.recordings if not model.family.syncs else model.recorder is None
    monkeypatch.setattr(cuda_graphs, "MOST", 0)
    usual = film(load(folder, batch=3, dtype="auto"), walk)
    for index, picture in usual.items():
        np.testing.assert_array_equal(played[index], picture)


@pytest.mark.parametrize("more", [{"low_memory": True}, {"compile": True}], ids=str)
@pytest.mark.parametrize("name", [SD, "FluxPipeline"])
def test_sparing_memory_and_compiling_make_the_same_pictures(tmp_path, name, more):
    folder = BUILDERS[name](tmp_path)
    walk = Walk.through(KEYFRAMES, frames=5)
    usual, other = film(load(folder), walk), film(load(folder, **more), walk)
    assert max(levels(usual[index], other[index]) for index in usual) <= 1


@pytest.mark.parametrize("more", [{}, {"low_memory": True}, {"compile": True}], ids=str)
@pytest.mark.parametrize("plus", [False, True])
def test_pictures_beside_prompts_make_the_frames_of_a_cpu(tmp_path, plus, more):
    folder = BUILDERS[SD](tmp_path / "model")
    settings = {"ip_adapter": tiny.ip_adapter(folder, tmp_path / "ip.safetensors", plus), "batch": 3}
    images = [paint(tmp_path / f"{seed}.png", seed) for seed in range(len(KEYFRAMES))]
    walk = Walk.through([dataclasses.replace(it, image=image) for it, image in zip(KEYFRAMES, images)], frames=11)
    expected = film(load(folder, device="cpu", **settings), walk)
    made = film(load(folder, **settings, **more), walk)
    assert max(levels(made[index], expected[index]) for index in made) <= 1


@pytest.mark.parametrize("more", [{}, {"low_memory": True}, {"compile": True}], ids=str)
@pytest.mark.parametrize("name", [SD, "FluxPipeline"])
def test_a_quantised_denoiser_makes_the_pictures_of_what_is_left_of_its_weights(tmp_path, name, more):
    folder, walk = BUILDERS[name](tmp_path / "model"), Walk.through(KEYFRAMES, frames=5)
    path = tiny.quantised(folder, families.FAMILIES[name].denoiser, tmp_path / "it.gguf")
    packed = film(load(folder, denoiser=path, **more), walk)
    left = film(load(folder, denoiser=path.with_suffix(".safetensors")), walk)
    assert max(levels(packed[index], left[index]) for index in left) <= 1


@pytest.mark.parametrize("name", [SD, "FluxPipeline", "ZImagePipeline"])
def test_a_denoiser_that_is_larger_than_the_gpu_makes_the_same_bytes(tmp_path, monkeypatch, name):
    folder, walk = BUILDERS[name](tmp_path), Walk.through(KEYFRAMES, frames=5)
    usual = film(load(folder), walk)
    monkeypatch.setattr(machine, "LARGE", 0)
    passing = load(folder, low_memory=True)
    assert passing.by_block
    for index, picture in film(passing, walk).items():
        np.testing.assert_array_equal(picture, usual[index])


def test_what_waits_is_called_as_usual_and_leaves_the_memory_as_it_was():
    class Waiting(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) * x.sum().item()

    module, x = Waiting(2, 2).cuda(), torch.ones(1, 2, device="cuda")
    recorder = cuda_graphs.Recorder(module, lambda: True)
    recorder.ready = True
    with torch.inference_mode():
        made = [module(x) for _ in range(3)]
    assert not recorder.recordings
    assert made[0].equal(made[-1])
    torch.cuda.empty_cache()


@pytest.mark.parametrize(("name", "more"), [(SD, []), (SD, ["--batch", "1"]), ("ZImagePipeline", ["--batch", "1"])])
def test_a_film_that_lost_frames_becomes_the_same_film(empty_folder, name, more):
    flags = ["--prompts", "a fox", "an owl", "a boat", "--frames", "40", "--device", "cuda", "--out", "film.mp4"]
    flags += ["--model", str(BUILDERS[name](Path("model"))), *more]
    assert cli.main(flags) == 0
    film = Path("film.mp4").read_bytes()
    for path in sorted(Path("film.walk/frames").glob("*.png"))[::3]:
        path.unlink()
    assert cli.main(flags) == 0
    assert Path("film.mp4").read_bytes() == film


@pytest.mark.parametrize("large", [1, 1e5])  # numbers that float16 does not hold
def test_pictures_enlarged_there_are_those_of_a_cpu(empty_folder, tmp_path, large):
    weights = compact(features=16, layers=4)
    weights["body.0.weight"], weights["body.2.weight"] = (
        weights["body.0.weight"] * large,
        weights["body.2.weight"] / large,
    )
    save_file(weights, "x.safetensors")
    folder, it = BUILDERS[SD](tmp_path), noisy(700, 200)
    made = {}
    for device in ("cpu", "cuda"):
        upscaler = enlarger("x.safetensors", models.complete(Settings(str(folder), device=device)))
        made[device] = upscaler(it, (1400, 400))
        np.testing.assert_array_equal(upscaler(it, (1400, 400)), made[device])
    assert upscaler.dtype == torch.float16
    assert levels(made["cpu"], made["cuda"]) <= 2


@pytest.mark.parametrize("version", ["4.6", "4.26"])
def test_pictures_interpolated_there_are_those_of_a_cpu(empty_folder, tmp_path, version):
    """Between smooth ones: at a corner, a flow that is a little different finds another colour."""
    save_file(rife(version, flow=(3, 1, -2, 1), noise=0.02), "net.safetensors")
    folder, made = BUILDERS[SD](tmp_path), {}
    a, b = (np.kron(noisy(9, 6, seed), np.ones((64, 64, 1), np.uint8)) for seed in (1, 2))
    a, b = (np.asarray(Image.fromarray(it).filter(ImageFilter.GaussianBlur(32))) for it in (a, b))
    for device in ("cpu", "cuda"):
        settings = models.complete(Settings(str(folder), device=device))
        interpolator = Interpolator(interpolate.read(Path("net.safetensors")), settings)
        made[device] = interpolator(a, b, 0.4)
        np.testing.assert_array_equal(interpolator(a, b, 0.4), made[device])
    assert interpolator.dtype == torch.float16
    assert levels(made["cpu"], made["cuda"]) <= 3
