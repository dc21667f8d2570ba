"""Frames that a network enlarges: what it makes of a picture, and what a user sees of it."""

import itertools
import pickle
import re
import shutil
import sys
import types
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.signal import correlate2d

from walk import (
    Error,
    Settings,
    Walk,
    cli,
    enlargement,
    film,
    hub,
    larger,
    models,
    probe,
    read_prompts,
    replay,
    upscale,
)
from walk.larger import Larger
from walk.run import Run, unused
from walk.settings import BUILT_IN
from walk.upscale import Upscaler
from walk.work import Work

pytestmark = pytest.mark.usefixtures("shared_weights", "unwatched", "empty_folder")

ABC = ["a red apple", "a green frog", "a blue whale"]


def compact(features=4, layers=1, scale=2, seed=0):
    """Weights of Real-ESRGAN's plain kind, as its files have them."""
    generator, weights = torch.Generator().manual_seed(seed), {}
    channels = [3, *[features] * (layers + 1), 3 * scale**2]
    for number, (a, b) in enumerate(itertools.pairwise(channels)):
        if number:
            weights[f"body.{2 * number - 1}.weight"] = torch.rand(a, generator=generator)
        weights[f"body.{2 * number}.weight"] = torch.randn(b, a, 3, 3, generator=generator) / 20
        weights[f"body.{2 * number}.bias"] = torch.randn(b, generator=generator) / 20
    return weights


@pytest.fixture
def settings(tiny_folder):
    return models.complete(Settings(str(tiny_folder), width=32, height=32, steps=1))


@pytest.fixture
def walk(tiny_folder, capsys):
    """(stdout, stderr) of a command; films are as large as what the upscaler makes, unless told."""

    def of(*arguments, status=0, film=True):
        cheap = ["--model", tiny_folder, "--steps", 1, "--frames", 9] if film else []
        if film and "--size" not in arguments:
            cheap += ["--size", 64]
        done = cli.main([*map(str, arguments), *map(str, cheap)])
        out, err = capsys.readouterr()
        assert done == status, err
        return out.removesuffix("\n"), err

    return of


@pytest.fixture
def upscaler():
    save_file(compact(), "twice.safetensors")
    return "twice.safetensors"


def enlarger(name, settings):
    return Upscaler(upscale.read(hub.find_own_upscaler(BUILT_IN) if name == "own" else Path(name)), settings)


