"""Films that are made in Python: whole ones, which the command knows as its own."""

import errno
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from walk import Error, Settings, Walk, cli, digests, film, models, probe, read_prompts, replay
from walk.check import check
from walk.manifest import read_manifest
from walk.run import Run, unused
from walk.sounds import Sound
from walk.work import Work

pytestmark = pytest.mark.usefixtures("shared_weights", "unwatched")

ABC = ["a red apple", "a green frog", "a blue whale"]


@pytest.fixture
def model(tiny_folder):
    return models.load(Settings(model=str(tiny_folder), steps=1, width=32, height=32))


def made(model, walk, even, out="film.mp4"):
    with Run("film.walk", walk, model.settings, decided=False) as run, Work(run, model) as work:
        run = work.evenly(run) if even else run
        work.finished(run)
        film.make(run, out, size=32)
    return run.walk


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("even", [True, False])
def test_a_film_that_was_made_in_python_can_be_made_again_by_the_command(model, even, capsys):
    made(model, Walk.through(read_prompts(ABC), frames=24, closed=True), even)
    assert len(probe.timestamps(Path("film.mp4"))[0]) == 24
    recipe = replay.read_recipe("film.mp4")
    assert recipe.prompts == ("a red apple | seed=0", "a green frog | seed=1", "a blue whale | seed=2")
    assert dict(recipe.flags)["speed"] == ("even" if even else "path")
    assert [title for _, title in probe.read_metadata(Path("film.mp4")).chapters] == ABC
    assert cli.main(["replay", "film.mp4", "--out", "again.mp4"]) == 0
    assert "24 of 24 frames" not in capsys.readouterr().err  # in a folder of its own
    assert check(Path("again.mp4")).steps == check(Path("film.mp4")).steps


OWN = Walk(read_prompts(ABC), (0.0, 0.3, 1.0, 1.25, 2.0), 24)


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize(
    ("walk", "even", "told"),
    [
        (Walk.through(read_prompts(ABC), frames=9), False, "# walk --prompts film-again.txt .* --speed path --size"),
        (
            Walk.through(read_prompts(ABC), frames=9, ease=True, closed=True),
            False,
            "# walk .* --speed path --ease --loop ",
        ),
        (Walk.through(read_prompts(ABC), frames=16, smooth=False), True, "# walk .* --path slerp --speed even "),
        *[(OWN, even, "# frames are where a program has put them, which only walk replay") for even in (False, True)],
    ],
    ids=["path", "ease", "even", "own", "own, even"],
)
def test_info_prints_the_command_that_puts_frames_where_they_are_or_says_that_there_is_none(
    model, walk, even, told, capsys
):
    shown = made(model, walk, even)
    assert cli.main(["info", "film.mp4"]) == 0
    text = capsys.readouterr().out
    assert re.match(told, text.splitlines()[1])
    if walk is not OWN:
        Path("film-again.txt").write_text(text)
        assert cli.main([*shlex.split(text.splitlines()[1])[2:], "--out", "film.mp4"]) == 0
        assert f"{walk.frames} of {walk.frames} frames are in film.walk already" in capsys.readouterr().err
    assert cli.main(["replay", "film.mp4"]) == 0
    assert cli.main(["diff", "film.mp4", "film-again.mp4"]) == 0
    assert capsys.readouterr().err.endswith("nothing differs\n")
    assert read_manifest(Path("film-again.walk")).walk == shown


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("even", [True, False])
def test_the_command_goes_on_with_what_was_made_in_python(model, tiny_folder, even, capsys):
    shown = made(model, Walk.through(read_prompts(ABC), frames=24), even)
    assert read_manifest("film.walk").walk == shown
    with unused(Path("film.walk")) as paths:
        assert paths == []
    cheap = ["--model", str(tiny_folder), "--steps", "1", "--width", "32", "--height", "32", "--size", "32"]
    flags = ["--frames", "24", "--out", "film.mp4", "--speed", "even" if even else "path"]
    assert cli.main(["--prompts", *ABC, *flags, *cheap]) == 0
    assert "24 of 24 frames are in film.walk already" in capsys.readouterr().err


@pytest.mark.usefixtures("empty_folder")
def test_what_was_not_made_from_there_is_not_replaced(model):
    Path("film.mp4").write_text("mine")
    with pytest.raises(Error, match=r"film\.walk has made no film of that name, so it is not overwritten"):
        made(model, Walk.through(read_prompts(ABC), frames=3), False)
    assert Path("film.mp4").read_text() == "mine"


@pytest.mark.usefixtures("empty_folder")
def test_a_film_that_was_changed_since_is_not_replaced(model):
    """As where somebody has added a sound to it."""
    walk = Walk.through(read_prompts(ABC), frames=3)
    made(model, walk, False)
    made(model, walk, False)  # as it was
    Path("film.mp4").write_bytes(mine := Path("film.mp4").read_bytes() + b"sound")
    with pytest.raises(Error, match=r"^film\.mp4 is not as film\.walk made it, so it is not overwritten; move it"):
        made(model, walk, False)
    assert Path("film.mp4").read_bytes() == mine
    Path("film.mp4").unlink()
    made(model, walk, False)


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("retouch", ["paint", "add", "remove"])
def test_pictures_in_a_folder_that_were_retouched_or_added_are_not_replaced(model, retouch):
    walk = Walk.through(read_prompts(ABC), frames=3)
    for _ in range(2):
        made(model, walk, False, "pictures")
    Path("pictures/.DS_Store").write_text("a system's, not somebody's")
    made(model, walk, False, "pictures")
    last = Path("pictures/000002.png")
    if retouch == "remove":
        last.unlink()
    else:
        Image.new("RGB", (32, 32), "red").save(last if retouch == "paint" else last.with_stem("000003"))
    mine = {path.name: path.read_bytes() for path in Path("pictures").iterdir()}
    with pytest.raises(Error, match=r"^pictures is not as film\.walk made it, so it is not overwritten; move it"):
        made(model, walk, False, "pictures")
    assert {path.name: path.read_bytes() for path in Path("pictures").iterdir()} == mine


