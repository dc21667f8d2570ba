"""A film out of the frames that are there, while others are still to be rendered."""

import random
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from test_commands import ABC, refusal, tree, walk  # noqa: F401

from walk import cli, films, order, read_prompts
from walk.roughcut import cut, longest_hold
from walk.run import Run
from walk.timeline import Walk

pytestmark = pytest.mark.usefixtures("shared_weights")
PLACES = [Walk.through(read_prompts(["a", "b", "c"]), 25, closed=closed).positions for closed in (False, True)]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(empty_folder):
    """Before any other fixture."""


@pytest.mark.parametrize(("turn", "places"), [(np.inf, PLACES[0]), (3, PLACES[1])])
def test_each_frame_shows_the_nearest_picture_on_its_way_or_round_it(turn, places):
    def apart(a, b):
        return min(abs(a - b), turn - abs(a - b))

    for seed in range(50):
        rng = random.Random(seed)
        there = rng.sample(places, rng.randint(1, len(places)))
        shown = cut(places, there, turn)
        assert set(shown) <= set(there)
        for place, instead in zip(places, shown):
            assert apart(place, instead) == min(apart(place, other) for other in there)
        if len(there) == len(places):
            assert shown == list(places)


def test_pictures_that_are_being_spread_are_shown_for_equally_long():
    turning = [0.0, 0.5, 0.52, 0.54, 0.56, 0.58, 0.6, 1.0]  # most where most changes
    shown = cut([k / 70 for k in range(71)], turning, spreading=True)
    assert shown == sorted(shown)
    lasting = [shown.count(place) for place in turning]
    assert {9, 10, 11} >= {*lasting[1:-1], lasting[0] + lasting[-1]}


def test_what_is_being_spread_leads_back_to_the_first_keyframe_in_a_loop():
    assert cut([1.2, 1.4, 1.6, 1.8], [0.0, 0.5, 1.0, 1.1, 1.2, 1.3], 2, spreading=True) == [1.1, 1.2, 1.2, 1.3]
    assert cut([1.2, 1.9], [0.0, 1.0, 1.1], 2) == [1.1, 0.0]


def test_a_walks_own_rests_are_no_holds():
    assert longest_hold([0, 0, 0, 1, 2, 3], [0, 0, 0, 1, 1, 3]) == 2
    assert longest_hold([0, 1, 1, 1], [0, 1, 1, 1]) == 1


def stopped(monkeypatch, arguments, after):
    """A render that is stopped when so many frames are there."""
    count, save = [0], Run.save

    def counted(run, index, picture):
        if count[0] == after:
            raise KeyboardInterrupt
        count[0] += 1
        save(run, index, picture)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", counted)
        assert cli.main(list(map(str, arguments))) == 130


@pytest.fixture
def flags(tiny_folder):
    return [*ABC, "--frames", "33", "--size", "32", "--steps", "1", "--model", str(tiny_folder)]


def pictures(film, size=(32, 32)):
    reader = imageio_ffmpeg.read_frames(str(film))
    next(reader)
    return [np.frombuffer(frame, np.uint8).reshape(*size, 3).astype(float) for frame in reader]


def shown(film, folder="film.walk"):
    """Which of the frames in a run folder each picture of a film is, by their names."""
    there = {path.name: np.asarray(Image.open(path), float) for path in sorted(Path(folder, "frames").iterdir())}
    names = []
    for picture in pictures(film):
        errors = {name: abs(picture - other).mean() for name, other in there.items()}
        names.append(min(errors, key=errors.get))
        assert errors[names[-1]] < 20, "it is none of them"
    return names


@pytest.mark.parametrize("speed", ["even", "path"])
def test_it_has_the_films_length_and_shows_what_is_there_in_its_order(monkeypatch, capsys, flags, speed):
    flags += ["--speed", speed, "--out", "film.mp4"]
    stopped(monkeypatch, flags, 13)
    before = tree(Path("film.walk"))
    capsys.readouterr()
    assert cli.main(["rough", *flags]) == 0
    out, err = capsys.readouterr()
    assert out == "film.rough.mp4\n"
    assert len(films.timestamps(Path("film.rough.mp4")).times) == 33
    names = shown("film.rough.mp4")
    assert names == sorted(names), "its pictures come in the order of the path"
    there = sorted(path.name for path in Path("film.walk/frames").iterdir())
    assert sorted(set(names)) == there, "all that are there are shown"
    assert f"{len(there)} pictures for 33 frames" in err
    assert tree(Path("film.walk")) == before, "the run folder is as it was"


def test_of_a_film_that_is_whole_it_is_that_film(capsys, flags):
    assert cli.main([*flags, "--out", "film.mp4"]) == 0
    assert cli.main(["rough", *flags, "--out", "film.mp4"]) == 0
    assert "33 pictures for 33 frames" in capsys.readouterr().err
    assert np.array_equal(pictures("film.mp4"), pictures("film.rough.mp4"))


def test_it_is_made_while_others_are_at_work_there_and_passes_over_damage(monkeypatch, capsys, flags):
    flags += ["--speed", "path", "--out", "film.mp4"]
    stopped(monkeypatch, flags, 9)
    damaged = sorted(Path("film.walk/frames").iterdir())[4]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    asked = order.read_order(
        {"prompts": ABC[1:], "frames": 33, "out": "film.mp4"}, cli.commands.Listener(), looking=True
    )
    from test_run import SETTINGS

    with Run("film.walk", asked.walk, SETTINGS, decided=False):
        assert cli.main(["rough", *flags]) == 0
    damaged.unlink()
    assert len(set(shown("film.rough.mp4"))) == 8


def test_a_rough_cut_takes_the_place_of_one_and_of_nothing_else(monkeypatch, capsys, flags):
    flags += ["--out", "film.mp4"]
    stopped(monkeypatch, flags, 9)
    for _ in range(2):
        assert cli.main(["rough", *flags]) == 0
    for data in (b"mine", b""):
        Path("film.rough.mp4").write_bytes(data)
        assert cli.main(["rough", *flags]) == 2
        assert "film.rough.mp4 exists and is not a rough cut, so it is not overwritten" in capsys.readouterr().err
        assert Path("film.rough.mp4").read_bytes() == data


@pytest.mark.parametrize("before", ["nothing", "others"])
def test_without_frames_of_the_film_there_is_none(monkeypatch, capsys, flags, before):
    if before == "others":
        stopped(monkeypatch, [*flags, "--seed", "7", "--out", "film.mp4"], 9)
    there = tree(Path())
    assert cli.main(["rough", *flags, "--out", "film.mp4"]) == 2
    assert "no frames of this film are in film.walk; a rough cut is made" in capsys.readouterr().err
    assert tree(Path()) == there


def test_a_noise_that_goes_its_own_way_and_a_folder_of_frames(monkeypatch, capsys, flags):
    flags += ["--bpm", "60", "--pace-noise", "beat", "--pace", "even", "--out", "frames/"]
    stopped(monkeypatch, flags, 20)
    assert cli.main(["rough", *flags]) == 0
    assert capsys.readouterr().out.endswith("frames.rough.mp4\n")
    assert len(films.timestamps(Path("frames.rough.mp4")).times) == 33
