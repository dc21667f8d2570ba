"""One call from Python: the command's film, and its refusals."""

import base64
import dataclasses
import multiprocessing
import os
import re
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

import walk
from walk import Error, OutOfMemoryError, Settings, cli, commands, models, probe, read_prompts
from walk.given import Given
from walk.manifest import read_manifest
from walk.models import Model

pytestmark = pytest.mark.usefixtures("shared_weights", "unwatched")

ABC = ["a red apple", "a green frog", "a blue whale"]


@pytest.fixture
def cheap(tiny_folder, empty_folder):
    return {"model": tiny_folder, "steps": 1, "size": 32, "speed": "path", "quiet": True}


def test_a_film_is_the_commands(cheap, capsys):
    flags = {"frames": 6, "seeds": [5, 6, 7], "loop": True, "fps": Fraction(25, 2), "out": "film.mp4"}
    film = walk.make(ABC, **cheap | flags | {"size": (96, 64)})
    assert capsys.readouterr().out == ""
    typed = ["--frames", "6", "--seeds", "5,6,7", "--size", "96x64", "--loop", "--fps", "12.5", "--out", "typed.mp4"]
    few = ["--model", str(cheap["model"]), "--steps", "1", "--speed", "path", "--quiet"]
    assert cli.main(["--prompts", *ABC, *typed, *few]) == 0
    assert film.path.read_bytes() == Path("typed.mp4").read_bytes()
    assert Path(film) == film.path == Path("film.mp4")


def test_numpys_numbers_and_what_is_left_out_are_taken(cheap):
    flags = {"frames": np.int64(3), "seeds": np.arange(3), "audio": None, "loop": False, "low_memory": np.bool_(False)}
    film = walk.make(ABC, **flags, out=Path("new") / "film.gif", **cheap)
    assert len(probe.timestamps(film.path)[0]) == 3
    assert [keyframe.seed for keyframe in read_manifest("new/film.walk").walk.keyframes] == [0, 1, 2]


def test_nought_is_given_and_none_and_no_are_left_out(monkeypatch, empty_folder):
    heard = []
    monkeypatch.setitem(commands.COMMANDS, "", lambda **chosen: heard.append(chosen) or "film.mp4")
    walk.make(ABC, guidance=0, quality=0, start=0.0, audio=None, loop=False)
    assert heard[0].items() >= {"guidance": 0, "quality": 0, "start": 0}.items()
    assert not heard[0].keys() & {"audio", "loop"}


def test_numbers_that_python_writes_otherwise_are_taken(monkeypatch, empty_folder):
    heard = []
    monkeypatch.setitem(commands.COMMANDS, "", lambda **chosen: heard.append(chosen) or "film.mp4")
    walk.make(ABC, guidance=1e-5, seconds=Fraction(1, 3), react=0.1 + 0.2)
    assert heard[0].items() >= {"guidance": 1e-5, "react": 0.1 + 0.2}.items()
    assert float(heard[0]["seconds"]) == 1 / 3


def test_a_loaded_model_takes_compile_auto_as_it_is(cheap):
    loaded = walk.models.load(Settings(str(cheap["model"]), steps=1))
    assert walk.make(ABC, loaded, frames=3, size=32, compile="auto", out="film.mp4", quiet=True).path.exists()


def test_threads_that_share_a_model_take_turns(cheap):
    loaded = walk.models.load(Settings(str(cheap["model"]), steps=4))

    def film(steps, name):
        return walk.make(ABC, loaded, frames=9, steps=steps, size=32, out=f"{name}.mp4", quiet=True).path.read_bytes()

    alone = [film(steps, f"alone{steps}") for steps in (1, 2, 3)]
    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(film, (1, 2, 3), "abc")] == alone


