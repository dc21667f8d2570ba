"""Recipes: what a film carries makes it again, and whatever else a film may carry does no harm."""

import builtins
import io
import json
import os
import re
import shlex
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from walk import (
    Error,
    Keyframe,
    Settings,
    __version__,
    cli,
    commands,
    flags,
    models,
    probe,
    read_prompts,
    recipe,
    replay,
    video,
)
from walk.keyframes import MAX_PROMPT, MAX_SEED
from walk.recipe import Recipe

SETTINGS = Settings("toybox", 64, 32, 7, 3.5, "DDIMScheduler", "cpu", "float32", 2, "sha256 abc", ("torch 2.0",))
A, B = Keyframe("a red apple", 0), Keyframe("a green frog", 1)
GOOD = recipe.compose((A, B), {"frames": 5, "fps": Fraction(24), "path": "smooth", "speed": "path"}, SETTINGS)
ABSENT = "carries no recipe: it was made by something else, re-encoded, or with --no-metadata"
UNKNOWN = "carries a comment, but not a recipe that this version of walk knows"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(empty_folder):
    """Before any other fixture."""


def tree(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def brief(parameter):
    return ascii(parameter)[:50]


def is_harmless(text):
    """Nothing in it that a terminal would obey."""
    return all(letter.isprintable() or letter == "\n" for letter in text)


# A recipe makes its film again


def test_a_long_films_frames_are_told_and_of_more_than_can_be_told_that(monkeypatch):
    places = recipe.Positions(tuple(i / 200_000 for i in range(200_001)))
    made = recipe.compose((A, B), {"frames": 200_001, "fps": Fraction(24), "path": "smooth"}, SETTINGS, places)
    assert recipe.from_text(recipe.to_text(made), "film.mp4") == made
    monkeypatch.setattr(recipe, "MAX_TEXT", 1 << 20)
    told = recipe.from_text(recipe.to_text(made), "film.mp4")
    assert told.positions == recipe.Positions()
    assert not told.positions.told
    with pytest.raises(Error, match=r"^film\.mp4 is too long to carry where its frames are; make it again by its own"):
        replay.replayed("film.mp4", told, {})
    assert replay.replayed("film.mp4", told, {"frames": 10})[1].positions is None


@pytest.mark.parametrize("rendered", [(), (0, 4), (0, 2, 3, 4)])
def test_a_recipe_tells_which_frames_were_rendered(rendered):
    places = recipe.Positions((0.0, 0.25, 0.5, 0.75, 1.0), rendered=rendered)
    made = recipe.compose((A, B), {"frames": 5, "fps": Fraction(24), "path": "smooth"}, SETTINGS, places)
    assert recipe.from_text(recipe.to_text(made), "film.mp4") == made


@pytest.mark.parametrize("rendered", [[0, 2], [2, 4], [0, 3, 2, 4], [0, 2, 2, 4], [0, 4, 5], [-1, 0, 4], [0, 2.0, 4], {}, [[0], 4]])  # fmt: skip
def test_rendered_frames_between_which_others_cannot_be_are_refused(rendered):
    """A film's first and last are; without the last, those before it would lead back to the first."""
    places = recipe.Positions((0.0, 0.25, 0.5, 0.75, 1.0))
    text = recipe.to_text(recipe.compose((A, B), {"frames": 5, "fps": Fraction(24)}, SETTINGS, places))
    damaged = json.dumps(json.loads(text) | {"rendered": rendered})
    with pytest.raises(
        Error, match=r"^film\.mp4: the recipe is damaged: rendered are not frames of it, in order, from"
    ):
        recipe.from_text(damaged, "film.mp4")


KEYFRAMES = {
    "plain": (A, B),
    "emoji": (Keyframe("👩‍🚀 on the 🌙", 3), Keyframe("🙂", MAX_SEED)),
    "quotes": (Keyframe("it's \"quoted\", isn't `it`?", 0), Keyframe("$(touch pwned); rm -rf ~ & \\ \\n", 1)),
    "bars": (Keyframe("portrait | oil||canvas", 0), Keyframe("a=b | style: x=y", 1, "c=d #e")),
    "right to left": (Keyframe("شجرة تفاح", 0, "קוף"), Keyframe("תפוח אדום", 1)),
    "negative": (Keyframe("a", 0, "blurry, text"), Keyframe("b", 0), Keyframe("a", 0, "blurry")),
    "times": (Keyframe("a", 0, time=0.0), Keyframe("b", 5, "c", 0.1), Keyframe("d", 2, time=62.5)),
    "a time that is next to nothing": (Keyframe("a", 0, time=0.00001), Keyframe("b", 1)),
    "words of the format": (Keyframe("walk --prompts a.txt --loop", 0), Keyframe("painting #5, seed 7", 1)),
    "like files": (Keyframe("/imagine a fox", 0), Keyframe("a.txt", 1), Keyframe("~/b", 2, "more.txt")),
}
FLAGS = {
    "plain": {"frames": 5, "fps": Fraction(24), "path": "smooth", "speed": "even"},
    "all": {
        **{"frames": 48, "fps": Fraction(24000, 1001), "path": "slerp", "speed": "path", "loop": True, "ease": True},
        **{"size": 64, "quality": 0, "codec": "h265"},
    },
}


@pytest.mark.parametrize("chosen", FLAGS.values(), ids=FLAGS)
@pytest.mark.parametrize("keyframes", KEYFRAMES.values(), ids=KEYFRAMES)
def test_a_recipe_comes_back_as_it_was(keyframes, chosen):
    made = recipe.compose(keyframes, chosen, SETTINGS)
    assert recipe.from_text(recipe.to_text(made), "film.mp4") == made
    assert made.made_with == (f"walk {__version__}", "sha256 abc", "torch 2.0")


def test_a_recipe_has_the_settings_that_decide_pixels():
    names = ("model", "width", "height", "steps", "guidance", "scheduler", "dtype", "batch")
    assert dict(GOOD.flags).items() >= {name: str(getattr(SETTINGS, name)) for name in names}.items()


@pytest.mark.parametrize("keyframes", KEYFRAMES.values(), ids=KEYFRAMES)
def test_the_prompts_of_a_recipe_are_the_films_keyframes(keyframes):
    made = recipe.compose(keyframes, FLAGS["plain"], SETTINGS)
    Path("film.txt").write_text(recipe.as_prompt_file(made, "film.txt"), "utf-8")
    assert read_prompts("film.txt") == keyframes


@pytest.mark.parametrize("keyframes", KEYFRAMES.values(), ids=KEYFRAMES)
def test_replay_walks_through_the_films_keyframes(monkeypatch, keyframes):
    made = recipe.compose(keyframes, FLAGS["plain"] | {"frames": 2000}, SETTINGS)
    walks = []

    def stop(folder, walk, *_, **__):
        walks.append(walk)
        raise Error("that was it")

    monkeypatch.setattr("walk.run.Run", stop)
    assert command(monkeypatch, recipe.to_text(made), "replay", "film.mp4") == 2
    assert walks, "replay refused it"
    assert (walks[0].keyframes, walks[0].frames, walks[0].fps) == (keyframes, 2000, 24)


@pytest.mark.parametrize("chosen", FLAGS.values(), ids=FLAGS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        *[{"model": name} for name in ("-m", "my models/it's $(pwd)", "org/name@v1.0", "C:\\models\\a b", "模型")],
        *[{"guidance": guidance} for guidance in (0.0, 0.1, 100.0, 1 / 3, 0.00001)],
    ],
    ids=str,
)
def test_the_command_line_of_a_prompt_file_gives_the_same_flags(settings, chosen):
    made = recipe.compose((A, B), chosen, Settings(**vars(SETTINGS) | settings))
    about, line, *prompts = recipe.as_prompt_file(made, "it's.txt").splitlines()
    assert about == f"# made with walk {__version__}, sha256 abc, torch 2.0"
    assert prompts == ["a red apple | seed=0", "a green frog | seed=1"]
    walk, *words = shlex.split(line.removeprefix("# "))
    checked = [word.removeprefix("--").split("=", 1) for word in flags.checked(words)]
    assert (walk, *map(tuple, checked)) == ("walk", ("prompts", "it's.txt"), *made.flags)


