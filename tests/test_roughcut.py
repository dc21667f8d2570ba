"""A film out of the frames that are there, while others are still to be rendered."""

import random
from itertools import groupby
from pathlib import Path
from unittest import mock

import av
import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from PIL import Image
from test_commands import ABC, refusal, tree, walk  # noqa: F401

from walk import cli, manifest, order, png, probe, read_prompts
from walk.roughcut import cut, longest_hold
from walk.run import Run, by_index
from walk.timeline import Walk

pytestmark = pytest.mark.usefixtures("shared_weights", "unwatched")
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


def test_where_a_keyframe_is_missing_what_is_being_spread_is_shown_where_it_is():
    assert cut([0.2, 0.6, 0.9], [0.0, 0.5, 2.0], spreading=True) == [0.0, 0.5, 0.5]
    assert cut([0.6], [0.5, 1.0], spreading=True) == [0.5]


def test_a_walks_own_rests_are_no_holds():
    assert longest_hold([0, 0, 0, 1, 2, 3], [0, 0, 0, 1, 1, 3]) == 2
    assert longest_hold([0, 1, 1, 1], [0, 1, 1, 1]) == 1
    assert longest_hold([0, 1, 2], [0, 0, 2]) == 2


def test_one_picture_is_held_as_long_as_only_the_noise_was_to_move():
    noise = [k / 6 for k in range(6)]
    film = Walk(read_prompts(["a", "b"]), [0.5] * 6, noise=noise)
    assert film.coordinates == [(0.5, at) for at in noise]
    assert longest_hold(film.coordinates, ["one picture"] * 6) == 6


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
    assert len(probe.timestamps(Path("film.rough.mp4")).times) == 33
    names = shown("film.rough.mp4")
    assert names == sorted(names), "its pictures come in the order of the path"
    there = sorted(path.name for path in Path("film.walk/frames").iterdir())
    assert sorted(set(names)) == there, "all that are there are shown"
    assert f"{len(there)} pictures for 33 frames" in err
    assert tree(Path("film.walk")) == before, "the run folder is as it was"


def test_of_a_film_that_is_whole_it_is_that_film(capsys, flags):
    assert cli.main([*flags, "--out", "film.mp4"]) == 0
    assert cli.main(["rough", *flags, "--out", "film.mp4"]) == 0
    told = "33 pictures for 33 frames, of which one is held for up to 0.04 s"
    assert told in capsys.readouterr().err
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
    assert len(probe.timestamps(Path("frames.rough.mp4")).times) == 33


def test_a_noise_that_pulses_has_its_own_frames_and_in_a_loop_the_first_comes_again(flags):
    flags += ["--bpm", "60", "--pulse", "0.5", "--loop", "--pace", "even", "--out", "film.mp4"]
    assert cli.main(flags) == cli.main(["rough", *flags]) == 0
    assert np.array_equal(pictures("film.mp4"), pictures("film.rough.mp4"))
    made = manifest.read_manifest("film.walk")
    there = by_index(Path("film.walk"), made.walk, made.settings)
    for path in {*Path("film.walk/frames").iterdir()} - {there[0], there[16]}:
        path.unlink()
    assert cli.main(["rough", *flags]) == 0
    first, other = there[0].name, there[16].name
    names = shown("film.rough.mp4")
    assert [name for name, _ in groupby(names)] == [first, other, first]
    assert names[16] == other


def test_before_its_own_frames_are_there_a_noise_that_pulses_shows_what_was_looked_at(monkeypatch, capsys, flags):
    flags += ["--bpm", "60", "--pulse", "0.5", "--pace", "even", "--out", "film.mp4"]
    stopped(monkeypatch, flags, 6)
    assert cli.main(["rough", *flags]) == 0
    assert "6 pictures for 33 frames" in capsys.readouterr().err