@pytest.mark.usefixtures("empty_folder")
def test_a_film_that_cannot_be_read_is_not_replaced(model, monkeypatch):
    walk = Walk.through(read_prompts(ABC), frames=3)
    made(model, walk, False)
    mine = Path("film.mp4").read_bytes()
    monkeypatch.setattr(digests, "of_file", denied)  # root may read everything
    with pytest.raises(Error, match=r"^film\.mp4 cannot be read \(Permission denied\), so it is not overwritten"):
        made(model, walk, False)
    assert Path("film.mp4").read_bytes() == mine


@pytest.mark.usefixtures("empty_folder")
def test_a_film_that_a_player_has_open_on_windows_is_made_once_that_is_closed(model, monkeypatch):
    """Windows does not let an open file be replaced, and calls that a denied access."""
    walk = made(model, Walk.through(read_prompts(ABC), frames=3), False)
    before = Path("film.mp4").read_bytes()

    def replace(part, path, usual=os.replace):
        if Path(path) == Path("film.mp4"):
            error = PermissionError(errno.EACCES, "Access is denied")
            error.winerror = 5
            raise error
        usual(part, path)

    with Run("film.walk", walk, model.settings) as run:
        with monkeypatch.context() as playing:
            playing.setattr(os, "replace", replace)
            with pytest.raises(Error) as refusal:
                film.make(run, "film.mp4", size=64)
        told = "film.mp4 cannot be written (Access is denied); if another program has it open, close it there"
        assert str(refusal.value) == told
        assert Path("film.mp4").read_bytes() == before
        film.make(run, "film.mp4", size=64)
    assert Path("film.mp4").read_bytes() != before


def denied(*_):
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.usefixtures("empty_folder")
def test_a_film_elsewhere_is_not_taken_for_the_one_beside_the_run_folder(model):
    walk = made(model, Walk.through(read_prompts(ABC), frames=3), False)
    with Run("film.walk", walk, model.settings) as run:
        film.make(run, "other/of/film.mp4", size=64)
        film.make(run, "film.mp4", size=32)


@pytest.mark.usefixtures("empty_folder")
def test_a_film_of_a_run_that_describes_nothing_says_nothing(model):
    walk = Walk.through(read_prompts(ABC), frames=3)
    with Run("film.walk", walk, model.settings, describe=False) as run, Work(run, model) as work:
        work.finished(run)
        film.make(run, "film.mp4")
    assert probe.read_metadata(Path("film.mp4")) == probe.Metadata("", "")


@pytest.mark.usefixtures("empty_folder")
def test_a_film_elsewhere_of_the_same_name_is_not_replaced_nor_what_a_refused_film_would_have_been(model):
    walk = made(model, Walk.through(read_prompts(ABC), frames=3), False)
    Path("other").mkdir()
    Path("other/film.mp4").write_text("mine")
    Path("second.mp4").write_text("mine")
    with Run("film.walk", walk, model.settings) as run:
        with pytest.raises(Error, match=r"^other/film\.mp4 exists, and film\.walk has made no film of that name"):
            film.make(run, "other/film.mp4")
        for _ in range(2):
            with pytest.raises(Error, match=r"^codec nosuch is not possible"):
                film.make(run, "third.mp4", codec="nosuch")
        Path("third.mp4").write_text("mine")
        with pytest.raises(Error, match=r"has made no film of that name"):
            film.make(run, "third.mp4")


@pytest.mark.usefixtures("empty_folder")
def test_a_walk_that_shows_no_frame_of_a_keyframe_is_a_film_too(model):
    walk = Walk(read_prompts(ABC), (0.0, 0.5, 1.5, 2.0), 24)
    made(model, walk, False)
    assert [title for _, title in probe.read_metadata(Path("film.mp4")).chapters] == [ABC[0], ABC[2]]
    assert cli.main(["replay", "film.mp4", "--out", "again.mp4"]) == 0
    assert check(Path("again.mp4")).steps == check(Path("film.mp4")).steps


@pytest.mark.usefixtures("empty_folder")
def test_a_film_with_sound_is_made_again_with_it(model):
    walk = Walk.through(read_prompts(ABC), frames=24)
    sound = Sound(np.random.default_rng(0).normal(0, 0.1, (44100, 2)).astype(np.float32), 44100)
    with Run("film.walk", walk, model.settings) as run, Work(run, model) as work:
        work.finished(run)
        film.make(run, "film.mp4", sound=sound, codec="h265", quality=0, size=64)
    assert dict(replay.read_recipe("film.mp4").flags)["quality"] == "0"
    assert cli.main(["replay", "film.mp4", "--out", "again.mp4"]) == 0
    assert probe.tracks(Path("again.mp4"))[1].channels == 2


def test_a_run_that_is_open_here_says_so_until_it_is_closed(model, tmp_path):
    walk = Walk.through(read_prompts(ABC), frames=3)
    run = Run(tmp_path / "film.walk", walk, model.settings)
    with pytest.raises(Error, match=r"film\.walk is open in this program already; close that Run first$"):
        Run(tmp_path / "film.walk", walk, model.settings)
    run.close()
    run = Run(tmp_path / "film.walk", walk, model.settings)
    del run  # and with it what kept others out
    Run(tmp_path / "film.walk", walk, model.settings).close()