def _renders():
    try:
        walk.make(ABC, frames=3, steps=1, out="child.mp4", quiet=True)
    except Error as error:
        os._exit("was forked from one that has loaded a model already" in str(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_process_that_was_forked_from_one_that_has_rendered_does_not_wait_for_ever(cheap):
    walk.make(ABC, frames=3, out="film.mp4", **cheap)
    child = multiprocessing.get_context("fork").Process(target=_renders)
    child.start()
    child.join(60)
    child.kill()
    child.join()
    assert child.exitcode == 1


SESSION = """
import signal, sys
from walk import commands, progress

if sys.argv[1]:
    sys.ps1 = ">>> "  # as in a notebook, too
try:
    with commands._importing(progress.Listener()):
        signal.raise_signal(signal.SIGINT)
        print("imported")
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize(("interactive", "told"), [("yes", ["imported", "stopped"]), ("", ["stopped"])])
def test_an_interrupt_while_torch_is_imported_waits_in_a_session_which_would_be_lost(interactive, told):
    """Torch that is half imported cannot be imported again."""
    done = subprocess.run([sys.executable, "-c", SESSION, interactive], capture_output=True, text=True)
    assert done.stdout.split() == told, done.stderr


def test_whole_numbers_may_be_floats_and_dtypes_torchs(cheap):
    film = walk.make(ABC, frames=24 * 0.125, fps=24.0, dtype=torch.float32, device=torch.device("cpu"), **cheap)
    assert len(probe.timestamps(film.path)[0]) == 3


def test_a_dtype_may_be_numpys(monkeypatch, empty_folder):
    monkeypatch.setitem(commands.COMMANDS, "", command := mock.Mock(return_value="film.mp4"))
    walk.make(ABC, dtype=np.float16)
    assert command.call_args.kwargs["dtype"] == "float16"
    walk.make(ABC, dtype=float)
    assert command.call_args.kwargs["dtype"] == "float"  # which the command refuses by this name


@pytest.mark.parametrize("embedding", [{"a.pt": "gloom", "b.pt": "mist"}, [("a.pt", "gloom"), (Path("b.pt"), "mist")]])
def test_embeddings_may_come_with_their_words(monkeypatch, embedding):
    heard = []
    monkeypatch.setitem(commands.COMMANDS, "", lambda **chosen: heard.append(chosen["embedding"]) or "film.mp4")
    walk.make("a fox", embedding=embedding)
    assert heard == ["a.pt:gloom,b.pt:mist"]


def test_embeddings_of_which_some_keep_their_own_words_may_be_a_dict(monkeypatch):
    heard = []
    monkeypatch.setitem(commands.COMMANDS, "", lambda **chosen: heard.append(chosen["embedding"]) or "film.mp4")
    walk.make("a fox", embedding={Path("a.pt"): "gloom", "b.pt": None})
    assert heard == ["a.pt:gloom,b.pt"]


@pytest.mark.parametrize(
    "lora", [{"a, b.safetensors": 0.5, "c.safetensors": 1}, [("a, b.safetensors", 0.5), ("c.safetensors", 1)]]
)
def test_loras_are_given_with_their_weights(monkeypatch, empty_folder, lora):
    heard = []
    monkeypatch.setitem(commands.COMMANDS, "", lambda **chosen: heard.append(chosen["lora"]) or "film.mp4")
    for given in (lora, ("d.safetensors", 0.5), ["e:0.3", "f"], "g:2"):
        walk.make(ABC, lora=given)
    assert heard == ["a, b.safetensors:0.5,c.safetensors:1", "d.safetensors:0.5", "e:0.3,f", "g:2"]


def test_a_model_that_is_loaded_makes_the_commands_film_of_keyframes_too(cheap):
    loaded = models.load(Settings(cheap["model"], steps=1))
    flags = {"frames": 6, "size": 32, "quiet": True}
    walk.make(ABC, out="typed.mp4", steps=1, model=cheap["model"], **flags)
    typed = Path("typed.mp4").read_bytes()
    assert walk.make(read_prompts(ABC), loaded, out="film.mp4", **flags).path.read_bytes() == typed
    assert walk.make([ABC[0], *read_prompts(ABC[1:], 1)], loaded, **flags).path.read_bytes() == typed
    walk.make(ABC, loaded, out="other.mp4", steps=2, **flags)
    assert read_manifest("other.walk").settings.steps == 2
    assert isinstance(walk.preview(ABC, loaded, out="film.mp4", **flags), Image.Image)


class Plain(models.Model):
    """A model of one's own, that no name finds."""

    settings = Settings("plain", 16, 16, 1, 1.0, "none", "cpu", "float32", 2, "plain 1", ("torch",))

    def encode(self, keyframe):
        return {"length": torch.tensor([float(len(keyframe.prompt))])}

    def noise(self, seed):
        return torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(seed))

    def denoise(self, noise, conditioning):
        return noise + conditioning["length"][:, :, None, None]

    def decode(self, latents, exact=False):
        return lambda: (9 * latents).clamp(0, 255).byte()


@pytest.mark.parametrize("speed", ["even", "constant"])
def test_a_model_of_ones_own_makes_previews_and_films(cheap, speed, capfd):
    flags = {"frames": 20, "size": 32, "out": "film.mp4", "speed": speed, "quiet": True}
    assert isinstance(walk.preview(ABC, Plain(), **flags), Image.Image)
    assert len(probe.timestamps(walk.make(ABC, Plain(), **flags).path)[0]) == 20
    assert cli.main(["replay", "film.mp4"]) == 2
    assert capfd.readouterr().err.endswith(
        "walk: film.mp4 is of a program's own model, 'plain'; run that program, or give --model\n"
    )


def test_out_of_memory_a_model_of_ones_own_goes_on_with_half(cheap):
    class Large(Plain):
        def denoise(self, noise, conditioning):
            if len(noise) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().denoise(noise, conditioning)

    model = Large()
    model.settings = dataclasses.replace(model.settings, batch=4)
    walk.make(ABC, model, frames=6, size=32, out="film.mp4", quiet=True)
    assert read_manifest("film.walk").settings.batch == 1
    made = sorted(path.read_bytes() for path in Path("film.walk/frames").glob("*.png"))
    model.settings = dataclasses.replace(model.settings, batch=1)
    walk.make(ABC, model, frames=6, size=32, out="one.mp4", quiet=True)
    assert made == sorted(path.read_bytes() for path in Path("one.walk/frames").glob("*.png"))


def test_a_loaded_model_without_room_for_one_frame_is_said(cheap, monkeypatch):
    model = models.load(Settings(cheap["model"], steps=1, batch=1))
    full = OutOfMemoryError(dataclasses.replace(model.settings, device="cuda"))
    assert full.instead == {"low_memory": True, "batch": 1}
    monkeypatch.setattr(models.Pipeline, "denoise", mock.Mock(side_effect=full))
    with pytest.raises(OutOfMemoryError, match="a frame needs more memory than there is"):
        walk.make(ABC, model, frames=6, out="film.mp4", quiet=True)


@pytest.mark.parametrize(("given", "means"), [(True, True), (False, False), (None, "?"), ("auto", None), ("on", True)])
def test_compiling_is_yes_no_or_whichever_pays(monkeypatch, empty_folder, given, means):
    heard = []
    monkeypatch.setitem(commands.COMMANDS, "", lambda **chosen: heard.append(chosen.get("compile", "?")) or "film.mp4")
    walk.make(ABC, compile=given)
    assert heard == [means]


def test_a_path_is_a_file_even_where_there_is_none(cheap):
    with pytest.raises(Error, match="notes does not exist"):
        walk.make(Path("notes"), seeds=[1, 2], **cheap)


def test_what_is_no_noise_and_no_conditioning_is_said(cheap):
    class Odd(Plain):
        def noise(self, seed):
            return 3

    class Strange(Plain):
        def encode(self, keyframe):
            return torch.zeros(3)

    for model, told in (
        (Odd(), "noise of Odd gives a int; it is to give a tensor"),
        (Strange(), "encode of Strange gives a Tensor; it"),
    ):
        with pytest.raises(Error, match=told):
            walk.make(ABC, model, frames=3, out="film.mp4", quiet=True)
        assert not Path("film.walk").exists()


def test_a_rest_without_a_beginning_is_refused_at_one_speed(cheap):
    rests = [walk.Keyframe("a", 0), walk.Keyframe("b", 1, until=0.2), walk.Keyframe("c", 2)]
    with pytest.raises(
        Error, match=r"keyframe 2 \('b'\) is to rest, but it is not said from when; give it a time, too"
    ):
        walk.make(rests, Plain(), frames=20, speed="constant", quiet=True)


def test_tensors_are_keyframes_of_a_film(cheap):
    given = Given(models.load(Settings(cheap["model"], steps=1)))
    a, b = (given.encode(keyframe) for keyframe in read_prompts(ABC[:2]))
    half = given.keyframe("half", {name: (a[name] + b[name]) / 2 for name in a}, seed=7, frame=2)
    walk.make([ABC[0], half, ABC[2]], given, frames=6, size=32, out="film.mp4", quiet=True)
    assert read_manifest("film.walk").walk.keyframes[1].prompt == half.prompt
    with pytest.raises(Error, match="stands for tensors, which only the program that made them has"):
        walk.make([ABC[0], half], given.model, frames=6, quiet=True)


@pytest.mark.parametrize(
    ("model", "flags", "message"),
    [
        (5, {}, "int has no settings, at, so it is not a model; models.load loads one"),
        (
            "pipe",
            {},
            "a StableDiffusionPipeline in memory cannot be given; save it by save_pretrained('mine'), and give model='mine'",
        ),
        (Settings(), {}, "Settings are not a model; give walk.models.load of them"),
        (Given, {}, "Given is a class and not a model; give Given()"),
        (
            "loaded",
            {"width": 128},
            "the model is loaded with width 32, not 128; only steps, guidance, batch can be changed",
        ),
    ],
)
def test_what_is_no_model_or_another_one_is_refused(cheap, model, flags, message):
    if model in ("loaded", "pipe"):
        loaded = models.load(Settings(cheap["model"], steps=1))
        model = loaded if model == "loaded" else loaded.pipe
    with pytest.raises(Error) as refusal:
        walk.make(ABC, model, frames=3, **flags)
    assert message in str(refusal.value)


def test_a_file_of_prompts_is_read_and_names_the_film(cheap):
    Path("fruit.txt").write_text("an apple\na lemon\n")
    assert walk.make(Path("fruit.txt"), frames=2, **cheap).path == Path("fruit.mp4")


def test_a_notebook_shows_the_film(cheap, monkeypatch):
    film = walk.make(ABC, frames=3, out="a&b.mp4", **cheap)
    shown = '<video controls loop style="max-width: 100%" src="{}"></video>'
    held = re.fullmatch(shown.format("data:video/mp4;base64,(.*)"), film._repr_html_())
    assert base64.b64decode(held[1]) == film.path.read_bytes()
    monkeypatch.setattr("walk.api.EMBEDDED", 10)
    assert film._repr_html_() == shown.format("a&amp;b.mp4")
    assert walk.Film(Path("b.gif"))._repr_html_() == '<img style="max-width: 100%" src="b.gif">'
    assert walk.Film(Path("frames"))._repr_html_() == "<code>frames</code>"
    assert f"!ffplay {film}" == "!ffplay a&b.mp4"


def test_seeds_are_a_picture(cheap):
    model = models.load(Settings(cheap["model"], steps=1))
    drawn = walk.seeds("a red apple", model, count=2, out="sheet.png", quiet=True)
    assert isinstance(drawn, Image.Image)
    assert drawn.size == Image.open("sheet.png").size
    named = walk.seeds("a red apple", cheap["model"], steps=1, count=2, out="named.png", quiet=True)
    assert list(named.getdata()) == list(drawn.getdata())


def test_seeds_are_drawn_of_all_that_a_film_is_made_of(cheap):
    Path("list.txt").write_text("a fox | seed=3\nan owl\n")
    ways = (Path("list.txt"), ["a fox | seed=3", "an owl"], (it for it in read_prompts("list.txt")))
    drawn = [walk.seeds(way, Plain(), count=2, out="sheet.png", quiet=True).tobytes() for way in ways]
    assert drawn[0] == drawn[1] == drawn[2]
    assert drawn[0] != walk.seeds(["a fox", "an owl"], Plain(), count=2, out="sheet.png", quiet=True).tobytes()


def test_a_preview_is_a_picture(cheap):
    shown = walk.preview(ABC, frames=9, out="film.mp4", **cheap)
    assert isinstance(shown, Image.Image)
    assert np.array_equal(shown, Image.open("film.preview.png"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"frmes": 3}, "there is no flag --frmes; did you mean --frames? (walk --help lists them all)"),
        ({"seeds": {1: 2}}, "--seeds {1: 2} is not valid; give whole numbers with commas between, 1-8, or words"),
        ({"frames": 2.5}, "--frames 2.5 is not valid; give a whole number, 1 or more"),
        ({"low_memory": True, "device": "cpu"}, "--low-memory spares a GPU's memory, and cpu has none of its own; leave it out"),
    ],
    ids=str,
)  # fmt: skip
def test_what_the_command_refuses_is_an_error(cheap, flags, message):
    with pytest.raises(Error) as refusal:
        walk.make(ABC, **cheap, **flags)
    assert str(refusal.value) == message