@pytest.mark.parametrize("whole", [True, False])
def test_at_one_speed_keyframes_come_when_they_do_in_the_film_once_that_is_known(monkeypatch, capsys, flags, whole):
    flags += ["--speed", "constant", "--out", "film.mp4"]
    if whole:
        assert cli.main(flags) == 0
    else:
        stopped(monkeypatch, flags, 6)
    capsys.readouterr()
    assert cli.main(["rough", *flags]) == 0
    assert ("note: keyframes are spaced evenly in it" in capsys.readouterr().err) is not whole
    if whole:
        assert np.array_equal(pictures("film.mp4"), pictures("film.rough.mp4"))


def test_a_film_along_the_path_is_soon_to_be_seen_from_its_beginning_to_its_end(monkeypatch, capsys, flags):
    flags += ["--speed", "path", "--out", "film.mp4"]
    stopped(monkeypatch, flags, 9)
    assert cli.main(["rough", *flags]) == 0
    assert "9 pictures for 33 frames, of which one is held for up to 0.17 s" in capsys.readouterr().err


def test_pictures_of_other_films_there_take_no_place_once_it_is_known_where_frames_go(flags):
    flags += ["--out", "film.mp4"]
    assert cli.main(flags) == 0
    shorter = ["20" if flag == "33" else flag for flag in flags]
    assert cli.main(shorter) == cli.main(["rough", *shorter]) == 0
    assert np.array_equal(pictures("film.mp4"), pictures("film.rough.mp4"))


def test_frames_of_a_longer_walk_serve_as_far_as_this_one_goes(capsys, flags):
    assert cli.main([*flags, "--speed", "path", "--out", "film.mp4"]) == 0
    shorter = ["--prompts", *ABC[1:3], *flags[len(ABC) :], "--loop", "--out", "film.mp4"]
    assert cli.main(["rough", *shorter]) == 0
    assert len(probe.timestamps(Path("film.rough.mp4")).times) == 33


def test_it_has_the_films_sound_and_size(flags):
    soundfile.write("song.wav", np.sin(np.arange(16_000) / 9), 8000)
    flags = [flag if flag != "32" else "48x32" for flag in flags if flag not in ("--frames", "33")]
    flags += ["--audio", "song.wav", "--fps", "8", "--out", "film.mp4"]
    assert cli.main(flags) == cli.main(["rough", *flags]) == 0
    for film in ("film.mp4", "film.rough.mp4"):
        with av.open(film) as there:
            assert (there.streams.video[0].width, there.streams.video[0].height) == (48, 32)
            assert len(there.streams.audio) == 1


def test_a_frame_that_may_not_be_read_counts_as_none(monkeypatch, capsys, flags):
    stopped(monkeypatch, flags := [*flags, "--out", "film.mp4"], 9)
    monkeypatch.setattr(png, "is_whole", mock.Mock(side_effect=PermissionError))
    assert cli.main(["rough", *flags]) == 2
    assert "no frames of this film are in film.walk" in capsys.readouterr().err


def test_it_replaces_no_film_and_says_nothing_as_if_it_did(capsys, flags):
    assert cli.main([*flags, "--out", "film.mp4"]) == 0
    others = ["--prompts", "a grey cat", "a black dog", *flags[len(ABC) :], "--out", "film.mp4"]
    capsys.readouterr()
    assert cli.main(["rough", *others]) == 2
    assert "will be replaced" not in capsys.readouterr().err


def test_a_name_that_begins_like_a_flag_is_told_as_it_can_be_typed(capsys, flags):
    flags = ["3" if flag == "33" else flag for flag in flags]
    for command, name in (([], "-film.mp4"), (["preview"], "-film.preview.png"), (["rough"], "-film.rough.mp4")):
        assert cli.main([*command, *flags, "--out=-film.mp4"]) == 0
        assert capsys.readouterr().out == f"./{name}\n"


def test_it_takes_the_place_of_no_whole_film_of_that_name(capsys, flags):
    assert cli.main([*flags, "--out", "film.rough.mp4"]) == cli.main([*flags, "--out", "film.mp4"]) == 0
    whole = Path("film.rough.mp4").read_bytes()
    assert cli.main(["rough", *flags, "--out", "film.mp4"]) == 2
    assert "film.rough.mp4 exists and is not a rough cut" in capsys.readouterr().err
    assert Path("film.rough.mp4").read_bytes() == whole
