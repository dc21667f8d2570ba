"""One call from Python: the command's film, and its refusals."""

import base64
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import walk
from walk import Error, cli, films
from walk.manifest import read_manifest

ABC = ["a red apple", "a green frog", "a blue whale"]


@pytest.fixture
def cheap(tiny_folder, empty_folder):
    return {"model": tiny_folder, "steps": 1, "speed": "path", "quiet": True}


def test_a_film_is_the_commands(cheap, capsys):
    film = walk.make(
        ABC, frames=6, seeds=[5, 6, 7], size=(96, 64), loop=True, fps=Fraction(25, 2), out="film.mp4", **cheap
    )
    assert capsys.readouterr().out == ""
    typed = ["--frames", "6", "--seeds", "5,6,7", "--size", "96x64", "--loop", "--fps", "12.5", "--out", "typed.mp4"]
    few = ["--model", str(cheap["model"]), "--steps", "1", "--speed", "path", "--quiet"]
    assert cli.main(["--prompts", *ABC, *typed, *few]) == 0
    assert film.path.read_bytes() == Path("typed.mp4").read_bytes()
    assert Path(film) == film.path == Path("film.mp4")


def test_numpys_numbers_and_what_is_left_out_are_taken(cheap):
    flags = {"frames": np.int64(3), "seeds": np.arange(3), "audio": None, "loop": False, "low_memory": np.bool_(False)}
    film = walk.make(ABC, **flags, out=Path("new") / "film.gif", **cheap)
    assert len(films.timestamps(film.path)[0]) == 3
    assert [keyframe.seed for keyframe in read_manifest("new/film.walk").walk.keyframes] == [0, 1, 2]


def test_a_file_of_prompts_is_read_and_names_the_film(cheap):
    Path("fruit.txt").write_text("an apple\na lemon\n")
    assert walk.make(Path("fruit.txt"), frames=2, **cheap).path == Path("fruit.mp4")


def test_a_notebook_shows_the_film(cheap, monkeypatch):
    film = walk.make(ABC, frames=3, out="a&b.mp4", **cheap)
    held = re.fullmatch('<video controls loop src="data:video/mp4;base64,(.*)"></video>', film._repr_html_())
    assert base64.b64decode(held[1]) == film.path.read_bytes()
    monkeypatch.setattr("walk.api.EMBEDDED", 10)
    assert film._repr_html_() == '<video controls loop src="a&amp;b.mp4"></video>'
    assert walk.Film(Path("b.gif"))._repr_html_() == '<img src="b.gif">'
    assert walk.Film(Path("frames"))._repr_html_() == "<code>frames</code>"


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


@pytest.mark.parametrize("prompts", [None, 3, [], {"0": "a fox"}], ids=str)
def test_what_are_no_prompts_is_an_error(cheap, prompts):
    with pytest.raises(Error, match=r"give a|were given"):
        walk.make(prompts, **cheap)


@pytest.mark.parametrize("given", [{"out": "\0.mp4"}, {"audio": "a\0.wav"}, {"style": "\0{}"}])
def test_a_nul_is_refused_like_all_that_nobody_can_type(cheap, given):
    (name,) = given
    with pytest.raises(walk.Error, match=f"--{name} has a NUL in it; give "):
        walk.make(ABC, frames=3, **{**cheap, **given})