@pytest.mark.parametrize("what", [Error("no"), KeyboardInterrupt(), ValueError("a bug of one's own")], ids=repr)
def test_only_a_bug_is_shown_with_the_code_that_it_came_through(cheap, what):
    class Stopped(Plain):
        def denoise(self, noise, conditioning):
            raise what

    walk.make(ABC[:2], Plain(), frames=2, out="film.mp4", quiet=True)
    with pytest.raises(type(what)) as stop:
        walk.make(ABC, Stopped(), frames=3, out="film.mp4", quiet=True)
    shown = "".join(traceback.format_exception(stop.value))
    bug = isinstance(what, ValueError)
    assert shown.endswith("a bug of one's own\n" if bug else "run the same command to go on\n")
    assert ("raise what" in shown) == bug
    assert (shown.count("  File ") > 3) == bug


@pytest.mark.parametrize("prompts", [None, 3, [], {"0": "a fox"}, {"a fox"}], ids=str)
def test_what_are_no_prompts_is_an_error(cheap, prompts):
    with pytest.raises(Error, match=r"give a|were given"):
        walk.make(prompts, **cheap)


@pytest.mark.parametrize("given", [{"out": "\0.mp4"}, {"audio": "a\0.wav"}, {"style": "\0{}"}])
def test_a_nul_is_refused_like_all_that_nobody_can_type(cheap, given):
    (name,) = given
    with pytest.raises(walk.Error, match=f"--{name} has a NUL in it; give "):
        walk.make(ABC, frames=3, **{**cheap, **given})


def test_a_model_whose_settings_leave_something_open_is_refused_with_what(cheap):
    class Open(Model):
        settings = Settings(model="mine")
        encode = noise = denoise = decode = None

    with pytest.raises(Error, match=r"not complete: they lack width, .*; software is what computes the pictures"):
        walk.make(ABC, Open(), frames=3)