def noisy(width=32, height=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def written(folder):
    return {path.name: path.stat().st_mtime_ns for path in Path(folder, "frames").glob("*.png")}


# The network


def test_a_compact_network_is_its_formula(settings, upscaler):
    """Against SciPy: convolution, PReLU, convolution; pixels are shuffled into squares, and the picture added."""
    weights = {name: tensor.numpy().astype(float) for name, tensor in compact().items()}
    x = noisy(12, 8).astype(float).transpose(2, 0, 1) / 255
    y = x
    for number in range(0, 5, 2):
        kernels, bias = weights[f"body.{number}.weight"], weights[f"body.{number}.bias"]
        y = np.array([sum(correlate2d(a, k, "same") for a, k in zip(y, each)) + b for each, b in zip(kernels, bias)])
        if number < 4:
            slope = weights[f"body.{number + 1}.weight"][:, None, None]
            y = np.where(y > 0, y, slope * y)
    squares = y.reshape(3, 2, 2, 8, 12).transpose(0, 3, 1, 4, 2).reshape(3, 16, 24)
    expected = np.clip(squares + x.repeat(2, 1).repeat(2, 2), 0, 1).transpose(1, 2, 0) * 255
    made = enlarger(upscaler, settings)(noisy(12, 8), (24, 16))
    assert np.abs(made - expected).max() <= 0.5001


def test_tiles_leave_no_seam(settings):
    save_file(compact(layers=3), "x.safetensors")
    whole = enlarger("x.safetensors", settings)
    tiled = Upscaler(whole.network, settings, tile=64)
    large = noisy(200, 130)
    a, b = (it(large, (400, 260)).astype(int) for it in (whole, tiled))
    assert a.shape == (260, 400, 3)
    assert np.abs(a - b).max() <= 1  # where other shapes round otherwise
    assert whole.at((400, 260)) != tiled.at((400, 260))  # so they are other pictures


def test_what_is_reduced_is_reduced_as_pillow_does(settings):
    flat = {name: torch.zeros_like(tensor) for name, tensor in compact(scale=4).items()}  # each pixel is repeated
    save_file(flat, "x.safetensors")
    mild = 64 + noisy() // 2  # Pillow cuts off what overshoots half-way
    made = enlarger("x.safetensors", settings)(mild, (80, 80))
    expected = Image.fromarray(mild.repeat(4, 0).repeat(4, 1)).resize((80, 80), Image.Resampling.BICUBIC)
    assert np.abs(made.astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize("wrapped", ["params", "params_ema", "state_dict", None])
def test_weights_are_found_in_what_trainers_wrap_them_in(settings, wrapped):
    weights = {f"module.{name}": tensor for name, tensor in compact().items()}
    torch.save({wrapped: weights, "step": 3} if wrapped else weights, "x.pth")
    save_file(compact(), "y.safetensors")
    a, b = (enlarger(name, settings)(noisy(), (64, 64)) for name in ("x.pth", "y.safetensors"))
    assert (a == b).all()


class Evil:
    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('ran').touch()",)


def test_a_file_that_holds_a_program_is_refused_and_not_run(settings):
    Path("x.pth").write_bytes(pickle.dumps(Evil()))
    torch.save({"params": Evil()}, "y.pth")
    for name in ("x.pth", "y.pth"):
        with pytest.raises(Error, match=rf"^{name} is no upscaler that is known: it is damaged, or holds a program"):
            enlarger(name, settings)
    assert not Path("ran").exists()


def test_what_is_not_finite_is_not_shipped(settings):
    weights = compact()
    weights["body.4.bias"] += float("nan")
    save_file(weights, "x.safetensors")
    with pytest.raises(Error, match="what the upscaler makes is not finite; give another --upscale"):
        enlarger("x.safetensors", settings)(noisy(), (64, 64))


@pytest.fixture
def spandrel(monkeypatch):
    """It comes with torchvision, of which it uses, but for two kinds of networks, nothing."""
    if "torchvision" not in sys.modules:
        stub = types.ModuleType("torchvision.transforms.functional")
        stub.InterpolationMode = stub.rotate = stub.normalize = None
        for name in ("torchvision", "torchvision.transforms", stub.__name__):
            module = stub if name == stub.__name__ else types.ModuleType(name)
            module.__spec__ = types.SimpleNamespace()  # what says that it is there
            monkeypatch.setitem(sys.modules, name, module)
    return pytest.importorskip("spandrel")


def esrgan(features=4, grown=32):
    """Weights of an ESRGAN of one block, four times as large, as Real-ESRGAN's files have them."""
    generator, weights = torch.Generator().manual_seed(0), {}
    sizes = {"conv_first": (3, features), "conv_body": (features, features)}
    for part in (1, 2, 3):
        for k in range(1, 6):
            out = grown if k < 5 else features
            sizes[f"body.0.rdb{part}.conv{k}"] = features + (k - 1) * grown, out
    sizes |= {name: (features, features) for name in ("conv_up1", "conv_up2", "conv_hr")}
    sizes["conv_last"] = features, 3
    for name, (a, b) in sizes.items():
        weights[f"{name}.weight"] = torch.randn(b, a, 3, 3, generator=generator) / 5
        weights[f"{name}.bias"] = torch.rand(b, generator=generator) / 5
    return weights


def test_spandrel_reads_all_others(settings, spandrel):
    torch.save({"params_ema": esrgan()}, "x.pth")
    it = enlarger("x.pth", settings)
    assert it.scale == 4
    assert it.at((128, 128)).software[-1].startswith("spandrel ")
    known = spandrel.ModelLoader().load_from_file("x.pth")
    pixels = torch.from_numpy(noisy()).permute(2, 0, 1)[None] / 255
    expected = (known(pixels)[0].permute(1, 2, 0) * 255).round().numpy()
    assert np.abs(it(noisy(), (128, 128)) - expected).max() <= 1  # numbers that lie otherwise round otherwise


def test_what_is_infinite_is_not_taken_for_white(settings, spandrel):
    weights = esrgan()
    weights["conv_last.bias"] += float("inf")
    torch.save(weights, "x.pth")
    with pytest.raises(Error, match="what the upscaler makes is not finite"):
        enlarger("x.pth", settings)(noisy(), (128, 128))


def test_the_plain_kind_is_as_spandrel_has_it(settings, spandrel, upscaler):
    known = spandrel.ModelLoader().load_from_file(upscaler)
    pixels = torch.from_numpy(noisy()).permute(2, 0, 1)[None] / 255
    expected = (known(pixels)[0].permute(1, 2, 0) * 255).round().numpy()
    assert np.abs(enlarger(upscaler, settings)(noisy(), (64, 64)) - expected).max() <= 1


def test_what_is_no_upscaler_is_refused(settings, spandrel):
    save_file({"some.weight": torch.zeros(3)}, "x.safetensors")
    with pytest.raises(Error, match=r"^x\.safetensors is no upscaler that is known"):
        enlarger("x.safetensors", settings)


# The film


def test_frames_are_enlarged_and_those_that_the_model_made_are_kept(walk, upscaler):
    walk("--prompts", *ABC, "--out", "film.mp4", "--size", 32)
    before = written("film.walk")
    _, err = walk("--prompts", *ABC, "--out", "film.mp4", "--upscale", upscaler, "--size", 64)
    assert "9 of 9 frames are in film.walk already" in err
    assert written("film.walk") == before
    assert probe.timestamps(Path("film.mp4")).size == (64, 64)
    small, large = (sorted(Path(folder, "frames").glob("*.png")) for folder in ("film.walk", "film.walk/upscaled"))
    assert len(small) == len(large) == 9
    sizes = {Image.open(path).size for path in large}
    assert sizes == {(64, 64)}


def test_what_is_enlarged_is_what_the_network_makes_of_each_frame(walk, upscaler, tiny_folder):
    walk("--prompts", *ABC, "--out", "frames/", "--upscale", upscaler)
    it = enlarger(upscaler, models.complete(Settings(str(tiny_folder), steps=1)))
    small = sorted(Path("frames.walk/frames").glob("*.png"))
    shown = sorted(Path("frames").glob("*.png"))
    for a, b in zip(small, shown, strict=True):
        assert (it(np.asarray(Image.open(a)), (64, 64)) == np.asarray(Image.open(b))).all()


def test_a_stop_while_frames_are_enlarged_loses_none(walk, upscaler, monkeypatch):
    ask = "--prompts", *ABC, "--upscale", upscaler, "--out"
    walk(*ask, "whole.mp4")
    save, count = Run.save, 0

    def stopping(run, index, picture):
        nonlocal count
        count += run.folder.name == "upscaled"
        if count == 4:
            raise KeyboardInterrupt
        save(run, index, picture)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", stopping)
        _, err = walk(*ask, "film.mp4", status=130)
    there = written("film.walk/upscaled")
    assert 3 <= len(there) < 9
    kept = f"9 of 9 frames are safe in film.walk, {len(there)} of them enlarged; run the same command to go on"
    assert kept in err
    _, err = walk(*ask, "film.mp4")
    assert f"{len(there)} of 9 frames are enlarged already" in err
    assert written("film.walk/upscaled").items() > there.items()
    assert Path("film.mp4").read_bytes() == Path("whole.mp4").read_bytes()
    _, err = walk(*ask, "film.mp4")
    assert "film.mp4 is finished already" in err


def test_a_damaged_enlarged_frame_is_made_again(walk, upscaler):
    ask = "--prompts", *ABC, "--out", "film.mp4", "--upscale", upscaler
    walk(*ask)
    film = Path("film.mp4").read_bytes()
    path = sorted(Path("film.walk/upscaled/frames").glob("*.png"))[3]
    data = path.read_bytes()
    path.write_bytes(data[:-40])
    Path("film.mp4").unlink()
    walk(*ask)
    assert path.read_bytes() == data
    assert Path("film.mp4").read_bytes() == film


def test_an_edit_enlarges_only_what_it_changes(walk, upscaler):
    ask = "--upscale", upscaler, "--speed", "path", "--path", "slerp", "--out", "film.mp4"
    walk("--prompts", *ABC, *ask)
    before = written("film.walk/upscaled")
    walk("--prompts", *ABC[:2], "an owl", *ask)
    after = written("film.walk/upscaled")
    assert after.items() > before.items()
    assert len(after) == 9 + 4
    with unused(Path("film.walk")) as paths:
        assert {path.parts[:2] for path in paths} == {("film.walk", "frames"), ("film.walk", "upscaled")}
        assert len(paths) == 2 * 4


def test_the_film_is_reduced_to_its_size_before_frames_are_kept(walk, upscaler):
    walk("--prompts", *ABC, "--out", "film.mp4", "--upscale", upscaler, "--size", "48x32")
    assert probe.timestamps(Path("film.mp4")).size == (48, 32)
    assert {Image.open(path).size for path in Path("film.walk/upscaled/frames").glob("*.png")} == {(48, 48)}
    _, err = walk("--prompts", *ABC, "--out", "film.mp4", "--upscale", upscaler, "--size", "160x80")
    assert "note: the upscaler makes pictures of 64x64, and the film's are scaled to 160x160" in err
    assert probe.timestamps(Path("film.mp4")).size == (160, 80)


def test_a_film_that_is_no_larger_than_its_pictures_is_not_enlarged_for_nothing(walk, upscaler):
    _, err = walk("--prompts", *ABC, "--upscale", upscaler, "--size", 32, status=2)
    assert "--upscale enlarges for nothing, since the film is no larger than its pictures, 32x32" in err
    assert not list(Path().glob("*.walk"))


def test_pictures_that_would_be_too_large_are_refused_before_anything_is_rendered(walk, upscaler, monkeypatch):
    monkeypatch.setattr(enlargement, "LARGEST", 60)
    _, err = walk("--prompts", *ABC, "--upscale", upscaler, status=2)
    assert "--upscale would make pictures of 64x64; give a --size of up to 60" in err
    assert not list(Path().glob("*.walk"))


def test_a_film_says_what_enlarged_it_and_is_made_again(walk, upscaler):
    walk("--prompts", *ABC, "--out", "film.mp4", "--upscale", upscaler)
    made = replay.read_recipe("film.mp4")
    assert dict(made.flags)["upscale"] == upscaler
    assert any(text.startswith("upscaler ") for text in made.made_with)
    told, _ = walk("info", "film.mp4", film=False)
    assert f"--upscale {upscaler}" in told
    assert f"run this beside {upscaler}" in told
    walk("replay", "film.mp4", film=False)
    assert walk("diff", "film.mp4", "film-again.mp4", film=False)[0] == ""
    a, b = (
        sorted(Path(folder).glob("*.png"))
        for folder in ("film.walk/upscaled/frames", "film-again.walk/upscaled/frames")
    )
    assert [path.read_bytes() for path in a] == [path.read_bytes() for path in b]
    Path(upscaler).unlink()
    _, err = walk("replay", "film.mp4", "--out", "third.mp4", film=False, status=2)
    assert (
        f"film.mp4 was enlarged by {upscaler}, which is not here, and films carry no folders; give --upscale PATH"
        in err
    )


def test_another_network_or_none_is_another_film_of_the_same_frames(walk, upscaler):
    save_file(compact(seed=1), "other.safetensors")
    films_made = []
    for how in ([], ["--upscale", upscaler], ["--upscale", "other.safetensors"], ["--upscale", upscaler]):
        walk("--prompts", *ABC, "--out", "film.mp4", *how, *(["--size", 64] if not how else []))
        films_made.append(Path("film.mp4").read_bytes())
    assert len(set(films_made)) == 3
    assert films_made[3] == films_made[1]
    assert len(written("film.walk")) == 9


def test_tiles_that_find_no_room_are_halved_and_that_is_said_once(walk, upscaler, monkeypatch):
    ask = "--prompts", *ABC, "--upscale", upscaler
    monkeypatch.setitem(upscale.TILE, "cpu", 128)
    walk(*ask, "--out", "whole.mp4")
    tiled = Upscaler._tiled

    def full(it, pixels, dtype):
        if it.tile > 64:
            raise torch.OutOfMemoryError("out of memory")
        return tiled(it, pixels, dtype)

    monkeypatch.setattr(Upscaler, "_tiled", full)
    _, err = walk("preview", *ask, "--out", "film.mp4")
    assert err.count("tiles of 128 pixels do not fit in memory; going on with 64") == 1
    assert "frames at a time" not in err
    _, err = walk(*ask, "--out", "film.mp4")
    assert err.count("tiles of 128 pixels do not fit in memory; going on with 64") == 1
    assert "tiles of 64" in walk("info", "film.mp4", film=False)[0]
    there = written("film.walk/upscaled")
    assert len(there) == 9
    monkeypatch.setattr(Upscaler, "_tiled", tiled)  # there is room again
    _, err = walk(*ask, "--out", "film.mp4")
    assert "film.mp4 is finished already" in err
    assert written("film.walk/upscaled") == there
    monkeypatch.setattr(Upscaler, "_tiled", lambda *_: full(types.SimpleNamespace(tile=128), *_[1:]))
    _, err = walk(*ask, "--out", "none.mp4", status=2)
    assert "the upscaler finds no room; give another --upscale" in err
    assert "9 of 9 frames are safe in none.walk" in err


def test_a_preview_says_how_long_it_takes_to_enlarge(walk, upscaler, monkeypatch):
    ask, loads, load = ("--prompts", *ABC, "--out", "film.mp4", "--upscale", upscaler), [], models.load
    with monkeypatch.context() as patch:
        patch.setattr(models, "load", lambda *given: loads.append(given) or load(*given))
        _, err = walk("preview", *ask)
    assert len(loads) == 1, "the model makes room for the upscaler, and does not come back"
    assert re.search(r"\nthe film: about \d.* more, .*0\.\d MB of frames\n", err)
    assert not Path("film.walk/upscaled").exists()
    with monkeypatch.context() as patch:
        patch.setattr(larger, "trial", lambda *given: larger.Trial(given[3], 100.0, 2 * 10**9))
        _, err = walk("preview", *ask)
    assert re.search(r"\nthe film: about \d:\d\d more, 1:40 of it to enlarge its frames, 2\.0 GB of frames\n", err)
    walk(*ask)
    _, err = walk("preview", *ask)
    assert "all frames are there already" in err


def test_a_preview_shows_what_an_upscaler_makes_of_a_picture_beside_what_it_was(walk, upscaler):
    ask = "--prompts", *ABC, "--out", "film.mp4", "--upscale", upscaler
    walk("preview", *ask)
    walk(*ask)
    sheet = np.asarray(Image.open("film.preview.png"))
    large, small = (Image.open(min(Path(folder, "frames").iterdir())) for folder in ("film.walk/upscaled", "film.walk"))
    for picture in (large, small.resize(large.size, Image.Resampling.LANCZOS)):
        assert _lies_in(np.asarray(picture), sheet)


def _lies_in(part, whole):
    height, width = part.shape[:2]
    corners = (part[0, 0] == whole[: 1 - height, : 1 - width]).all(axis=2)
    return any((whole[y : y + height, x : x + width] == part).all() for y, x in zip(*np.nonzero(corners)))


@pytest.mark.fresh
@pytest.mark.parametrize("command", [[], ["preview"]])
def test_the_model_gives_its_memory_back_before_frames_are_enlarged(walk, upscaler, monkeypatch, command):
    seen, load = [], models.load

    def loading(settings):
        seen.append(weakref.ref((model := load(settings)).pipe.unet))
        return model

    def enlarging(*_):
        assert seen.pop()() is None
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "load", loading)
    monkeypatch.setattr(Upscaler, "__call__", enlarging)
    walk(*command, "--prompts", *ABC, "--out", "film.mp4", "--upscale", upscaler, status=130)
    assert seen == []


def test_an_upscaler_can_be_left_out_of_a_film_that_is_made_again(walk, upscaler):
    walk("--prompts", *ABC, "--out", "film.mp4", "--upscale", upscaler)
    _, err = walk("replay", "film.mp4", "--size", 32, film=False, status=2)
    assert "give a larger --size, or --upscale none" in err
    walk("replay", "film.mp4", "--size", 32, "--upscale", "none", "--run", "film.walk", film=False)
    assert probe.timestamps(Path("film-again.mp4")).size == (32, 32)
    assert dict(replay.read_recipe("film-again.mp4").flags)["upscale"] == "none"


def test_another_network_of_the_same_name_is_told(walk, upscaler):
    walk("--prompts", *ABC, "--out", "film.mp4", "--upscale", upscaler)
    save_file(compact(seed=1), upscaler)
    _, err = walk("replay", "film.mp4", film=False)
    assert "note: the upscaler is not the one that enlarged that film's frames, so they will differ" in err


def test_a_film_does_not_tell_where_its_upscaler_lies(walk, upscaler):
    Path("folder").mkdir()
    Path(upscaler).rename(Path("folder", upscaler))
    for number, name in enumerate(("folder", f"folder/{upscaler}")):
        walk("--prompts", *ABC, "--out", f"{number}.mp4", "--upscale", name)
        assert dict(replay.read_recipe(f"{number}.mp4").flags)["upscale"] == upscaler
    assert Path("0.mp4").read_bytes() == Path("1.mp4").read_bytes()


@pytest.mark.watched
def test_the_built_in_models_own_makes_its_films_clearer_unless_told(walk):
    ask = "--prompts", "a fox", "an owl", "--frames", 2, "--run", "all.walk", "--out"
    shown = {}
    for out, more in (("own.mp4", []), ("none.mp4", ["--upscale", "none"]), ("own/", ["--size", 200])):
        walk(*ask, out, *more, film=False)
        shown[out] = {path.name for path in Path("all.walk/upscaled/frames").glob("*.png")}
    assert probe.timestamps(Path("own.mp4")).size == probe.timestamps(Path("none.mp4")).size == (512, 512)
    assert shown["own.mp4"] == shown["none.mp4"]
    assert len(shown["own.mp4"]) == 2
    assert {Image.open(path).size for path in Path("own").glob("*.png")} == {(200, 200)}
    told = [dict(replay.read_recipe(name).flags)["upscale"] for name in ("own.mp4", "none.mp4")]
    assert told == ["own", "none"]
    for name in ("own.mp4", "none.mp4"):
        _, err = walk("replay", name, "--run", "all.walk", "--out", "again.mp4", film=False)
        assert "note:" not in err
        assert walk("diff", name, "again.mp4", film=False)[0] == ""
    before = written("all.walk")
    for out, more in (("small.mp4", ["--size", 128]), ("frames/", [])):  # which need none
        walk(*ask, out, *more, film=False)
    assert len({path.name for path in Path("all.walk/upscaled/frames").glob("*.png")}) == 4
    assert written("all.walk") == before
    assert {Image.open(path).size for path in Path("frames").glob("*.png")} == {(128, 128)}


def test_a_models_own_lies_in_its_folder(walk, tiny_folder):
    _, err = walk("--prompts", *ABC, "--out", "film.mp4", "--upscale", "own", status=2)
    assert f"{tiny_folder} has no upscaler of its own; give a file as --upscale, or none" in err
    mine = shutil.copytree(tiny_folder, "mine")
    save_file(compact(), Path(mine, "upscaler.safetensors"))
    ask = "--prompts", *ABC, "--model", "mine", "--frames", 3, "--steps", 1, "--width", 32, "--height", 32, "--out"
    walk(*ask, "film.mp4", film=False)
    assert len(written("film.walk/upscaled")) == 3
    assert dict(replay.read_recipe("film.mp4").flags)["upscale"] == "own"
    again = "replay", "film.mp4", "--model", tiny_folder  # of the same weights, without it
    _, err = walk(*again, film=False, status=2)
    assert "has no upscaler of its own; give a file as --upscale, or none" in err
    _, err = walk(*again, "--upscale", "none", film=False)
    assert "note: the upscaler is not the one that enlarged that film's frames, so they will differ" in err


def test_the_built_in_models_own_keeps_what_it_enlarges(settings):
    """Reduced again, a picture is what it was, but for what is lost on the way."""
    own = enlarger("own", settings)
    smooth = np.asarray(Image.fromarray(noisy(16, 16)).resize((128, 128), Image.Resampling.BICUBIC))
    large = Image.fromarray(own(smooth, (256, 256)))
    again = np.asarray(large.resize((128, 128), Image.Resampling.BOX))
    assert own.scale == 2
    assert np.abs(again.astype(int) - smooth).mean() < 4


def test_what_is_not_enlarged_any_more_is_pruned_and_an_unfinished_folder_does_no_harm(walk, upscaler):
    walk("--prompts", *ABC, "--out", "film.mp4", "--upscale", upscaler)
    walk("--prompts", "an owl", "a fox", "--out", "film.mp4")
    with unused(Path("film.walk")) as paths:
        assert {path.parts[1] for path in paths} == {"frames", "upscaled"}
        assert len(paths) == 18
    walk("--prompts", *ABC, "--out", "film.mp4", "--upscale", upscaler)
    with unused(Path("film.walk")) as paths:
        assert len(paths) == 9
    walk("--prompts", *ABC, "--out", "film.mp4")
    with unused(Path("film.walk")) as paths:
        assert len(paths) == 18
    shutil.rmtree("film.walk/upscaled/frames")  # as where it was begun, and killed
    with unused(Path("film.walk")) as paths:
        assert {path.parts[1] for path in paths} == {"frames"}


def test_a_film_of_enlarged_frames_in_python_says_so(upscaler, tiny_folder):
    model = models.load(Settings(str(tiny_folder), steps=1, width=32, height=32))
    with Run("film.walk", Walk.through(read_prompts(ABC), frames=3), model.settings) as run, Work(run, model) as work:
        work.finished(run)
        with Larger(run, Upscaler(upscale.read(Path(upscaler)), run.settings), (64, 64)) as enlarged:
            enlarged.enlarge(work.listener)
            film.make(run, "film.mp4", shown=enlarged.run, size=64)
    assert probe.timestamps(Path("film.mp4")).size == (64, 64)
    assert any(text.startswith("upscaler ") for text in replay.read_recipe("film.mp4").made_with)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "4x-none.pth",
            "there is no upscaler '4x-none.pth' here; it is own, none, a .safetensors or .pth file, or",
        ),
        ("x.onnx", "x.onnx is of another kind"),
        ("gray.safetensors", "gray.safetensors is no upscaler that is known"),
        ("rgba.safetensors", "rgba.safetensors is no upscaler that is known"),
        ("odd.safetensors", "odd.safetensors is no upscaler that is known"),
        ("list.pth", "list.pth is no upscaler that is known: it has no weights"),
        ("bad.pth", "bad.pth is no upscaler that is known: it is damaged, or holds a program, which walk does not run"),
        ("words.txt", "words.txt is of another kind; it is own, none, a .safetensors or .pth file, or one on the hub"),
        ("bad.safetensors", "bad.safetensors is no upscaler that is known"),
    ],
)
def test_what_cannot_enlarge_is_refused_before_anything_is_rendered(walk, name, told):
    for bad in ("x.onnx", "words.txt", "bad.pth", "bad.safetensors"):
        Path(bad).write_bytes(b"no network")
    torch.save([1, 2], "list.pth")
    for other, channels, made in (("gray", 1, 4), ("rgba", 4, 16), ("odd", 3, 18)):
        weights = compact() | {"body.4.weight": torch.zeros(made, 4, 3, 3), "body.4.bias": torch.zeros(made)}
        save_file(weights | {"body.0.weight": torch.zeros(4, channels, 3, 3)}, f"{other}.safetensors")
    _, err = walk("--prompts", *ABC, "--upscale", name, status=2)
    assert told in err
    assert not list(Path().glob("*.walk"))


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("No module named 'torchvision'"), RuntimeError("nms is not there")]
)
def test_a_library_that_is_not_here_or_does_not_fit_is_named(walk, monkeypatch, error):
    class Broken:
        def find_spec(self, name, *_):
            if name == "spandrel":
                raise error

    torch.save(esrgan(), "x.pth")
    monkeypatch.delitem(sys.modules, "spandrel", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    _, err = walk("--prompts", *ABC, "--upscale", "x.pth", status=2)
    assert (
        f"x.pth needs a library that is not here, or does not fit ({error}); pip install spandrel, and torchvision"
        in err
    )


def test_a_file_that_changes_while_it_is_read_is_refused(upscaler, monkeypatch):
    weights = upscale.read_weights

    def changing(path):
        found = weights(path)
        save_file(compact(seed=1), path)
        return found

    monkeypatch.setattr(upscale, "read_weights", changing)
    with pytest.raises(Error, match=r"^twice\.safetensors was changed while it was read; run the same command again$"):
        upscale.read(Path(upscaler))
