"""What each command makes, as a user sees it: pictures, films, and what is told of them. With a tiny model."""

import dataclasses
import io
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
import types
import unicodedata
import weakref
from pathlib import Path

import filelock
import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from walk import (
    Error,
    Keyframe,
    OutOfMemoryError,
    Settings,
    Walk,
    api,
    cli,
    commands,
    ffmpeg,
    files,
    hub,
    manifest,
    models,
    order,
    probe,
    read_prompts,
    reading,
    recipe,
    render,
    replay,
    run,
    sheet,
)
from walk.catalogue import CATALOGUE
from walk.check import Report, check
from walk.families import FAMILIES
from walk.run import films, unused

pytestmark = pytest.mark.usefixtures("shared_weights", "unwatched")

ABC = ["--prompts", "a red apple", "a green frog", "a blue whale"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(empty_folder):
    """Before any other fixture."""


@pytest.fixture
def walk(tiny_folder, capsys):
    """(stdout, the lines of stderr) of a command that does what it is asked, with a tiny model and few steps; films are
    as small as the model's pictures, unless told."""

    def of(*arguments, model=True, small=True, status=0):
        cheap = ["--model", str(tiny_folder)] * model
        if model and small and arguments[0] == "--prompts" and "--size" not in arguments:
            cheap += ["--size", "32"]
        if model and "--steps" not in arguments:
            cheap += ["--steps", "1"]
        done = cli.main([*map(str, arguments), *cheap])
        out, err = capsys.readouterr()
        assert done == status, err
        return out.removesuffix("\n"), err.splitlines()

    return of


@pytest.fixture
def refusal(walk):
    """The sentence with which a command is refused, before anything is rendered or written."""

    def of(*arguments, model=False):
        before = tree(Path())
        out, err = walk(*arguments, model=model, status=2)
        assert out == ""
        assert tree(Path()) == before
        return err[-1].removeprefix("walk: ")

    return of


def tree(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def frames(run="film.walk"):
    """The frames that are finished in a run folder, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in Path(run, "frames").glob("*.png")}


def unused_names(run="film.walk"):
    with unused(Path(run)) as paths:
        return {path.name for path in paths}


def pixels(folder):
    return [np.asarray(Image.open(path)) for path in sorted(Path(folder).glob("*.png"))]


def test_timecodes_are_of_the_films_own_rate(walk):
    _, err = walk("--prompts", "01:00:00:00 a red apple", "01:00:00:08 a green frog", "--fps", 25, "--out", "film.mp4")
    assert err[0] == "note: timecodes are read at 25 frames a second, as --fps says"
    assert len(probe.timestamps(Path("film.mp4")).times) == 9
    assert [keyframe.time for keyframe in read_prompts(replay.read_recipe("film.mp4").prompts)] == [0, 0.32]


@pytest.mark.parametrize("prompt", [r"a \(fox:5\)", r"a (red:5\)) fox"])
def test_parentheses_after_a_backslash_are_letters_to_the_notes_too(walk, prompt):
    small = ["--width", "64", "--height", "64", "--size", "64", "--steps", "1", "--speed", "path"]
    walk("--prompts", prompt, "a frog", "--frames", "2", "--out", "film.mp4", *small, model=False)
    assert check(Path("film.mp4")).facts[0].startswith("2 frames of ")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_prompts_come_through_a_pipe(walk):
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_text("a red apple\na green frog\n"))
    writer.start()
    walk("--prompts", "./pipe", "--frames", "3", "--out", "film.mp4")
    writer.join()


@pytest.mark.parametrize("first", [True, False])
def test_a_making_that_failed_lets_no_other_file_be_replaced(walk, refusal, monkeypatch, first):
    if first:
        walk(*ABC, "--frames", "3", "--out", "film.mp4")
    with monkeypatch.context() as patch:
        patch.setattr(ffmpeg, "feed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        walk(*ABC, "--frames", "3", "--quality", "1", "--out", "film.mp4", status=130)
    if first:
        walk(*ABC, "--frames", "3", "--quality", "2", "--out", "film.mp4")  # which is still the folder's own
    Path("film.mp4").write_bytes(b"somebody else's")
    said = refusal(*ABC, "--frames", "3", "--out", "film.mp4", model=True)
    assert said.startswith("film.mp4 is not as film.walk made it, so it is not overwritten")


def test_a_film_of_other_prompts_is_said_to_be_replaced(walk):
    said = "note: film.mp4 is of other prompts, and will be replaced; to keep it, stop, and give another --out"
    _, err = walk(*ABC, "--frames", "3", "--out", "film.mp4")
    assert said not in err
    _, err = walk("--prompts", "an owl", "a castle", "--frames", "3", "--out", "film.mp4")
    assert said in err
    _, err = walk("--prompts", "an owl", "a bear", "--frames", "3", "--out", "film.mp4")
    assert said not in err


@pytest.mark.watched
def test_a_film_with_a_colon_in_its_name_is_checked(walk):
    _, err = walk(*ABC, "--frames", "4", "--out", "take 2:b.mp4")
    assert not [line for line in err if line.startswith("note: ") and "played" in line]
    assert walk("check", "take 2:b.mp4", model=False)[0].endswith("nothing is wrong")


def test_another_tools_schedule_is_read_and_said_to_be(walk):
    Path("deforum.txt").write_text('{\n"0": "a red apple",\n"4": "a green frog"\n}\n')
    _, err = walk("--prompts", "deforum.txt", "--out", "film.mp4")
    assert err[:2] == [
        "note: the frame numbers before the prompts are read as frame=",
        "2 keyframes, 5 frames, 0.208 s at 24 frames a second",
    ]


def test_a_chorus_comes_back_with_its_picture(walk):
    prompts = ["--prompts", "a fox", "an owl", "a fox", "--frames", "5", "--size", "32", "--seed", "4"]
    walk(*prompts, "--out", "other/")
    walk(*prompts, "--seeds", "words", "--out", "same/")
    assert (pixels("other")[0] != pixels("other")[4]).any()
    np.testing.assert_allclose(*(pixels("same")[i].astype(int) for i in (0, 4)), atol=1)
    walk("--prompts", "a fox", "a mill", "an owl", *prompts[4:], "--seeds", "words", "--out", "moved/")
    assert [(pixels("moved")[i] == pixels("same")[j]).all() for i, j in ((0, 0), (4, 2))] == [True, True]


@pytest.mark.watched
def test_a_rest_between_keyframes_that_are_the_same_is_rendered_once_as_one_with_until_is(walk):
    for name, lines in (
        ("twice", "a | seed=1\na | seed=1 | time=2\nb"),
        ("until", "a | seed=1 | time=0 | until=2\nb | seed=2"),
    ):
        Path(f"{name}.txt").write_text(lines)
        _, err = walk("--prompts", f"{name}.txt", "--frames", "25", "--fps", "6")
        assert len(frames(f"{name}.walk")) == 13, "12 of the way, and one of the rest"
        assert not [line for line in err if "the one before again" in line]
        _, err = walk("--prompts", f"{name}.txt", "--frames", "25", "--fps", "6")
        assert f"25 of 25 frames are in {name}.walk already" in err
        assert "still from 0:00.0 to 0:02." in walk("check", f"{name}.mp4", model=False)[0]
    Path("still.txt").write_text("a | seed=1\na | seed=1")
    (told,) = (line for line in walk("--prompts", "still.txt", "--frames", "9")[1] if "stands still" in line)
    assert told == "note: the film stands still for 89% of its length, longest from 0:00.0 to 0:00.4"
    walk("preview", "--prompts", "twice.txt", "--frames", "25", "--fps", "6")
    walk("preview", "--prompts", "still.txt", "--frames", "9")
    assert len(frames("still.walk")) == 1


@pytest.fixture
def typed(monkeypatch):
    """What comes on standard input, of which nothing is left when it was read."""

    def of(data):
        files.read_input.cache_clear()
        monkeypatch.setattr(sys, "stdin", data and types.SimpleNamespace(buffer=io.BytesIO(data)))

    yield of
    files.read_input.cache_clear()


def test_prompts_on_standard_input_make_the_film_of_a_file_with_them(walk, typed):
    lines = "# animals\na fox | seed=4\r\n\nan owl 🦉\n".encode()
    typed(lines)
    walk("--prompts", "-", "--frames", "5", "--out", "typed.mp4")
    Path("file.txt").write_bytes(lines)
    walk("--prompts", "file.txt", "--frames", "5")
    assert Path("typed.mp4").read_bytes() == Path("file.mp4").read_bytes()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"# none\n", "standard input has no prompts; write one a line"),
        (b"a fox\n\xff", "standard input:2: byte 0xff is not UTF-8; prompts are UTF-8 text, one a line"),
        (None, "standard input is closed; prompts are UTF-8 text, one a line"),
    ],
)
def test_what_is_no_prompts_on_standard_input_is_refused(refusal, typed, data, told):
    typed(data)
    assert refusal("--prompts", "-", "--frames", "5") == told


def test_a_folder_is_not_taken_for_a_prompt(refusal):
    Path("pictures").mkdir()
    told = "pictures is a folder; give a prompt file, or prompts"
    assert refusal("--prompts", "pictures", "--frames", "5") == told
    Image.new("RGB", (8, 8)).save("pictures/a.png")
    assert refusal("--prompts", "pictures", "--frames", "5") == f"{told}, or pictures/ for the pictures in it"


def test_standard_input_is_not_taken_for_a_prompt_among_others(refusal):
    told = "- stands for prompts on standard input, and for all of them; give it alone"
    assert refusal("--prompts", "-", "a fox", "--frames", "5") == told
    assert refusal("seeds", "a fox", "-") == told


def test_a_prompt_put_before_others_says_that_it_moves_their_seeds_and_how_to_keep_their_pictures(walk):
    file, lines = Path("film.txt"), ["a fox", "an apple", "a frog | seed=7", "a panda", "a whale"]
    command = ["--prompts", file, "--fps", "2", "--size", "32"]

    def told(*lines, more=(), film=True):
        file.write_text("\n".join(lines))
        (_, err) = walk(*command, *more) if film else walk("preview", *command, *more)
        return [line for line in err if line.startswith("note: ") and "seed" in line]

    assert told(*lines) == []
    note = "note: 3 prompts have other seeds than in the film that is here, since seeds follow the order of the list; "
    keep = "to keep their pictures, end the lines of keyframe "
    kept = keep + "3 in | seed=1, 5 in | seed=3, 6 in | seed=4"
    assert told(lines[0], "a new one", *lines[1:], film=False) == [note + kept]
    kept = keep + "1 in | seed=1, 3 in | seed=3, 4 in | seed=4"
    assert told(*lines[1:], film=False) == [note + kept]
    assert told(lines[1], lines[0], *lines[2:], film=False)[0].startswith("note: 2 prompts have other seeds than in")
    assert told(*lines, "a new one", film=False) == told(*lines[:2], "a new one", *lines[3:], film=False) == []
    unset = [line.partition(" |")[0] for line in lines]
    assert told(unset[0], "a new one", *unset[1:], film=False, more=["--seeds", "0-5"]) == []
    Path("film.mp4").rename("other.mp4")
    more = [f"thing {i}" for i in range(10)]
    told(*more)
    kept = keep + ", ".join(f"{i + 2} in | seed={i}" for i in range(8)) + ", and so on, to 11 in | seed=9"
    assert told("a new one", *more, film=False) == [note.replace("3 prompts", "10 prompts") + kept]
    # What is advised works: only what lies up to two keyframes away is rendered.
    comments, kept = [], walk("info", "other.mp4", model=False)[0].splitlines()
    while kept[0].startswith("#"):
        comments.append(kept.pop(0))
    before = frames()
    assert told(*comments, kept[0], "a new one", *kept[1:]) == []
    assert before.keys() < frames().keys()
    assert all(name.startswith(("00000.", "00001.", "00002.")) for name in frames().keys() - before.keys())
    assert told(lines[0], *lines) == []  # those were set


def test_a_keyframe_at_a_frame_arrives_there_also_where_a_gif_shows_another_rate(walk):
    prompts = ["--prompts", "a | frame=0", "b | frame=7", "c | frame=12", "--frames", "16"]
    for name, more in (("film.mp4", ["--fps", "23.976"]), ("film.gif", ["--fps", "24"]), ("to.mov", ["--bpm", "120"])):
        walk(*prompts, *more, "--out", name)
        positions = manifest.read_manifest(Path(name).with_suffix(".walk")).walk.positions
        assert [positions.index(k) for k in (0, 1, 2)] == [0, 7, 12]
    walk("replay", "film.mp4", "--out", "film.webm", model=False)
    assert "b | seed=1 | time=0.291958" in walk("info", "film.webm", model=False)[0]


# preview


@pytest.mark.parametrize(
    ("flags", "looked_at", "again"),
    [
        ([*ABC], 9, True),
        ([*ABC, "--loop"], 6, False),
        ([*ABC, "--speed", "path"], 9, True),
        ([*ABC, "--path", "slerp", "--ease"], 9, False),
        (["--prompts", "a red apple", "a green frog"], 9, False),
        (["--prompts", "a red apple | time=0.5", "a green frog | time=1", "--loop"], 6, False),
    ],
    ids=str,
)
def test_a_film_after_its_preview_renders_just_what_the_preview_did_not(walk, flags, looked_at, again):
    flags = [*flags, "--frames", "36", "--out", "film.mp4"]
    out, err = walk("preview", *flags)
    assert out == "film.preview.png"
    assert Image.open(out).size > (400, 400)
    assert not Path("film.mp4").exists()
    before = frames()
    assert len(before) == looked_at
    assert re.fullmatch(r"the film: about .* more, \d+\.\d MB of frames", err[-1])

    out, err = walk(*flags)
    assert out == "film.mp4"
    assert f"{looked_at} of 36 frames are in film.walk already" in err
    assert before.items() <= frames().items(), "the preview's frames were made again"
    left_out = unused_names()
    assert not left_out & set(before), "the preview's frames are not in the film"
    assert len(frames()) == 36 + len(left_out)

    if again:
        out, err = walk("preview", *flags)
        assert err[-1] == "all frames are there already"


def test_all_frames_of_a_rest_that_is_one_picture_are_there_already(walk):
    flags = ["--prompts", "a red apple", "a green frog | time=0.5", "--frames", "36", "--out", "film.mp4"]
    walk("preview", *flags)
    before = run.finished(Path("film.walk"))
    _, err = walk(*flags)
    made = manifest.read_manifest("film.walk")
    there = sum(name in before for name in manifest.fingerprints(made.walk, made.settings))
    assert there > 24
    assert f"{there} of 36 frames are in film.walk already" in err


def test_a_watched_prompt_file_is_drawn_again_whenever_it_is_saved(walk, monkeypatch):
    """With a mistake in between, and while it is away for a moment; the model is loaded once, and nothing that stays is
    rendered again."""
    file, told = Path("abc.txt"), []
    file.write_text("a red apple\na green frog\nan owl\n")
    edits = [
        lambda: file.write_text("a red apple\na green frog | tme=3\nan owl\n"),
        file.unlink,
        lambda: file.write_text("a red apple\na green frog\na boat\n"),
        lambda: None,
    ]

    def sleep(seconds):
        told.append(frames("abc.walk"))
        if not edits:
            raise KeyboardInterrupt
        edits.pop(0)()

    monkeypatch.setattr(commands.time, "sleep", sleep)
    out, err = walk("preview", "--prompts", "abc.txt", "--frames", 9, "--path", "slerp", "--watch")
    assert out == "abc.preview.png"
    drawn = "abc.preview.png is drawn; abc.txt is watched for changes, until Ctrl-C"
    assert err.count(drawn) == 2
    assert any(line.startswith("note: abc.txt:2: unknown setting tme=; did you mean time=?") for line in err)
    assert err.count("loading the model") == 1
    assert told[0].items() == told[1].items() == told[2].items() < told[3].items() == told[4].items()
    assert len(told[3]) - len(told[0]) == len(told[0]) // 2, "the new keyframe, and what lies before it"


def test_what_is_saved_while_the_film_is_rendered_is_drawn_when_that_is_done(walk, monkeypatch):
    file, rendering, looks = Path("abc.txt"), filelock.FileLock("abc.walk/lock"), []
    file.write_text("a red apple\na green frog\n")

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 1:
            rendering.acquire()
            file.write_text("a red apple\nan owl\n")
        elif len(looks) == 4:
            rendering.release()
        elif len(looks) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(commands.time, "sleep", sleep)
    err = walk("preview", "--prompts", "abc.txt", "--frames", 5, "--watch")[1]
    told = [line for line in err if "is drawn" in line]
    drawn = "abc.preview.png is drawn; abc.txt is watched for changes, until Ctrl-C"
    busy = "another walk is at work in abc.walk; wait for it, or give another --out; abc.txt is drawn when it is done"
    assert told == [drawn, f"note: {busy}", drawn]


def test_each_estimate_of_a_watched_film_includes_loading_the_model(walk, monkeypatch):
    """Also where nothing had to be rendered for the picture."""
    file, load = Path("abc.txt"), models.load
    edits = ["a red apple\na green bird\n", "a red apple\na green frog\n# as before\n"]
    file.write_text("a red apple\na green frog\n")

    def sleep(seconds):
        if not edits:
            raise KeyboardInterrupt
        file.write_text(edits.pop(0))

    def slow(settings):
        monkeypatch.setattr(commands.time, "monotonic", lambda real=time.monotonic: real() + 1000)
        return load(settings)

    monkeypatch.setattr(commands.time, "sleep", sleep)
    monkeypatch.setattr(models, "load", slow)
    err = walk("preview", "--prompts", "abc.txt", "--frames", 24, "--watch")[1]
    told = [line for line in err if line.startswith("the film: ")]
    assert len(told) == 3
    assert all(line.startswith("the film: about 16:") for line in told), told


@pytest.mark.parametrize("rendering", [True, False])
def test_a_stop_before_a_saved_file_is_drawn_says_that_the_picture_is_older(walk, monkeypatch, rendering):
    file, looks = Path("abc.txt"), []
    file.write_text("a red apple\na green frog\n")

    def stop(*_):
        raise KeyboardInterrupt

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) > 1:
            stop()
        file.write_text("a red apple\nan owl | tme=3\n")
        if rendering:
            file.write_text("a red apple\nan owl\n")
            monkeypatch.setattr("walk.work.Work.first_look", stop)

    monkeypatch.setattr(commands.time, "sleep", sleep)
    out, err = walk("preview", "--prompts", "abc.txt", "--frames", 5, "--watch", status=130)
    assert not out
    assert err[-1] == "walk: stopped; abc.preview.png shows abc.txt as it was before"


def test_only_a_prompt_file_is_watched(refusal):
    for prompts in ("a fox at night", "-", "."):
        told = refusal("preview", "--prompts", prompts, "--watch")
        assert told == "--watch waits for changes of a prompt file; give one as --prompts"
    assert refusal("preview", "--prompts", "missing.txt", "--watch").startswith("missing.txt does not exist")


def test_a_quick_preview_is_not_taken_for_the_film(walk):
    flags = [*ABC, "--frames", "12", "--steps", "6", "--speed", "path", "--out", "film.mp4"]
    out, _ = walk("preview", *flags, "--quick")
    assert out == "film.preview.png"
    assert not Path("film.walk/frames").exists()
    _, err = walk(*flags)
    assert not [line for line in err if "already" in line]
    assert len(frames()) == 12


def test_prune_needs_no_manifest_beside_a_film_and_a_quick_preview(walk):
    flags = [*ABC, "--frames", "5", "--steps", "9", "--out", "film.mp4"]
    walk(*flags)
    walk("preview", *flags, "--quick")
    Path("film.walk/walk.json").unlink()
    out, err = walk("prune", "film.walk", model=False)
    assert len(out.splitlines()) == len(frames("film.walk/quick"))
    assert err[-1].endswith("not used by the walk begun last; film.mp4 is older; add --yes to remove these frames")


def test_prune_lists_the_frames_of_quick_previews_which_no_film_uses(walk):
    flags = [*ABC, "--frames", "12", "--steps", "6", "--speed", "path", "--out", "film.mp4"]
    walk("preview", *flags, "--quick")
    quick = sorted(map(str, Path("film.walk/quick/frames").glob("*.png")))
    assert quick
    assert walk("prune", "film.walk", model=False)[0].splitlines() == quick
    walk(*flags)
    assert walk("prune", "film.walk", model=False)[0].splitlines() == quick
    walk("prune", "film.walk", "--yes", model=False)
    assert (len(frames()), len(frames("film.walk/quick"))) == (12, 0)


def test_a_preview_whose_film_would_be_too_wide_is_refused_before_it_is_rendered(walk):
    _, err = walk("preview", *ABC, "--frames", "12", "--width", "2048", "--out", "film.mp4", status=2)
    assert err[-1].startswith("walk: the film would have 32768x512 pixels, and sides up to 16384 are possible")
    assert [*Path().iterdir()] == []


def test_of_a_model_of_few_steps_a_quick_preview_is_as_good_as_any(walk):
    flags = [*ABC, "--frames", "12", "--steps", "4", "--speed", "path", "--out", "film.mp4"]
    _, err = walk("preview", *flags, "--quick")
    assert "the film: about" in err[-1]
    _, err = walk(*flags)
    assert "5 of 12 frames are in film.walk already" in err


def test_a_second_preview_tells_how_many_frames_are_missing_since_it_times_none(walk):
    flags = ["preview", *ABC, "--frames", "24", "--speed", "path", "--out", "film.mp4"]
    assert "the film: about" in walk(*flags)[1][-1]
    missing = 24 - len([*Path("film.walk/frames").iterdir()])
    assert walk(*flags)[1][-1].startswith(f"the film: {missing} frames more, ")


def test_a_preview_shows_the_frames_of_the_film(walk, monkeypatch):
    seen = {}
    real = sheet.preview

    def preview(walk, keys, between, *rest):
        seen.update(keys=keys, between=between)
        return real(walk, keys, between, *rest)

    monkeypatch.setattr(sheet, "preview", preview)
    flags = [*ABC, "--frames", "9", "--speed", "path"]
    walk("preview", *flags, "--out", "film.mp4")
    walk(*flags, "--out", "pngs/", "--size", "32")
    film = pixels("pngs")
    for got, indices in ((seen["keys"], (0, 4, 8)), (seen["between"], (2, 6))):
        assert len(got) == len(indices)
        for picture, index in zip(got, indices):
            np.testing.assert_array_equal(picture, film[index])


def test_a_preview_of_a_walk_that_rests_shows_the_same_frame_twice(walk):
    # Between keyframes that are the same, every frame a third of the way is one picture.
    file = Path("rests.txt")
    file.write_text("a | time=0\nb | time=2\nc | time=4\nc | time=10\nc | time=13\n")
    flags = ["--prompts", file, "--seeds", "7", "--fps", "1", "--frames", "14", "--path", "slerp", "--speed", "path"]
    assert walk("preview", *flags)[0] == "rests.preview.png"


def test_a_preview_refuses_what_the_film_would(refusal):
    assert refusal("preview", *ABC, "--frames", "2") == (
        "3 keyframes do not fit in 2 frames; give at least one frame for each"
    )
    assert "a film's name ends in" in refusal("preview", *ABC, "--out", "film.jpg")


# What a preview notes


@pytest.fixture(scope="module")
def notes():
    """What the built-in model says of a prompt; only its tokenizer is loaded."""
    from transformers import CLIPTokenizer

    model = models.Pipeline.__new__(models.Pipeline)
    model.settings, model.family = Settings(), FAMILIES["StableDiffusionPipeline"]
    tokenizer = CLIPTokenizer.from_pretrained(hub.find_model("toybox") / "tokenizer")
    pipe = types.SimpleNamespace(tokenizer=tokenizer, components={})
    model.reader = reading.Reader(pipe, model.family, {}, model.settings)
    return lambda prompt: model.notes(Keyframe(prompt, 0))


@pytest.mark.parametrize("prompt", ["a panda in a forest", "A Lemon, on a blue background!", "🙂 a robot"])
def test_a_prompt_of_known_words_needs_no_note(notes, prompt):
    assert notes(prompt) == []


def test_words_that_the_built_in_model_has_never_seen_are_named_in_their_order_in_one_note(notes):
    assert notes("a lemmon, a penguinn, a robbot in a forrest: xyzzyq") == [
        "the built-in model has never seen 'lemmon' (it knows 'lemon'), 'penguinn' (it knows 'penguin'), "
        "'robbot' (it knows 'robot'), 'forrest' (it knows 'forest'), 'xyzzyq', and guesses"
    ]


def test_words_of_notation_that_is_named_are_not_named_once_more(notes):
    for prompt in ("a frog --neg blurry", "a frog BREAK a panda", "a frog seed=4", "a frog <lora:foo:1>"):
        assert [note for note in notes(prompt) if "never seen" in note] == [], prompt


def test_several_of_a_known_thing_are_a_hint_and_emoji_alone_are_no_words_that_it_knows(notes):
    assert notes("cats and foxes") == [
        "the built-in model has never seen 'cats' (it knows 'cat'), 'foxes' (it knows 'fox'), and guesses"
    ]
    assert notes("🦊 🐸") == ["the built-in model has never seen '🦊', '🐸', and guesses"]


def test_another_word_is_not_taken_for_a_slip(notes):
    """Each is like a word that the model knows: sun, nest, frog, grey, blueberry, mouse, with, elephant."""
    strange = ["un", "best", "fog", "greg", "blurry", "douse", "witch", "elegant"]
    assert notes(" ".join(strange)) == [
        f"the built-in model has never seen {', '.join(map(repr, strange))}, and guesses"
    ]


def test_of_very_many_strange_words_some_are_named(notes):
    (note,) = notes(" ".join(f"qq{letter}" for letter in "abcdefghij"))
    assert note.endswith("'qqg', 'qqh' and 2 more words, and guesses")


def test_why_a_negative_prompt_is_not_heard_is_said(tiny_folder):
    model = models.load(Settings(model=str(tiny_folder), device="cpu", guidance=1.0))
    owl = Keyframe("an owl", 0, "rain")
    assert model.notes(owl) == ["with guidance 1 the negative prompt has no effect; give --guidance, over 1"]
    toybox = models.load(Settings(device="cpu"))
    assert toybox.notes(owl) == ["the model works without guidance, so the negative prompt has no effect"]
    guided = toybox.at(dataclasses.replace(toybox.settings, guidance=3.0))
    assert guided.notes(owl) == []


@pytest.mark.parametrize(("prompt", "word"), [("a café", "café"), ("ein Fuß", "fuß"), ("雪", "雪")])
def test_unknown_words_of_any_script_are_named_whole(notes, prompt, word):
    assert any(f"'{word}'" in note.lower() for note in notes(prompt))


def test_a_quoted_word_is_the_word(notes):
    assert notes("a 'panda' in the panda's \"forest\"") == []


def test_what_of_a_prompt_is_cut_is_named(notes):
    (note,) = [note for note in notes("a panda, " * 60 + "in the snow") if "too long" in note]
    assert note.startswith("the prompt is too long for the model, which does not read '")
    assert re.search(r"in the snow' \(\d+ words\)$", note)
    assert len(note) < 250


def test_a_preview_may_have_a_name_of_its_own(walk):
    out, err = walk("preview", *ABC, "--frames", "9", "--out", "look.png")
    assert out == "look.png"
    assert sorted(path.name for path in Path().iterdir()) == ["a-red-apple-a-green-frog-a-blue-whale.walk", "look.png"]
    name = "a-red-apple-a-green-frog-a-blue-whale"
    assert (
        f"its frames are kept in {name}.walk, where a film {name}.mp4 finds them; --out FILE.mp4 names another" in err
    )
    assert Image.open(out).size > (400, 400)


def test_a_preview_names_the_keyframe_that_is_cut_and_a_strange_size(walk):
    long = "a fox " * 20  # with a token for each letter, of which the tiny model reads four times 14
    _, err = walk("preview", "--prompts", "a fox", long, "--frames", "5", "--width", "64", "--steps", "1")
    noted = [line.removeprefix("note: ") for line in err if line.startswith("note: ")]
    assert [note.split(": ")[0] for note in noted[:2]] == ["keyframe 2", "the model was made for 32x32, not 64x32"]
    assert noted[2].startswith("with so few --steps as 1, denoising begins at 1 of 1000, and much noise stays; give ")
    assert "does not read" in noted[0]


@pytest.mark.parametrize("frames", [8, 2])
def test_a_preview_names_a_segment_that_hurries(walk, frames):
    file = Path("film.txt")
    file.write_text(
        "\n".join(f"{p} | time={t}" for p, t in zip("abcde", (0, 60, 60 + frames, 120 + frames, 180 + frames)))
    )
    _, err = walk("preview", "--prompts", file, "--fps", "1", "--speed", "path")
    (note,) = [line for line in err if "as fast" in line] or ["none"]
    assert re.fullmatch(
        r"note: keyframe 2 to 3 is [\d.]+ times as fast as the rest; give it more time, as --speed constant does", note
    )


def test_what_a_preview_renders_makes_no_film_frame_useless(walk):
    walk(*ABC, "--frames", "9", "--speed", "path", "--out", "film.mp4")
    film = set(frames())
    walk("preview", "--prompts", "a fox", "an owl", "--frames", "9", "--speed", "path", "--out", "film.mp4")
    assert not unused_names()  # a film of them may be begun
    others = set(frames()) - film
    assert others
    walk(*ABC, "--frames", "9", "--speed", "path", "--out", "film.mp4")
    assert unused_names() == others


@pytest.mark.watched
def test_where_the_film_flashes_is_told_with_what_may_help_of_what_was_chosen(walk, monkeypatch):
    flashing = Report((), (32, 32), 24.0, (), (0.0,), (), 0.0, ((1.0, 2.5, 5),))
    monkeypatch.setattr("walk.check.check", lambda *_, **__: flashing)
    _, err = walk(*ABC, "--bpm", "120", "--frames", "6", "--pace", "beat", "--pulse", "0.5", "--out", "beat.mp4")
    assert err[-2].startswith("note: flashes up to 5 times a second from 0:01.0 to 0:02.5; more than 3 can harm")
    others = "keyframes further apart or prompts nearer in brightness may help"
    assert err[-1] == f"note: where it flashes, a smaller --pulse, a smaller --react, {others}"
    own = ["--prompts", "a fox | pulse=0.5", "an owl", "--bpm", "120", "--frames", "6"]
    assert walk(*own, "--out", "own.mp4")[1][-1] == f"note: where it flashes, a smaller pulse=, {others}"
    _, err = walk(*ABC, "--frames", "6", "--out", "plain.mp4")
    assert err[-1] == f"note: where it flashes, {others}"


# What a stop says


@pytest.mark.watched
def test_a_stop_while_the_film_is_watched_says_that_it_is_made(walk, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("walk.check.check", stop)
    out, err = walk(*ABC, "--frames", "6", "--out", "film.mp4", status=130)
    assert (out, err[-1]) == ("", "walk: stopped; film.mp4 is made, but was not checked")
    assert len(probe.timestamps(Path("film.mp4"))[0]) == 6


# seeds


@pytest.fixture
def sheets(monkeypatch):
    """What each sheet shows: pictures by seed."""
    made = []
    real = sheet.seeds

    def seeds(pictures, numbers, prompt):
        made.append(dict(zip(numbers, pictures)))
        return real(pictures, numbers, prompt)

    monkeypatch.setattr(sheet, "seeds", seeds)
    return made


def test_a_film_that_another_of_other_seeds_will_replace_is_named(walk):
    film = ["--prompts", "a fox", "an owl", "--frames", 3, "--out", "a.mp4"]

    def told(*more):
        return [line for line in walk(*film, *more)[1] if "replaced" in line]

    assert not told()
    note = "note: a.mp4, which has other seeds, will be replaced; another --out, with --run a.walk, keeps both"
    assert told("--seed", 3) == [note]
    assert not told("--seed", 3, "--fps", 12)
    film[2] = "a boat"
    assert not told(), "that is an edit"


def test_a_number_among_prompts_for_a_sheet_is_said_to_be_drawn(walk):
    note = "note: 2 is drawn as a prompt; how many seeds, --count 2 would say"
    assert note in walk("seeds", "a fox", "2", "--count", 1)[1]


def test_a_sheet_of_seeds_is_named_after_its_prompt(walk, sheets):
    out, err = walk("seeds", "A red apple!")
    assert out == "a-red-apple.seeds.png"
    assert list(sheets[0]) == list(range(16))
    assert err[-1].startswith("rendering: ")
    assert [path.name for path in Path().iterdir()] == [out]
    assert Image.open(out).size > (400, 400)


def test_a_sheet_of_later_seeds_leaves_that_of_the_first(walk):
    walk("seeds", "a castle", "--count", "2")
    assert walk("seeds", "a castle", "--count", "2", "--from", "2")[0] == "a-castle.seeds-from-2.png"
    assert len([*Path().iterdir()]) == 2


def test_a_seed_has_one_picture_on_every_sheet_and_in_the_film(walk, sheets):
    walk("seeds", "a red apple", "--count", "3", "--out", "a.png")
    walk("seeds", "a red apple", "--count", "4", "--from", "1", "--out", "b.png", "--quiet")
    walk("--prompts", "a red apple", "--seeds", "0,2", "--frames", "2", "--out", "pngs/", "--size", "32")
    first, second = sheets
    assert (list(first), list(second)) == ([0, 1, 2], [1, 2, 3, 4])
    for seed in (1, 2):
        assert np.abs(first[seed].astype(int) - second[seed]).max() <= 1  # another row of the batch
    assert np.abs(first[1].astype(int) - first[2]).max() > 10
    for picture, seed in zip(pixels("pngs"), (0, 2)):
        assert np.abs(first[seed].astype(int) - picture).max() <= 1


def test_a_negative_prompt_changes_a_sheet(walk, sheets):
    for negative in ("", "blurry"):
        walk("seeds", "a red apple", "--count", "1", "--negative", negative, "--out", "a.png")
    assert (sheets[0][0] != sheets[1][0]).any()


def test_a_sheet_shows_seeds_in_the_style_that_the_film_will_have(walk, sheets):
    style = ["--style", "a photo of {}", "--count", "1"]
    assert walk("seeds", "a red apple", *style)[0] == "a-photo-of-a-red-apple.seeds.png"
    walk("seeds", "a photo of a red apple", "--count", "1")
    assert (sheets[0][0] == sheets[1][0]).all()


def test_a_sheet_in_a_new_folder_is_written(walk):
    assert walk("seeds", "a red apple", "--count", "1", "--out", "new/a.png")[0] == "new/a.png"
    assert Image.open("new/a.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "a.jpg"], "a.jpg: a sheet's name ends in .png, as in sheet.png"),
        (["--out", "file/a.png"], "file/a.png cannot be written: {here}/file is not a folder that you may write to; give another --out"),
        (["--from", "-1"], "seed -1 is out of range; seeds are whole numbers from 0 to 9223372036854775807, and none is drawn at random"),
        (["--from", "9223372036854775807", "--count", "2"], "seed 9223372036854775808 is out of range; seeds are whole numbers from 0 to 9223372036854775807"),
        (["--steps", "1001"], "steps 1001 is out of range; it is a whole number from 1 to 1000"),
        (["--model", "./nosuch"], f"there is no model './nosuch' here; {hub.ACCEPTED}"),
    ],
    ids=str,
)  # fmt: skip
def test_a_sheet_that_cannot_be_made_is_refused(refusal, tmp_path, arguments, message):
    Path("file").touch()
    assert refusal("seeds", "a red apple", *arguments) == message.format(here=tmp_path)


@pytest.mark.parametrize("count", [10**6, 10**20])
def test_more_seeds_than_a_sheet_can_show_are_refused(refusal, monkeypatch, count):
    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("this was not refused"))
    assert str(count) in refusal("seeds", "a red apple", "--count", str(count))


@pytest.fixture
def rows(monkeypatch):
    """What the sheet of several prompts shows, and of which seeds."""
    made = []
    real = sheet.choices

    def choices(rows, numbers):
        made.append((rows, [*numbers]))
        return real(rows, numbers)

    monkeypatch.setattr(sheet, "choices", choices)
    return made


def told(rows):
    """(prompt, negative prompt, its seeds in the film, the seeds of its pictures) of each row."""
    return [(row.prompt, row.negative, list(row.film), list(row.pictures)) for row in rows]


SONG = """# a song
a castle | time=0
a fox | seed=70
a castle | time=2 | until=3
an owl | negative=blurry
a castle | seed=1
"""


def test_a_sheet_of_a_file_shows_each_prompt_once_with_its_seeds_in_the_film_and_those_asked_for(walk, rows):
    Path("lists").mkdir()
    Path("lists/song.txt").write_text(SONG)
    out, err = walk("seeds", "lists/song.txt", "--count", "3")
    assert [path.name for path in Path().iterdir() if path.is_file()] == [out] == ["song.seeds.png"]
    ((shown, numbers),) = rows
    assert numbers == [0, 1, 2]
    assert told(shown) == [
        ("a castle", "", [0, 2, 1], [0, 1, 2]),
        ("a fox", "", [70], [70, 0, 1, 2]),
        ("an owl", "blurry", [3], [3, 0, 1, 2]),
    ]
    assert any(" of 11 pictures" in line for line in err)


def test_a_sheet_frames_the_seeds_that_flags_give_the_film(walk, rows):
    Path("song.txt").write_text("a castle\na fox | seed=70\na castle\n")
    walk("seeds", "song.txt", "--seeds", "words", "--count", "1")
    (castle, _, _) = read_prompts(Path("song.txt"), seeds="words")
    assert told(rows[0][0]) == [
        ("a castle", "", [castle.seed, castle.seed], [castle.seed, 0]),
        ("a fox", "", [70], [70, 0]),
    ]
    walk("seeds", "song.txt", "--seed", "8", "--count", "1")
    assert told(rows[1][0]) == [("a castle", "", [8, 10], [8, 0]), ("a fox", "", [70], [70, 0])]


def test_which_seeds_of_a_prompt_are_drawn_other_flags_say(refusal):
    assert refusal("seeds", "a castle", "--seeds", "3-5") == (
        "--seeds are those of the film's prompts; which ones to draw of a prompt, --from and --count say"
    )


def test_a_row_of_a_sheet_has_the_very_pictures_of_the_film(walk, rows):
    Path("song.txt").write_text("a red apple | seed=7\na green frog | negative=blurry\n")
    Path("five.txt").write_text("a red apple | seed=5\na green frog | negative=blurry | seed=5\n")
    walk("seeds", "song.txt", "--count", "1", "--from", "5", "--batch", "1")
    ((shown, _),) = rows
    for name, seeds in (("song", (7, 1)), ("five", (5, 5))):
        walk("--prompts", f"{name}.txt", "--frames", "2", "--out", f"{name}/", "--batch", "1")
        for row, seed, picture in zip(shown, seeds, pixels(name)):
            assert (row.pictures[seed] == picture).all()


def test_prompts_as_words_or_on_standard_input_have_a_sheet_as_in_a_file(walk, typed):
    command = ["--count", "2", "--style", "a photo of {}"]
    Path("list.txt").write_text("a fox\na frog\n")
    typed(b"a fox\na frog\n")
    outs = [walk("seeds", *words, *command)[0] for words in (["list.txt"], ["a fox", "a frog"], ["-"])]
    assert outs == ["list.seeds.png", *["a-photo-of-a-fox-a-photo-of-a-frog.seeds.png"] * 2]
    assert Path(outs[0]).read_bytes() == Path(outs[1]).read_bytes()


def test_each_line_of_lyrics_is_drawn_once(walk, rows):
    Path("song.lrc").write_text("[00:01.00] fire\n[00:03.00] rain | seed=9\n[00:05.00] fire\n[00:07.00]\n")
    assert walk("seeds", "song.lrc", "--count", "1", "--from", "4")[0] == "song.seeds-from-4.png"
    assert told(rows[0][0]) == [("fire", "", [0, 2], [0, 4]), ("rain", "", [9], [9, 4])]


def test_several_prompts_have_eight_seeds_each_and_a_file_of_one_is_drawn_like_that_prompt(walk, rows, sheets):
    Path("two.txt").write_text("fox\nowl\n")
    walk("seeds", "two.txt")
    assert rows[0][1] == [*range(8)]
    Path("one.txt").write_text("fox\n")
    assert walk("seeds", "one.txt")[0] == "one.seeds.png"
    walk("seeds", "fox")
    assert len(rows) == 1
    assert list(sheets[0]) == [*range(16)]
    assert Path("one.seeds.png").read_bytes() == Path("fox.seeds.png").read_bytes()


def test_one_prompt_with_a_seed_of_its_own_is_shown_with_that_too(walk, rows):
    walk("seeds", "a red apple | seed=30", "--count", "2")
    assert told(rows[0][0]) == [("a red apple", "", [30], [30, 0, 1])]


def test_a_sheet_encodes_each_prompt_once_and_fills_its_batches(walk, monkeypatch):
    encoded, batches = [], []
    encode, denoise = models.Pipeline.encode, models.Pipeline.denoise
    monkeypatch.setattr(models.Pipeline, "encode", lambda self, it: encoded.append(it.prompt) or encode(self, it))
    monkeypatch.setattr(
        models.Pipeline, "denoise", lambda self, noise, c: batches.append(len(noise)) or denoise(self, noise, c)
    )
    Path("song.txt").write_text(SONG)
    walk("seeds", "song.txt", "--count", "3", "--batch", "4")
    assert sorted(encoded) == ["a castle", "a fox", "an owl"]
    assert batches == [4, 4, 4]  # for 3 + 4 + 4 pictures


@pytest.mark.parametrize(
    ("prompts", "count", "remedy"),
    [
        (20, [], None),
        (28, ["--count", "9"], "28 prompts with 9 seeds each, and the film's own, are 280 pictures, and a sheet has room for 256; give --count 8, or fewer prompts"),
        (29, [], "29 prompts with 8 seeds each, and the film's own, are 261 pictures, and a sheet has room for 256; give --count 7, or fewer prompts"),
        (200, ["--count", "1"], "200 prompts with 1 seed each, and the film's own, are 400 pictures, and a sheet has room for 256; give 128 prompts, or fewer"),
        (300, [], "300 prompts with 8 seeds each, and the film's own, are 2700 pictures, and a sheet has room for 256; give 128 prompts, or fewer"),
        (1, ["--count", "257"], "1 prompt with 257 seeds are 257 pictures, and a sheet has room for 256; give --count 256"),
    ],
)  # fmt: skip
def test_more_pictures_than_a_sheet_has_room_for_are_refused_with_what_fits(refusal, prompts, count, remedy):
    Path("song.txt").write_text("".join(f"thing {k}\n" for k in range(prompts)))
    if remedy:
        assert refusal("seeds", "song.txt", *count) == remedy
    else:  # it goes on, to what is refused later
        assert refusal("seeds", "song.txt", *count, "--model", "./nosuch").startswith("there is no model './nosuch'")


@pytest.mark.parametrize("prompts", [["fox", "frog"], ["fox"]])
def test_a_stop_leaves_a_sheet_of_the_pictures_that_are_made(walk, rows, sheets, monkeypatch, prompts):
    real = render.render

    def stopped(*arguments):
        for made, pair in enumerate(real(*arguments)):
            if made == 4:
                raise KeyboardInterrupt
            yield pair

    monkeypatch.setattr(render, "render", stopped)
    out, err = walk("seeds", *prompts, "--count", "6", "--batch", "2", "--out", "a.png", status=130)
    total = 12 if len(prompts) == 2 else 6
    assert (out, err[-1]) == ("", f"walk: stopped; a.png shows the 4 of {total} pictures that were made")
    assert Image.open("a.png")
    if len(prompts) == 2:
        assert told(rows[0][0]) == [("fox", "", [0], [0, 1, 2, 3])]
    else:
        assert list(sheets[0]) == [0, 1, 2, 3]


def test_a_stop_before_the_first_picture_leaves_the_sheet_that_is_there(walk, monkeypatch):
    walk("seeds", "a fox", "--count", "1", "--out", "a.png")
    before = Path("a.png").read_bytes()
    monkeypatch.setattr(render, "render", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert walk("seeds", "a fox", "a frog", "--out", "a.png", status=130)[1][-1] == "walk: stopped; no sheet is made"
    assert Path("a.png").read_bytes() == before


def test_a_second_stop_while_the_sheet_is_drawn_says_that_there_is_none(walk, monkeypatch):
    monkeypatch.setattr(sheet, "choices", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    _, err = walk("seeds", "a fox", "a frog", "--count", "2", "--out", "a.png", status=130)
    assert err[-1] == "walk: stopped; 4 pictures were drawn, but no sheet is made"
    assert not Path("a.png").exists()


def test_words_without_quotes_are_refused(walk, refusal):
    message = "these are 3 prompts of one word each: 'a', 'red' and 'apple'; put a prompt of several words in quotes"
    assert refusal("--prompts", "a", "red", "apple", "--frames", "3") == message
    walk("--prompts", "fox", "frog", "owl", "--frames", "3", "--size", "32")


def test_pictures_much_larger_than_the_models_own_are_warned_of(walk):
    _, err = walk("--prompts", "a fox", "an owl", "--frames", "2", "--width", "64", "--height", "64", "--size", "64")
    assert any(line.endswith("; --size enlarges a film") for line in err)


def test_another_size_renders_nothing_and_a_film_of_both_sides_can_be_made_again(walk):
    command = [*ABC, "--frames", "5", "--out", "film.mp4", "--size"]
    walk(*command, "64")
    there = frames()
    _, err = walk(*command, "64x36")
    assert [line for line in err if "--size" in line] == [
        "note: --size 64x36 shows 56% of the pictures, which are 32x32; give --width and --height of nearly its "
        "proportions for more"
    ]
    assert "64x36" in walk("info", "film.mp4", model=False)[0]
    assert "5 frames of 64x36" in walk("check", "film.mp4", model=False)[0]
    assert "- --size 64x36" in walk("diff", "film.mp4", _replayed(walk, "48x36"), model=False)[0]
    assert frames() == there


def _replayed(walk, size):
    _, err = walk("replay", "film.mp4", "--size", size, "--out", "film.webm", model=False)
    assert not [line for line in err if "--size" in line]  # no more than a third is cut off
    return "film.webm"


def test_a_preview_shows_what_is_left_of_the_pictures(walk):
    picture = np.arange(24 * 16 * 3, dtype=np.uint8).reshape(24, 16, 3)
    assert (sheet.middle(picture, (80, 60)) == picture[6:18]).all()
    assert (sheet.middle(picture, (32, 96)) == picture[:, 4:12]).all()
    walk("preview", *ABC, "--frames", "9", "--size", "64x32", "--out", "wide.png")
    walk("preview", *ABC, "--frames", "9", "--size", "64", "--out", "square.png")
    wide, square = (Image.open(name).size for name in ("wide.png", "square.png"))
    assert wide[1] < square[1]


# info, replay, diff


@pytest.fixture
def a_film(walk, once):
    """A film of five frames, film.mp4."""
    prompts = ["--prompts", "a fox | oil, it's | negative=blurry", "🙂 b | seed=7 | time=0.15"]
    flags = ["--frames", "5", "--guidance", "2.5", "--path", "slerp", "--out", "film.mp4"]
    once("a film", lambda: walk(*prompts, *flags))


@pytest.mark.usefixtures("a_film")
def test_info_prints_a_prompt_file_that_says_how(walk):
    out, err = walk("info", "film.mp4", model=False)
    Path("again.txt").write_text(out + "\n", "utf-8")
    assert err == []
    assert out.splitlines()[1].startswith("# walk --prompts film-again.txt --frames 5 --fps 24 --path slerp ")
    assert read_prompts("again.txt") == (
        Keyframe("a fox | oil, it's", 0, "blurry"),
        Keyframe("🙂 b", 7, time=0.15),
    )


@pytest.mark.usefixtures("a_film")
def test_info_for_programs_is_json(walk):
    said = json.loads(walk("info", "film.mp4", "--json", model=False)[0])
    assert said["prompts"] == ["a fox | oil, it's | seed=0 | negative=blurry", "🙂 b | seed=7 | time=0.15"]
    assert (said["flags"]["frames"], said["flags"]["guidance"], said["flags"]["steps"]) == ("5", "2.5", "1")


@pytest.mark.fresh
@pytest.mark.usefixtures("a_film")
def test_replay_makes_the_same_film_of_the_same_frames(walk):
    out, err = walk("replay", "film.mp4", model=False)
    assert out == "film-again.mp4"
    assert not [line for line in err if "differ" in line]
    assert Path("film.mp4").read_bytes() == Path(out).read_bytes()
    assert [p.read_bytes() for p in sorted(Path("film.walk/frames").iterdir())] == [
        p.read_bytes() for p in sorted(Path("film-again.walk/frames").iterdir())
    ]
    assert walk("diff", "film.mp4", out, model=False) == ("", ["nothing differs"])


@pytest.mark.usefixtures("a_film")
@pytest.mark.parametrize("out", ["other.mp4", "other.gif", "other/"])
def test_replay_tells_how_nothing_is_rendered_again(walk, monkeypatch, out):
    note = "note: film.walk has these frames; --run film.walk uses them"
    _, err = walk("replay", "film.mp4", "--out", out, model=False)
    assert note in err

    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("a frame was rendered"))
    out = f"another{out[5:]}"
    _, err = walk("replay", "film.mp4", "--out", out, "--run", "film.walk", model=False)
    assert note not in err
    assert Path("film.mp4").exists()


@pytest.mark.usefixtures("a_film")
def test_replay_tells_of_no_frames_that_do_not_serve(walk):
    def told(*flags):
        return [line for line in walk("replay", "film.mp4", *flags, model=False)[1] if "has these frames" in line]

    assert told("--steps", "2", "--out", "film-again.mp4") == []
    shutil.rmtree("film.walk")
    assert told("--out", "new.mp4") == []


def test_films_of_several_sizes_are_made_of_one_render(walk, monkeypatch):
    walk(*ABC, "--frames", "9", "--size", "64x32", "--out", "wide.mp4")
    there = frames("wide.walk")
    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("a frame was rendered"))
    for out, size in (("tall.mp4", "32x64"), ("square.mov", "32")):
        walk(*ABC, "--frames", "9", "--size", size, "--out", out, "--run", "wide.walk")
    walk(*ABC, "--frames", "9", "--size", "64x32", "--out", "wide.mp4")  # which is still the folder's own
    assert frames("wide.walk") == there
    sizes = {name: check(Path(name)).facts[0] for name in ("wide.mp4", "tall.mp4", "square.mov")}
    assert [fact.split(",")[0].removeprefix("9 frames of ") for fact in sizes.values()] == ["64x32", "32x64", "32x32"]
    assert not list(Path().glob("tall.walk"))


def test_another_film_of_the_same_frames_is_told_of_them(walk):
    walk(*ABC, "--frames", "5", "--speed", "path", "--out", "wide.mp4")
    _, err = walk(*ABC, "--frames", "5", "--speed", "path", "--size", "16", "--out", "small.mp4")
    assert "note: wide.walk has these frames; --run wide.walk uses them" in err
    for more in (["--frames", "6"], ["--frames", "5", "--seed", "3"]):
        _, err = walk(*ABC, "--speed", "path", *more, "--out", f"other{more[-1]}.mp4")
        assert not [line for line in err if "has these frames" in line]


def test_a_run_folder_that_cannot_be_a_films_is_refused(walk, refusal):
    assert refusal(*ABC, "--run", "wide") == "--run wide: a run folder's name ends in .walk, as in wide.walk"
    beside = "--run a/wide.walk is not beside film.mp4, and knows the films that are made from it by their names; give --out a/film.mp4"
    assert refusal(*ABC, "--out", "film.mp4", "--run", "a/wide.walk") == beside
    Path("film.mp4").write_text("not walk's")
    walk(*ABC, "--frames", "3", "--out", "wide.mp4")
    said = refusal(*ABC, "--frames", "3", "--out", "film.mp4", "--run", "wide.walk", model=True)
    assert said.startswith("film.mp4 exists, and wide.walk has made no film of that name, so it is not overwritten")


def test_what_has_no_recipe_and_no_rate_is_refused_with_what_has(walk, refusal):
    walk(*ABC, "--frames", "3", "--out", "pngs/")
    for arguments in (["info", "pngs"], ["replay", "pngs/"], ["diff", "pngs", "pngs"], ["check", "pngs/"]):
        assert refusal(*arguments) == (
            "pngs is a folder of frames, which has no recipe and no rate; its command with --out pngs.mp4 makes a film "
            "of them"
        )
    assert refusal("info", "pngs.walk") == "pngs.walk is a folder; give a film, .mp4, .webm, .mov or .gif"


@pytest.mark.usefixtures("a_film")
def test_replay_changes_what_it_is_told_and_nothing_else(walk):
    changes = ["--steps", "2", "--seconds", "0.25", "--quality", "20", "--loop"]
    assert walk("replay", "film.mp4", *changes, "--out", "new.mp4", model=False)[0] == "new.mp4"
    assert set(walk("diff", "film.mp4", "new.mp4", model=False)[0].splitlines()) == {
        *("- --frames 5", "+ --frames 6", "- --steps 1", "+ --steps 2", "+ --quality 20", "+ --loop True"),
    }


def test_what_replay_is_told_takes_the_place_of_what_says_otherwise(walk, monkeypatch):
    Path("beats.txt").write_text("0\n0.5\n1\n1.5\n2\n2.5\n3\n3.5\n4\n")
    film = ["--bpm", "120", "--bars", "2", "--fps", "6", "--pace", "beat", "--react", "0.9", "--out", "film.mp4"]
    walk(*ABC, *film)
    asked = []

    def read(chosen, listener, *more):
        read_order(chosen, listener, *more)  # which refuses what contradicts itself
        asked.append(set(chosen))
        raise Error("that was it")

    read_order = order.read_order
    expected = {
        "--seconds 3": {"bars"},
        "--frames 48": {"bars"},
        "--beats beats.txt": {"bpm"},
        "--pace even": {"react"},
        "--ease": {"pace", "react"},
        "--bpm 100": set(),
    }
    with monkeypatch.context() as patch:
        patch.setattr(order, "read_order", read)
        for changes in expected:
            assert walk("replay", "film.mp4", *changes.split(), model=False, status=2)[1][-1] == "walk: that was it"
    assert {it: {"bpm", "bars", "pace", "react"} - them for it, them in zip(expected, asked)} == expected
    assert walk("replay", "film.mp4", "--ease", model=False)[0] == "film-again.mp4"


@pytest.mark.parametrize("switch", ["loop", "ease"])
def test_replay_can_switch_off_what_the_film_had_on(walk, switch):
    walk(*ABC, "--frames", "6", f"--{switch}", "--out", "film.mp4")
    walk("replay", "film.mp4", f"--{switch}=false", "--out", "new.mp4", model=False)
    said = json.loads(walk("info", "new.mp4", "--json", model=False)[0])
    assert switch not in said["flags"]


@pytest.mark.parametrize("out", ["new.mp4", "new.gif", "new/"])
def test_a_replay_in_another_format_has_that_ones_codec(walk, out):
    walk(*ABC, "--frames", "5", "--codec", "prores", "--out", "film.mov")
    assert walk("replay", "film.mov", "--out", out, model=False)[0] == out.rstrip("/")


@pytest.mark.usefixtures("a_film")
def test_replay_says_when_the_model_is_another(walk, tmp_path_factory):
    import tiny

    other = tiny.stable_diffusion(tmp_path_factory.mktemp("models") / "other", seed=1)
    _, err = walk("replay", "film.mp4", "--model", other, model=False)
    assert "note: the model is not the one that made that film, so its pictures will differ" in err


@pytest.mark.usefixtures("a_film")
def test_a_replay_by_another_model_leaves_out_what_was_meant_for_the_films_own(walk, tmp_path_factory):
    import tiny

    other = tiny.latent_consistency(tmp_path_factory.mktemp("models") / "other")
    _, err = walk("replay", "film.mp4", "--model", other, "--size", "64", "--guidance", "2", model=False)
    assert "another model: its own size, steps, guidance and scheduler are taken, unless given" in err
    said = json.loads(walk("info", "film-again.mp4", "--json", model=False)[0])["flags"]
    usual = models.complete(Settings(str(other)))
    assert (said["steps"], said["scheduler"], said["width"]) == (str(usual.steps), usual.scheduler, str(usual.width))
    assert float(said["guidance"]) == 2


@pytest.mark.usefixtures("a_film")
def test_a_replay_by_the_films_model_in_another_place_keeps_its_settings(walk, tiny_folder, tmp_path_factory):
    moved = shutil.copytree(tiny_folder, tmp_path_factory.mktemp("models") / "moved")
    _, err = walk("replay", "film.mp4", "--model", moved, model=False)
    assert not [line for line in err if "another model" in line]
    assert json.loads(walk("info", "film-again.mp4", "--json", model=False)[0])["flags"]["steps"] == "1"


@pytest.mark.parametrize("more", [["--fps", "12"], ["--out", "again.gif"]], ids=" ".join)
def test_a_replay_at_another_rate_keeps_times_where_they_are(walk, more):
    prompts = ["a red apple", "a green frog | time=0.5", "a blue whale | time=0.75"]
    walk("--prompts", *prompts, "--seconds", "1", "--out", "film.mp4")
    walk("replay", "film.mp4", *more, *([] if "--out" in more else ["--out", "again.mp4"]), model=False)
    made = manifest.read_manifest(Path("again.walk")).walk
    assert made.frames == made.fps
    half_a_frame = 0.51 / float(made.fps)
    assert [float(key / made.fps) for key in made.landmarks()[0]] == pytest.approx([0, 0.5, 0.75], abs=half_a_frame)


def test_keyframes_whose_words_begin_with_times_are_made_again_as_they_are(walk, tiny_folder):
    keyframes = [Keyframe("0:00 a fox", 3), Keyframe("0:02 an owl", 4), Keyframe("[0:05] a frog", 5)]
    api.make(keyframes, tiny_folder, frames=3, steps=1, size=32, out="film.mp4", quiet=True)
    walk("replay", "film.mp4", model=False)
    assert manifest.read_manifest("film-again.walk").walk.keyframes == tuple(keyframes)


def test_a_recipe_without_a_rate_has_the_usual_one():
    made = recipe.Recipe(("a fox | seed=0", "an owl | seed=1"), (("frames", "9"),), ("walk 0",))
    assert replay.replayed("film.mp4", made, {})[0]["fps"] == 24


@pytest.mark.usefixtures("a_film")
def test_replay_overwrites_nothing(refusal):
    Path("film-again.mp4").write_bytes(b"holidays")
    message = "film-again.mp4 exists and has no film-again.walk beside it, so it is not overwritten; move it, or give another --out"
    assert refusal("replay", "film.mp4") == message


def test_diff_tells_keyframes_apart(walk):
    for name, prompts in (("a", ABC[1:]), ("b", [ABC[1], "a tree", ABC[3]])):
        walk("--prompts", *prompts, "--frames", "3", "--out", f"{name}.mp4")
    assert walk("diff", "a.mp4", "b.mp4", model=False)[0].splitlines() == [
        "- keyframe 2: a green frog | seed=1",
        "+ keyframe 2: a tree | seed=1",
    ]


# Chapters


@pytest.mark.parametrize(
    ("flags", "chapters"),
    [
        ([*ABC, "--frames", "17"], [(0, "a red apple"), (1, "a green frog"), (2, "a blue whale")]),
        ([*ABC, "--frames", "24", "--loop"], [(0, "a red apple"), (1, "a green frog"), (2, "a blue whale")]),
        (["--prompts", "a", "b | time=0.5", "--seconds", "1"], [(0, "a"), (0.5, "b")]),
        # From 1 s on; the last keyframe, at 2 s, is where the round begins again: at 0 s.
        (["--prompts", "a | time=1", "b", "--loop", "--frames", "16"], [(0, "b"), (1, "a")]),
    ],
    ids=str,
)
def test_a_film_has_a_chapter_where_it_arrives_at_each_keyframe(walk, flags, chapters):
    walk(*flags, "--fps", "8", "--speed", "path", "--size", "64", "--out", "film.mp4")
    assert list(probe.read_metadata(Path("film.mp4")).chapters) == chapters


# What the shell says


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has none")
def test_a_render_that_is_to_outlast_its_terminal_does(walk):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    walk("models", model=False)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    walk("models", model=False)
    assert signal.getsignal(signal.SIGHUP) == signal.default_int_handler


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="stands in for one that only Windows has")
def test_ctrl_break_of_windows_stops_like_ctrl_c(walk, monkeypatch):
    """The only signal that a program can send there to one that it has started in a group of its own."""
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    before = signal.getsignal(signal.SIGUSR1)
    walk("models", model=False)
    assert signal.signal(signal.SIGUSR1, before) == signal.default_int_handler


def test_what_goes_into_a_file_is_utf8(walk, monkeypatch):
    walk("--prompts", "a fox", "日本", "--frames", "3", "--out", "film.mp4")
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    file = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", file)
    assert cli.main(["info", "film.mp4"]) == 0
    file.flush()
    assert "日本 | seed=1" in file.buffer.getvalue().decode("utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="there these names are one")
@pytest.mark.parametrize(("name", "other"), [("Film", "film"), ("Füchse", unicodedata.normalize("NFD", "füchse"))])
def test_a_film_is_known_however_its_name_is_typed_where_that_makes_no_difference(walk, monkeypatch, name, other):
    """As on Windows and macOS: it is found by the other name, too, which no folder lists."""
    command = ["--prompts", "a fox", "an owl", "--frames", "3"]
    walk(*command, "--out", f"{name}.mp4")
    os.link(f"{name}.mp4", f"{other}.mp4")
    os.symlink(f"{name}.walk", f"{other}.walk")
    usual = os.listdir
    monkeypatch.setattr(os, "listdir", lambda *folder: [it for it in usual(*folder) if not it.startswith(other)])
    out, _ = walk(*command, "--out", f"{other}.mp4", "--quality", "30")
    assert out == f"{name}.mp4"
    assert films(Path(f"{name}.walk")).keys() == {f"{name}.mp4"}


def test_a_prompt_may_have_the_name_of_the_folder_that_its_frames_go_to(walk):
    for _ in range(2):
        walk("--prompts", "fox", "--seeds", "1-2", "--frames", "4", "--out", "fox/")
    assert len(list(Path("fox").iterdir())) == 4


# prune


@pytest.fixture
def two_films(walk, once):
    """A run folder in which a second film has taken over some frames of a first."""
    flags = ["--frames", "9", "--path", "slerp", "--out", "film.mp4"]

    def make():
        walk("--prompts", "a", "b", "c", *flags)
        Path("old").write_text("\n".join(frames()))
        walk("--prompts", "a", "b", "d", *flags)

    once("two films", make)
    old = set(Path("old").read_text().split())
    Path("old").unlink()
    return old, set(frames()) - old


def test_prune_lists_what_the_newest_film_does_not_use(walk, two_films):
    old, new = two_films
    before = tree(Path())
    out, err = walk("prune", "film.walk", model=False)
    gone = {Path(line).name for line in out.splitlines()}
    assert (len(old), len(new), len(gone)) == (9, 4, 4)
    assert gone < old
    assert len(err) == 1
    by = "film.mp4, the newest film of this folder"
    assert re.fullmatch(rf"4 frames, \d+\.\d MB: not used by {by}; add --yes to remove these frames", err[0])
    assert tree(Path()) == before


def test_nobody_else_opens_a_folder_while_its_frames_are_pruned(two_films):
    made = manifest.read_manifest("film.walk")
    with unused(Path("film.walk")):
        with pytest.raises(Error, match="is at work in"):
            run.Run("film.walk", made.walk, made.settings)
        with pytest.raises(Error, match="is at work in"), unused(Path("film.walk")):
            pass
    for folder in ("film.walk", "film.walk/quick"):
        with (
            run.Run(folder, made.walk, made.settings),
            pytest.raises(Error, match="is at work in"),
            unused(Path("film.walk")),
        ):
            pass


def test_prune_says_which_film_counts_and_which_are_older(walk):
    def told():
        (said,) = walk("prune", "film.walk", model=False)[1]
        return re.fullmatch(r"\d+ frames, \d+\.\d MB: (.*); add --yes to remove these frames", said)[1]

    for last, out in (("c", "film.mov"), ("c", "film/"), ("d", "film.gif")):
        walk("--prompts", "a", "b", last, "--frames", "9", "--fps", "10", "--size", "64", "--out", out)
    assert told() == "not used by film.gif, the newest film of this folder; film.mov and film are older"
    _, err = walk("--prompts", "a", "b", "c", "--frames", "9", "--fps", "10", "--size", "64", "--out", "film/")
    assert "film is finished already" in err
    assert told() == "not used by film, the newest film of this folder; film.mov and film.gif are older"
    Path("film.mov").unlink()
    made = manifest.read_manifest("film.walk")
    run.Run("film.walk", dataclasses.replace(made.walk, smooth=False), made.settings).close()
    assert told() == "not used by the walk begun last; film.gif and film are older"


def test_prune_removes_them_and_the_film_needs_no_rendering(walk, two_films, monkeypatch):
    gone = {Path(line) for line in walk("prune", "film.walk", model=False)[0].splitlines()}
    before = tree(Path())
    out, err = walk("prune", "film.walk", "--yes", model=False)
    assert out == ""
    assert re.fullmatch(r"4 frames, \d+\.\d MB: removed", err[0])
    assert tree(Path()) == {path: content for path, content in before.items() if path not in gone}
    assert walk("prune", "film.walk", "--yes", model=False)[1] == ["0 frames, 0.0 MB: removed"]

    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("a frame was rendered"))
    _, err = walk("--prompts", "a", "b", "d", "--frames", "9", "--path", "slerp", "--out", "film.mp4")
    assert "9 of 9 frames are in film.walk already" in err


@pytest.mark.usefixtures("two_films")
def test_prune_removes_nothing_that_is_no_frame_of_walks(walk):
    strangers = [Path("film.walk/frames", name) for name in ("notes.png", "my-holidays.png", "a.txt")]
    for path in strangers:
        path.write_bytes(b"mine")
    walk("prune", "film.walk", "--yes", model=False)
    assert [path.name for path in strangers if not path.exists()] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "folder is not a run folder: it has no walk.json; give the FILM.walk beside a film"),
        *[(text, "folder/walk.json is damaged") for text in ("", "{", "[]", "{}", "null", "[" * 100_000)],
        *[({name: value}, "folder/walk.json is damaged") for name, value in [
            ("keyframes", 5), ("keyframes", [5]), ("keyframes", [{"promt": "a"}]), ("positions", ["a", "b"]), ("positions", None),
            ("positions", [99.5]), ("fps", "1/0"), ("fps", None), ("fps", "1e99999999"), ("settings", 5), ("settings", {"software": 5}),
            ("settings", {"software": [], "device": 5}),
        ]],
    ],
    ids=lambda parameter: ascii(parameter)[:40],
)  # fmt: skip
def test_what_is_no_run_folder_is_not_pruned(refusal, content, message):
    Path("folder/frames").mkdir(parents=True)
    Path("folder/frames/000000-0123456789abcdef.png").write_bytes(b"kept")
    good = {
        "keyframes": [{"prompt": "a", "seed": 0}, {"prompt": "b", "seed": 1}],
        **{"positions": [0.0, 0.5, 1.0], "fps": "24", "closed": False, "smooth": True, "settings": {"software": []}},
    }
    if content is not None:
        text = content if isinstance(content, str) else json.dumps(good | content)
        Path("folder/walk.json").write_text(text)
    assert refusal("prune", "folder", "--yes").startswith(message)


@pytest.mark.usefixtures("two_films")
def test_prune_leaves_what_may_serve_a_film_that_is_begun(walk, refusal):
    asked = manifest.read_manifest("film.walk")
    other, settings = dataclasses.replace(asked.walk, smooth=True), asked.settings
    with run.Run("film.walk", other, settings, decided=False) as begun:
        assert begun.fingerprints[3] not in manifest.fingerprints(asked.walk, settings)
        begun.save(3, np.zeros((settings.height, settings.width, 3), np.uint8))
        assert refusal("prune", "film.walk", "--yes") == str(run.BusyError(Path("film.walk")))
    listed = walk("prune", "film.walk", model=False)[0].splitlines()
    assert len(listed) == 4
    assert not [path for path in listed if begun.fingerprints[3] in path]


def test_a_folder_that_is_not_there_is_not_pruned(refusal):
    assert (
        refusal("prune", "nosuch.walk")
        == "nosuch.walk is not a run folder: it has no walk.json; give the FILM.walk beside a film"
    )


# no_metadata


def test_a_film_without_metadata_says_nothing_of_its_prompts(walk, refusal):
    walk(*ABC, "--frames", "3", "--no-metadata", "--out", "film.mp4")
    for path in [Path("film.mp4"), *Path("film.walk/frames").iterdir()]:
        assert not re.search(rb"red.apple|green.frog|tiny|walk recipe", path.read_bytes())
    for arguments in (["info", "film.mp4"], ["replay", "film.mp4"], ["diff", "film.mp4", "film.mp4"]):
        assert refusal(*arguments) == (
            "film.mp4 carries no recipe: it was made by something else, re-encoded, or with --no-metadata"
        )


def test_frames_say_what_made_them(walk):
    walk(*ABC, "--frames", "3", "--out", "pngs/")
    for path, prompt in zip(sorted(Path("pngs").iterdir()), ABC[1:]):
        assert prompt in Image.open(path).text["walk"]


def test_frames_without_metadata_say_nothing_though_an_earlier_run_said_it(walk):
    walk(*ABC, "--frames", "3", "--out", "pngs/")
    walk(*ABC, "--frames", "3", "--no-metadata", "--out", "pngs/")
    for path in sorted(Path("pngs").iterdir()):
        assert b"apple" not in path.read_bytes()
        assert b"frog" not in path.read_bytes()


# Formats


def test_a_folder_gets_the_frames_numbered(walk):
    out, _ = walk(*ABC, "--frames", "5", "--out", "new/pngs/")
    assert out.rstrip("/") == "new/pngs"
    assert sorted(path.name for path in Path("new").iterdir()) == ["pngs", "pngs.walk"]
    assert sorted(path.name for path in Path(out).iterdir()) == [f"{number:06d}.png" for number in range(5)]
    for exported, frame in zip(pixels(out), pixels("new/pngs.walk/frames")):
        np.testing.assert_array_equal(exported, frame)


def test_an_empty_folder_is_there_to_be_filled(walk):
    Path("pngs").mkdir()
    Path("pngs/.DS_Store").touch()
    walk(*ABC, "--frames", "5", "--out", "pngs/")
    assert len(list(Path("pngs").iterdir())) == 5


def test_a_folder_of_an_earlier_film_is_replaced_and_any_other_is_not(walk, refusal):
    walk(*ABC, "--frames", "5", "--out", "pngs/")
    walk(*ABC, "--frames", "3", "--out", "pngs/")
    assert len(list(Path("pngs").iterdir())) == 3
    Path("pngs/mine.png").write_bytes(b"mine")
    assert "mine.png" in refusal(*ABC, "--frames", "3", "--out", "pngs/")


@pytest.mark.watched
@pytest.mark.parametrize(
    ("suffix", "flags", "size"), [(".mp4", [], 512), (".webm", ["--size", "64"], 64), (".mov", ["--size", "64"], 64)]
)
def test_a_film_of_each_format_has_its_frames_and_can_be_replayed(walk, suffix, flags, size):
    out, err = walk(*ABC, "--frames", "7", "--fps", "23.976", *flags, "--out", f"film{suffix}", small=False)
    assert probe.timestamps(Path(out))[1] == (size, size)
    count, seconds = imageio_ffmpeg.count_frames_and_secs(out)
    assert (out, count) == (f"film{suffix}", 7)
    assert seconds == pytest.approx(7 / 23.976, abs=0.011)
    assert not [line for line in err if "cannot show" in line]
    assert walk("replay", out, model=False)[0] == f"film-again{suffix}"
    assert Path(out).read_bytes() == Path(f"film-again{suffix}").read_bytes()


@pytest.mark.watched
@pytest.mark.parametrize(("fps", "shown", "delay"), [("24", "25", 40), ("30", "33.3333", 30), ("25", None, 40)])
def test_a_gif_has_its_frames_at_the_rate_that_is_said(walk, fps, shown, delay):
    out, err = walk(*ABC, "--frames", "7", "--fps", fps, "--size", "64", "--out", "film.gif")
    told = [line for line in err if "cannot show" in line]
    expected = f".gif cannot show {fps} frames a second: the film will have {shown}"
    assert told == ([expected] if shown else [])
    with Image.open(out) as image:
        assert (image.n_frames, image.info["duration"], image.info["loop"]) == (7, delay, 0)


def test_a_round_that_begins_between_keyframes_has_its_landmarks_in_place():
    keyframes = [Keyframe("a", 0, time=2), Keyframe("b", 1), Keyframe("c", 2)]
    walk = Walk.through(keyframes, seconds=6, fps=10, closed=True)  # at 2, 4 and 6 s, which is 0 s
    keys, lengths = walk.landmarks()
    assert keys == [20, 40, 0]
    assert lengths == [20, 20, 20]


def test_a_finished_film_is_left_as_it_is_until_it_would_be_another(walk):
    flags = [*ABC, "--frames", "6", "--out", "film.mp4"]
    walk(*flags)
    before = Path("film.mp4").stat().st_mtime_ns, Path("film.mp4").read_bytes()
    _, err = walk(*flags)
    assert "film.mp4 is finished already" in err
    assert (Path("film.mp4").stat().st_mtime_ns, Path("film.mp4").read_bytes()) == before
    for other in (["--quality", "30"], ["--no-metadata"], ["--fps", "12"], ["--size", "64"]):
        _, err = walk(*flags, *other)
        assert not [line for line in err if "finished" in line], other
        assert Path("film.mp4").read_bytes() != before[1]
    walk(*flags)
    assert Path("film.mp4").read_bytes() == before[1]
    Path("film.mp4").unlink()
    walk(*flags)
    assert Path("film.mp4").read_bytes() == before[1]


def test_a_quick_preview_that_is_no_quicker_says_so(walk):
    _, err = walk("preview", *ABC, "--quick", "--out", "film.mp4")
    assert "note: --quick changes nothing, since the model takes 1 denoising step anyway" in err


def test_chapters_of_one_prompt_tell_its_seeds(walk):
    walk("a red apple", "--seeds", "3,8", "--frames", "4", "--out", "film.mp4")
    titles = [title for _, title in probe.read_metadata(Path("film.mp4")).chapters]
    assert titles == ["a red apple (seed 3)", "a red apple (seed 8)"]


# models


def test_models_lists_every_short_name_and_whether_it_is_on_this_machine(walk, monkeypatch):
    monkeypatch.setattr(hub, "is_downloaded", lambda repo: repo == "stabilityai/sdxl-turbo")
    monkeypatch.setattr(hub, "other_downloads", list)
    out, err = walk("models", model=False)
    head, *rows = out.splitlines()
    assert (head.split()[:5], err) == (["name", "pixels", "steps", "guidance", "here"], [])
    assert [row.split()[0] for row in rows] == [entry.name for entry in CATALOGUE]
    assert [row.split()[0] for row in rows if row.split()[4] == "yes"] == ["toybox", "sdxl-turbo"]
    (turbo,) = (row for row in rows if row.startswith("sdxl-turbo"))
    assert turbo.split()[1:4] == ["512", "1", "0"]
    assert turbo.endswith("stabilityai/sdxl-turbo")
    (built_in, *_) = rows
    assert built_in.split()[1:4] == ["128", "4", "1"]


# bench


@pytest.mark.fresh
def test_bench_tells_the_rate_the_parts_and_a_films_time_and_leaves_nothing(walk, monkeypatch):
    from walk import bench

    monkeypatch.setattr(bench, "SECONDS", 0.1)
    out, _ = walk("bench", "--frames", "100", "--batch", "2")
    head, rate, once, film = out.splitlines()
    assert head.endswith("32x32, 1 steps, 2 at a time, float32 on cpu")
    shares = re.fullmatch(r"[\d.e+]+ frames a second: denoise (\d+)%, decode (\d+)%, idle (\d+)%; writing.*", rate)
    assert 98 <= sum(map(int, shares.groups())) <= 102
    assert re.fullmatch(r"once: .* s to load, .* s for the first batch, .* s a prompt", once)
    assert re.fullmatch(r"a film of 100 frames: about \d.*", film)
    assert list(Path().iterdir()) == []

    told = json.loads(walk("bench", "--json")[0])
    assert told["frames"] == 720
    assert told["denoise"] + told["decode"] + told["idle"] == pytest.approx(1, abs=0.01)
    assert told["film"] >= told["frames"] / told["frames_a_second"]


# memory


@pytest.fixture
def room(monkeypatch):
    """Let a model have room for so many frames at a time, after so many batches that found room."""

    def of(frames, after=0):
        begun = []
        denoise = models.Pipeline.denoise

        def limited(self, noise, conditioning):
            begun.append(len(noise))
            if len(noise) > frames and len(begun) > after:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return denoise(self, noise, conditioning)

        monkeypatch.setattr(models.Pipeline, "denoise", limited)
        return begun

    return of


@pytest.mark.fresh
@pytest.mark.parametrize("after", [0, 1])
def test_out_of_memory_the_film_is_that_of_a_smaller_batch_which_the_same_command_goes_on_with(walk, room, after):
    flags = [*ABC, "--frames", "12", "--speed", "path"]
    walk(*flags, "--batch", "2", "--out", "small.mp4")
    expected = {path.name: path.read_bytes() for path in Path("small.walk/frames").glob("*.png")}
    begun = room(2, after)
    out, err = walk(*flags, "--out", "film.mp4")
    assert out == "film.mp4"
    said = [line for line in err if "do not fit" in line]
    assert said == [
        "8 frames at a time do not fit in memory; going on with 4",
        "4 frames at a time do not fit in memory; going on with 2",
    ]
    made = {path.name: path.read_bytes() for path in Path("film.walk/frames").glob("*.png")}
    assert made.items() >= expected.items()
    assert len(made) == 12 + after * 8, "what was rendered before is kept"

    begun.clear()  # the same command again goes on with the batch that found room
    Path("film.walk/frames", sorted(expected)[3]).unlink()
    _, err = walk(*flags, "--out", "film.mp4")
    assert begun == [2]
    assert "11 of 12 frames are in film.walk already" in err
    assert not [line for line in err if "do not fit" in line]


@pytest.mark.parametrize("speed", ["path", "even"])
def test_where_a_batch_is_always_under_way_the_film_is_the_same(walk, monkeypatch, speed):
    """As on a GPU, which has the next batch to do before the last is fetched."""
    flags = [*ABC, "--frames", "21", "--speed", speed, "--steps", "1"]
    walk(*flags, "--out", "plain.mp4")
    begin = render.Renderer.__init__

    def ahead(self, model):
        begin(self, model)
        self.ahead = 1

    monkeypatch.setattr(render.Renderer, "__init__", ahead)
    walk(*flags, "--out", "ahead.mp4")
    frames = [sorted(Path(f"{name}.walk/frames").glob("*.png")) for name in ("plain", "ahead")]
    assert [path.name for path in frames[0]] == [path.name for path in frames[1]]
    for one, other in zip(*frames):
        assert one.read_bytes() == other.read_bytes()
    for path in frames[1][::2]:
        path.unlink()
    film = Path("ahead.mp4").read_bytes()
    walk(*flags, "--out", "ahead.mp4")
    assert Path("ahead.mp4").read_bytes() == film


@pytest.mark.fresh
@pytest.mark.parametrize("speed", ["path", "even"])
def test_out_of_memory_the_model_has_left_before_it_is_loaded_again(walk, room, monkeypatch, speed):
    load, before = models.load, []

    def watched(settings):
        assert not [model for model in before if model() is not None], "there are two in memory"
        model = load(settings)
        before.append(weakref.ref(model.pipe.unet))
        return model

    monkeypatch.setattr(models, "load", watched)
    room(2, after=1)
    walk(*ABC, "--frames", "12", "--speed", speed, "--out", "film.mp4")
    assert len(before) == 3


@pytest.mark.fresh
def test_when_not_even_a_frame_finds_room_the_way_out_is_said(walk, room):
    room(0)
    out, err = walk(*ABC, "--frames", "6", "--speed", "path", "--out", "film.mp4", status=2)
    assert out == ""
    assert err[-1] == "walk: a frame needs more memory than there is; try a smaller --width and --height"


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("enough", [True, False])
def test_a_model_that_a_gpu_has_no_room_for_goes_on_sparing_memory(capsys, whole, enough):
    """Whether all of it, or it and a frame."""
    asked = []

    def command(batch=2, low_memory=False):
        asked.append((batch, low_memory))
        if not (enough and low_memory):
            raise OutOfMemoryError(
                Settings(device="cuda:1", batch=batch, low_memory=low_memory), whole and not low_memory
            )
        return "film.mp4"

    if enough:
        assert commands._halving(command)() == "film.mp4"
    else:
        with pytest.raises(
            OutOfMemoryError, match="a frame needs more memory than there is; try a smaller --width and"
        ):
            commands._halving(command)()
    first = (2, False), (2, True)  # the same batch, so that what is there still serves
    assert asked[:2] == list(first if whole else [(2, False), (1, False)])
    assert asked[-1] == (2 if whole and enough else 1, True)
    said = [line for line in capsys.readouterr().err.splitlines() if "low-memory" in line]
    assert said == ["the whole model does not fit on the GPU; going on with --low-memory"]


@pytest.mark.fresh
def test_a_model_that_does_not_load_is_not_said_to_go_on(walk, tiny_folder):
    folder = shutil.copytree(tiny_folder, "broken")
    (Path(folder) / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    _, err = walk(*ABC, "--frames", "6", "--out", "film.mp4", "--model", folder, model=False, status=2)
    assert re.match("walk: broken does not load as a StableDiffusionPipeline: ", err[-1])
    assert not re.search(r"safe in|run the same|\.;|\.$", err[-1])


def test_sparing_a_gpus_memory_without_a_gpu_is_refused(refusal):
    assert refusal(*ABC, "--low-memory", "--device", "cpu", "--out", "film.mp4", model=True) == (
        "--low-memory spares a GPU's memory, and cpu has none of its own; leave it out"
    )


@pytest.mark.watched
@pytest.mark.parametrize(
    ("prompts", "how"),
    [
        (["a fox | frame=0", "an owl | frame=4 | until=frame=6", "a frog"], ["--frames", "10"]),
        (["a fox", "an owl"], ["--frames", "24", "--ease", "--speed", "path", "--loop"]),
    ],
    ids=["a hold of two frames", "ease"],
)
def test_a_check_of_any_film_knows_of_rests_what_its_making_did(walk, prompts, how):
    _, err = walk("--prompts", *prompts, *how, "--out", "film.mp4")
    found = [line.removeprefix("note: ") for line in err if "repeats the one before" in line]
    facts, _ = walk("check", "film.mp4", model=False, status=bool(found))
    assert [line for line in facts.splitlines() if "repeats the one before" in line] == found


def test_a_batch_larger_than_the_film_is_said_to_cost_what_a_full_one_does(walk):
    large = "note: --batch 4 is more than the film's 3 pictures, and a batch takes as long as a full one"
    assert large in walk("--prompts", "a fox", "an owl", "--frames", "3", "--batch", "4")[1]
    assert large not in walk("--prompts", "a fox", "an owl", "--frames", "4", "--batch", "4")[1]


def test_a_folder_with_a_space_in_its_name_is_written_as_it_can_be_typed(walk):
    walk("--prompts", "a fox", "an owl", "--frames", "3", "--out", "my film.mp4")
    _, err = walk("--prompts", "a fox", "an owl", "--frames", "3", "--out", "other.mp4")
    assert "note: my film.walk has these frames; --run 'my film.walk' uses them" in err