def windows_words(line):
    """A command line's words, as programs on Windows find them (`subprocess.list2cmdline` has the rules). For cmd single
    quotes are letters, and what is not in double ones ends at an &."""
    words = []
    for word in re.findall(r'(?:"(?:\\.|[^"\\])*"|[^\s"])+', line):
        if word[0] == '"':
            word = re.sub(r'(\\+)("|$)', lambda it: it[1][: len(it[1]) // 2] + it[2], word[1:-1])
        else:
            assert not re.search(r"[&|<>^()']", word), f"{line} is split by cmd"
        words.append(word)
    return words


@pytest.mark.parametrize(
    "name", ["it's", "C:\\my films\\", "C:\\films\\a.txt", "a&b", "a fox", "{} at (night)", 'a "red" fox']
)
def test_on_windows_a_command_is_in_quotes_that_cmd_knows(monkeypatch, name):
    monkeypatch.setattr(sys, "platform", "win32")
    made = recipe.compose((A, B), {"style": name}, SETTINGS)
    line = recipe.as_prompt_file(made, "again.txt").splitlines()[1]
    words = windows_words(line.removeprefix("# "))
    assert words[words.index("--style") + 1] == name
    assert words[:3] == ["walk", "--prompts", "again.txt"]


def test_a_name_with_a_line_break_makes_no_prompt():
    lines = recipe.as_prompt_file(GOOD, "a\ncat.txt").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [*GOOD.prompts]


# What differs


def test_equal_recipes_do_not_differ():
    assert recipe.differences(GOOD, GOOD) == []


P = tuple("abcde")


@pytest.mark.parametrize(
    ("other", "lines"),
    [
        (("a", "b", "X", "d", "e"), ["- keyframe 3: c", "+ keyframe 3: X"]),
        (("a", "b", "d", "e"), ["- keyframe 3: c"]),
        (("a", "b", "c", "X", "d", "e"), ["+ keyframe 4: X"]),
        (("X", "a", "b", "c", "d"), ["+ keyframe 1: X", "- keyframe 5: e"]),
        (("a", "X", "Y", "d", "e"), ["- keyframe 2: b", "- keyframe 3: c", "+ keyframe 2: X", "+ keyframe 3: Y"]),
        (("a", "b", "c", "d", "e", "e"), ["+ keyframe 6: e"]),
    ],
    ids=brief,
)
def test_keyframes_differ_one_by_one(other, lines):
    assert recipe.differences(Recipe(P, (), ()), Recipe(other, (), ())) == lines


def test_flags_and_versions_differ_one_by_one():
    a = Recipe(P, (("frames", "5"), ("loop", "True"), ("fps", "24")), ("walk 1", "sha256 a"))
    b = Recipe(P, (("fps", "24"), ("frames", "6"), ("quality", "0")), ("walk 2", "sha256 a"))
    assert recipe.differences(a, b) == [
        *("- --frames 5", "+ --frames 6", "- --loop True", "+ --quality 0"),
        *("- made with walk 1", "+ made with walk 2"),
    ]


def test_the_same_model_in_another_place_is_no_difference():
    a = Recipe(P, (("model", "../mine"),), ("walk 1", "sha256 a"))
    assert recipe.differences(a, Recipe(P, (("model", "/home/mine"),), ("walk 1", "sha256 a"))) == []
    other = Recipe(P, (("model", "/home/mine"),), ("walk 1", "sha256 b"))
    assert recipe.differences(a, other)[:2] == ["- --model ../mine", "+ --model /home/mine"]


def test_films_of_very_many_keyframes_are_told_apart_in_seconds():
    """Whose recipes may be made to be slow: 8 MB hold a million prompts."""
    begun = time.process_time()
    recipe.differences(Recipe(("a",) * 1000, (), ()), Recipe(("b", "a") * 500, (), ()))
    assert time.process_time() - begun < 3


# What is no recipe


def changed(**parts):
    """A recipe, of which these parts are others."""
    return json.dumps(json.loads(recipe.to_text(GOOD)) | parts)


def without(name):
    return json.dumps({key: value for key, value in json.loads(recipe.to_text(GOOD)).items() if key != name})


def flagged(**other):
    return changed(flags=dict(GOOD.flags) | {name.replace("DASH", "-"): value for name, value in other.items()})


BROKEN = {
    "nothing": "",
    "blanks": " \n ",
    "another's comment": "Holidays 2024, \x1b[2J part 1",
    "JSON of somebody else": '{"a": 1}',
    "a list": "[1, 2]",
    "a number": "1",
    "null": "null",
    "NaN": "NaN",
    "cut": recipe.to_text(GOOD)[:-9],
    "twice": recipe.to_text(GOOD) * 2,
    "a later format": changed(format="walk recipe 2"),
    "a format that is a list": changed(format=["walk recipe 1"]),
    "nested 100000 deep": '{"format":"walk recipe 1","prompts":' + "[" * 100_000 + "]" * 100_000 + "}",
    "objects 100000 deep": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "100 MB": '{"format": "walk recipe 1", "prompts": ["' + "a" * 100_000_000 + '"]}',
    "a number of 10000 digits": '{"format": ' + "9" * 10_000 + "}",
    "a prompt of 100 kB": changed(prompts=["a" * 100_000, "b"]),
    **{f"no {name}": without(name) for name in ("prompts", "flags", "made_with")},
    "prompts that are a text": changed(prompts="/etc/passwd"),
    "prompts that are numbers": changed(prompts=[1, 2]),
    "prompts that are lists": changed(prompts=[["a"], ["b"]]),
    "no prompt": changed(prompts=[]),
    "a hundred thousand and one prompts": changed(prompts=["a"] * 100_001),
    "flags that are a list": changed(flags=[["frames", "5"]]),
    "flags that are a text": changed(flags="--frames 5"),
    "a flag that is a number": flagged(frames=5),
    "a flag that is null": flagged(model=None),
    "a flag that is NaN": flagged(guidance=float("nan")),
    "a flag that is infinite": flagged(seconds=float("inf")),
    "a flag that is true": flagged(loop=True),
    "a flag that is a list": flagged(model=["a", "b"]),
    "made_with that is a text": changed(made_with="walk"),
    "made_with of numbers": changed(made_with=[1, None]),
    "a terminal escape in a prompt": changed(prompts=["a\x1b[2J", "b"]),
    "a terminal escape in a flag": flagged(model="\x1b]0;gotcha\x07"),
    "a terminal escape in a flag's name": flagged(**{"\x1b[2J": "5"}),
    "a terminal escape in what it was made with": changed(made_with=["walk\x9b2J"]),
    "a line break in a prompt": changed(prompts=["a\nb | seed=5", "c"]),
    "a line break in a flag": flagged(model="a\n--out /tmp/x"),
    "a NUL": changed(prompts=["a\0", "b"]),
    "half a letter": changed(prompts=["a\ud800", "b"]),
    "an unknown flag": flagged(frmes="5"),
    "a flag of another command": flagged(yes="True"),
    "out": flagged(out="/tmp/pwned.mp4"),
    "prompts among the flags": flagged(prompts="/etc/passwd"),
    "seeds among the flags": flagged(seeds="1,2"),
    "quiet": flagged(quiet="True"),
    "film": flagged(film="other.mp4"),
    "weights": flagged(weights="sha256 0"),
    "help": flagged(help="True"),
    "a flag without a name": changed(flags={"": "5"}),
    "a flag without a value": flagged(model=""),
    "a flag with a number for a name": changed(flags={"5": "5"}),
    "a name with dashes": changed(flags={"noDASHmetadata".replace("DASH", "-"): "True"}),
    "a name with a value in it": changed(flags={"model=$(touch pwned)": "x"}),
    "a name with another flag in it": changed(flags={"frames 5 --out": "x"}),
    "a name that is an option": changed(flags={"--frames": "5"}),
    "a switch with a value": flagged(loop="5"),
    "frames=1e9": flagged(frames="1e9"),
    "frames=-1": flagged(frames="-1"),
    "frames of 10000 digits": flagged(frames="9" * 10_000),
    "guidance=nan": flagged(guidance="nan"),
    "seconds=inf": flagged(seconds="inf"),
    "fps=1/0": flagged(fps="1/0"),
    "an expression": flagged(frames="__import__('os').system('touch pwned')"),
    "an empty prompt": changed(prompts=["", "b"]),
    "a blank prompt": changed(prompts=["a", "  "]),
    "a comment for a prompt": changed(prompts=["a", "# walk --prompts b"]),
    "a prompt that smuggles a seed": changed(prompts=["a | seed=1 | seed=2", "b"]),
    "a prompt that smuggles a setting": changed(prompts=["a | out=/tmp/x", "b"]),
    "a seed out of range": changed(prompts=["a | seed=99999999999999999999", "b"]),
    "a time that is none": changed(prompts=["a | time=nan", "b"]),
    "times that do not increase": changed(prompts=["a | time=5", "b | time=1"]),
}
IMPOSSIBLE = {  # a form that is right, of a film that nobody can make
    "one prompt that is a file's name": changed(prompts=["/etc/passwd"]),
    "frames=1000000000": flagged(frames="1000000000"),
    "frames=99999999999999999999": flagged(frames="99999999999999999999"),
    "fewer frames than keyframes": flagged(frames="1"),
    "steps=99999999999999999999": flagged(steps="99999999999999999999"),
    "width=100000": flagged(width="100000"),
    "fps=9999999": flagged(fps="9999999"),
    "size=2": flagged(size="2"),
    "quality=1000": flagged(quality="1000"),
    "guidance of 300 digits": flagged(guidance="9" * 300),
    "frames and seconds": flagged(seconds="999999999"),
    "../ in the model": flagged(model="../../../../etc"),
    "a model that is a file": flagged(model="/etc/passwd"),
    "a model that is an address": flagged(model="https://example.org/a/b"),
    "a device that is a path": flagged(device="../x"),
    "a dtype that is an expression": flagged(dtype="__import__('os')"),
    "a scheduler that is an attribute": flagged(scheduler="__class__"),
    "a codec that is an option": flagged(codec="-y"),
    "a codec that is a command": flagged(codec="h264;touch pwned"),
    "ten thousand prompts": changed(prompts=["a"] * 10_000),
}


def command(monkeypatch, comment, *arguments):
    """The command's exit status, where the film film.mp4 has this comment and others a good recipe."""
    texts = {"film.mp4": comment}
    given = lambda film: probe.Metadata("", texts.get(str(film), recipe.to_text(GOOD)))  # noqa: E731
    monkeypatch.setattr(probe, "read_metadata", given)
    return cli.main(list(arguments))


def test_no_stem_that_a_film_names_is_opened(monkeypatch, capsys):
    Path("secret.txt").write_text("secret")
    comment = flagged(audio="song.mp3", listen="secret.txt", pace="energy")
    assert command(monkeypatch, comment, "replay", "film.mp4") == 2
    assert capsys.readouterr().err == (
        "walk: secret.txt is followed in the time of the sound that film.mp4 was made with; give both, as --listen and "
        "--audio\n"
    )


@pytest.fixture
def told(monkeypatch, capsys):
    """The sentence with which a command refuses a comment; nothing is made."""
    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("this was not refused"))

    def of(comment, *arguments):
        before = tree(Path())
        status = command(monkeypatch, comment, *arguments)
        out, err = capsys.readouterr()
        assert (status, out) == (2, ""), "this was not refused"
        assert tree(Path()) == before
        assert is_harmless(err)
        *_, last = err.splitlines()
        assert last.startswith("walk: ")
        assert len(last) < 500, "the whole screen is full of it"
        return last.removeprefix("walk: ")

    return of


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_recipe_is_refused_and_nothing_in_it_is_opened(monkeypatch, name):
    def fail(*_, **__):
        pytest.fail("a file was opened")

    monkeypatch.setattr(probe, "read_metadata", lambda film: probe.Metadata("", BROKEN[name]))
    with monkeypatch.context() as patch:
        for module in (builtins, io, os):
            patch.setattr(module, "open", fail)
        with pytest.raises(Error) as caught:
            replay.read_recipe("film.mp4")
    message = str(caught.value)
    assert message.startswith("film.mp4")
    assert is_harmless(message)
    assert "\n" not in message
    assert len(message) < 490, "the whole screen is full of it"


@pytest.mark.parametrize("arguments", [["info"], ["info", "--json"], ["diff", "good.mp4"], ["replay"]], ids=str)
@pytest.mark.parametrize("name", ["nothing", "a terminal escape in a prompt", "frames of 10000 digits"])
def test_what_is_no_recipe_is_one_sentence_from_every_command(told, name, arguments):
    head, *more = arguments
    assert told(BROKEN[name], head, "film.mp4", *more).startswith("film.mp4")


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_film_that_nobody_can_make_is_refused_before_any_work(told, name):
    assert told(IMPOSSIBLE[name], "replay", "film.mp4", "--out", "new.mp4")


@pytest.mark.parametrize("arguments", [["info"], ["info", "--json"], ["diff", "good.mp4"]], ids=str)
@pytest.mark.parametrize("name", [name for name in IMPOSSIBLE if name != "ten thousand prompts"])
def test_a_film_that_nobody_can_make_is_shown_harmlessly(monkeypatch, capsys, name, arguments):
    head, *more = arguments
    status = command(monkeypatch, IMPOSSIBLE[name], head, "film.mp4", *more)
    out, err = capsys.readouterr()
    assert status in (0, 2)
    assert is_harmless(out + err)
    assert tree(Path()) == {}
    if status == 0 and arguments == ["info"]:
        line = out.splitlines()[1]
        assert "$" not in line
        assert ";" not in line.replace("'h264;touch pwned'", "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", ABSENT),
        ("blanks", ABSENT),
        ("another's comment", UNKNOWN),
        ("cut", UNKNOWN),
        ("a later format", UNKNOWN),
        ("no flags", ": the recipe is damaged: prompts, flags or made_with is missing"),
        ("prompts that are numbers", ": the recipe is damaged: it holds something other than short texts"),
        ("a terminal escape in a prompt", r": the recipe is damaged: 'a\x1b[2J' has control characters"),
        ("frames=1e9", ": the recipe is damaged: --frames 1e9 is not valid; give a whole number, 1 or more"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said(told, name, message):
    assert told(BROKEN[name], "info", "film.mp4").removeprefix("film.mp4").lstrip(" ") == message


def test_a_switch_that_is_off_in_a_recipe_stays_off(monkeypatch):
    walks = []
    monkeypatch.setattr(commands, "film", lambda **chosen: walks.append(chosen) or "new.mp4")
    assert command(monkeypatch, flagged(loop="False", ease="True"), "replay", "film.mp4") == 0
    assert (bool(walks[0].get("loop")), walks[0]["ease"]) == (False, True)


# Hostile recipes in real films


def test_a_folder_is_told_from_a_film(capsys):
    Path("film.walk").mkdir()
    assert cli.main(["info", "film.walk"]) == 2
    message = "walk: film.walk is a folder; give a film, .mp4, .webm, .mov or .gif\n"
    assert capsys.readouterr() == ("", message)


@pytest.fixture(scope="module")
def film_with(tmp_path_factory):
    """A real film that carries this comment."""
    folder = tmp_path_factory.mktemp("frames")
    frames = [folder / f"{number}.png" for number in range(2)]
    for frame in frames:
        Image.new("RGB", (32, 32), (200, 30, 30)).save(frame)

    def of(comment, name="film.mp4"):
        metadata = probe.Metadata("a title", comment, ((Fraction(0), "a chapter"),))
        video.encode(frames, name, Fraction(24), size=32, metadata=metadata)
        return name

    return of


IN_FILMS = (
    "nothing", "another's comment", "nested 100000 deep", "a terminal escape in a prompt", "a line break in a flag",
    "an unknown flag", "out", "frames of 10000 digits", "a name with a value in it", "a prompt that smuggles a seed",
)  # fmt: skip


@pytest.mark.parametrize("name", IN_FILMS)
def test_a_film_with_a_hostile_recipe_is_refused_by_every_command(film_with, capsys, monkeypatch, name):
    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("this was not refused"))
    film_with(BROKEN[name])
    film_with(recipe.to_text(GOOD), "good.mp4")
    before = tree(Path())
    for arguments in (["info", "film.mp4"], ["replay", "film.mp4"], ["diff", "good.mp4", "film.mp4"]):
        status = cli.main(arguments)
        out, err = capsys.readouterr()
        assert (status, out) == (2, "")
        assert err.startswith("walk: film.mp4")
        assert err.count("\n") == 1
        assert is_harmless(err)
        assert tree(Path()) == before


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mov"])
def test_the_recipe_of_a_film_is_read_from_it(film_with, capsys, suffix):
    made = recipe.compose(KEYFRAMES["quotes"] + KEYFRAMES["emoji"], FLAGS["all"], SETTINGS)
    film_with(recipe.to_text(made), f"film{suffix}")
    assert cli.main(["info", f"film{suffix}", "--json"]) == 0
    assert recipe.from_text(capsys.readouterr().out, "stdout") == made


@pytest.mark.parametrize(
    "content", [None, b"", b"no film", b"\x89PNG\r\n\x1a\n", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"]
)
def test_what_is_no_film_is_refused(capsys, content):
    if content is not None:
        Path("film.mp4").write_bytes(content)
    before = tree(Path())
    for arguments in (["info", "film.mp4"], ["replay", "film.mp4"], ["diff", "film.mp4", "film.mp4"]):
        assert cli.main(arguments) == 2
        what = "cannot be read (No such file or directory)" if content is None else "is not a film that ffmpeg can read"
        assert capsys.readouterr() == ("", f"walk: film.mp4 {what}\n")
    assert tree(Path()) == before


def test_the_longest_prompts_come_back_from_a_film():
    keyframe = Keyframe("a" * MAX_PROMPT, 1, "b" * MAX_PROMPT, time=1.0)
    made = recipe.compose((keyframe, keyframe), {}, Settings())
    assert recipe.from_text(recipe.to_text(made), "film.mp4").prompts == made.prompts


def test_films_of_one_recipe_whose_frames_are_elsewhere_differ():
    a, b = (Recipe(P, (), (), ((0.0, x, 1.0), ())) for x in (0.5, 0.25))
    told = "the frames are elsewhere on the path, as with another sound"
    assert recipe.differences(a, b) == [told]
    other = recipe.differences(a, Recipe(P, (("fps", "25"),), (), b.positions))
    assert other == ["+ --fps 25"]
