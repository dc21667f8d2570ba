"""Even speed: what the pilot asks for, and where it puts the frames."""

import dataclasses
import re
from itertools import pairwise

import numpy as np
import pytest
import scipy.interpolate

from walk import Keyframe, Settings, Walk, cli, models, speed
from walk.render import render

SETTINGS = Settings(width=16, height=16, steps=10, guidance=1.0, batch=8)


def a_walk(frames=121, prompts="abc", **options):
    return Walk.through([Keyframe(prompt, i) for i, prompt in enumerate(prompts)], frames=frames, **options)


def a_model(sharpness=8.0):
    """A picture for each position whose change is slow at keyframes and sudden half-way, as of real models."""

    def picture(walk, position):
        start = int(position)
        a, b = (
            np.random.default_rng(ord(walk.keyframes[k % len(walk.keyframes)].prompt)).uniform(0, 255, (16, 16, 3))
            for k in (start, start + 1)
        )
        t = position - start
        mix = 1 / (1 + np.exp(-4 * sharpness * (t - 0.5))) if 0 < t < 1 else t
        return ((1 - mix) * a + mix * b).astype(np.uint8)

    return picture


def pilot(walk, picture, settings=SETTINGS):
    """Everything that the pilot looks at, and in how many rounds."""
    seen, rounds = {}, 0
    while wanted := speed.wanted(walk, settings, seen):
        seen |= {position: speed.features(picture(walk, position)) for position in wanted}
        rounds += 1
    return seen, rounds


def steps(walk, picture):
    pictures = [speed.features(picture(walk, position)) for position in walk.positions]
    pictures += pictures[:1] if walk.closed else []
    return np.array([speed.distance(a, b) for a, b in pairwise(pictures)])


@pytest.mark.parametrize("way", [dict(), dict(smooth=False), dict(closed=True, frames=120)], ids=str)
def test_frames_look_evenly_far_apart(way):
    walk, picture = a_walk(**way), a_model()
    even = speed.even(walk, pilot(walk, picture)[0])
    plain, evened = steps(walk, picture), steps(even, picture)
    assert plain.max() / np.median(plain) > 10
    assert evened.max() / np.median(evened) < 2
    assert evened.var() < plain.var() / 10


@pytest.mark.parametrize("way", [dict(), dict(closed=True, frames=120), dict(ease=True)], ids=str)
def test_length_and_arrivals_stay_as_they_were(way):
    walk = a_walk(**way)
    even = speed.even(walk, pilot(walk, a_model())[0])
    assert even == dataclasses.replace(walk, positions=even.positions)
    assert [p for p in even.positions if p % 1 == 0] == [p for p in walk.positions if p % 1 == 0]
    assert all(even.positions[i] == p for i, p in enumerate(walk.positions) if p % 1 == 0)
    assert all(a < b for a, b in pairwise(even.positions))


def test_an_edit_moves_no_frame_of_a_segment_that_it_does_not_touch():
    before, after = a_walk(prompts="abcde", smooth=False), a_walk(prompts="abXde", smooth=False)
    moved_before, moved_after = (speed.even(w, pilot(w, a_model())[0]).positions for w in (before, after))
    untouched = [i for i, p in enumerate(before.positions) if p <= 1 or p >= 3]
    assert [moved_before[i] for i in untouched] == [moved_after[i] for i in untouched]
    assert moved_before != moved_after


def test_twice_the_frames_keep_the_positions_of_the_first():
    few, many = (a_walk(frames) for frames in (121, 241))
    assert pilot(few, a_model())[0].keys() == pilot(many, a_model())[0].keys()
    even_few, even_many = (speed.even(w, pilot(w, a_model())[0]) for w in (few, many))
    assert even_few.positions == even_many.positions[::2]


def test_what_is_predicted_is_what_comes():
    walk, picture = a_walk(), a_model()
    seen, _ = pilot(walk, picture)
    for paced in (walk, speed.even(walk, seen)):
        expected, told = steps(paced, picture), np.array(speed.predicted(paced, seen))
        assert len(told) == len(expected)
        assert told.sum() == pytest.approx(expected.sum(), rel=0.15)
        assert np.corrcoef(told, expected)[0, 1] > 0.9 or expected.std() < 0.3 * expected.mean()


def test_other_pictures_tell_of_segments_that_the_pilot_left_out():
    walk, picture = a_walk(5), a_model()
    assert speed.predicted(walk, {}) == [0, 0, 0, 0]
    shown = {position: speed.features(picture(walk, position)) for position in walk.positions}
    assert speed.predicted(walk, {}, shown) == pytest.approx(list(steps(walk, picture)), rel=0.01)


def test_the_pilot_looks_closer_where_more_happens():
    seen, rounds = pilot(a_walk(), a_model())
    inside = sorted(p for p in seen if 0 < p < 1)
    assert len(inside) == speed.MOST
    assert sum(0.375 <= p <= 0.625 for p in inside) >= len(inside) / 2
    assert rounds > 3


def test_a_walk_that_rests_stays_as_it_is():
    walk = a_walk(prompts="aa")
    assert speed.even(walk, pilot(walk, a_model())[0]) == walk


def test_segments_too_short_for_a_pilot_stay_as_they_are():
    walk = a_walk(5)
    assert speed.wanted(walk, SETTINGS, {}) == []
    assert speed.even(walk, {}) == walk


def test_what_is_done_when_stays_with_the_pace():
    eased = speed.even(a_walk(ease=True), pilot(a_walk(), a_model())[0])
    quick = steps(eased, a_model())
    assert quick[:3].max() < quick[25:35].min() / 2  # slow at the keyframe, though even to the eye


@pytest.mark.parametrize(("settings", "pilot_steps"), [(1, 1), (4, 4), (10, 5), (20, 5), (30, 6), (50, 10)])
def test_the_pilot_takes_fewer_steps(settings, pilot_steps):
    assert speed.pilot_settings(dataclasses.replace(SETTINGS, steps=settings)).steps == pilot_steps


@pytest.mark.parametrize("frames", [30, 61, 121, 481, 2001])
@pytest.mark.parametrize("count", [1, 4, 10, 30])
def test_the_pilot_costs_a_small_part_of_the_film(frames, count):
    settings = dataclasses.replace(SETTINGS, steps=count)
    walk = a_walk(frames)
    probes = len(pilot(walk, a_model(), settings)[0])
    cost = (speed.pilot_settings(settings).steps + speed.DECODING) / (count + speed.DECODING)
    assert probes * cost <= 0.25 * frames


def test_distance_is_nought_for_equals_only_and_one_from_black_to_white():
    black, white = (np.full((64, 64, 3), level, np.uint8) for level in (0, 255))
    almost = black.copy()
    almost[5, 7] = 3
    black_, white_, almost_ = map(speed.features, (black, white, almost))
    assert speed.distance(black_, black_) == 0
    assert speed.distance(black_, white_) == pytest.approx(1, abs=1e-3)
    assert 0 < speed.distance(black_, almost_) < 0.01


def test_distance_adds_up_along_a_slow_change():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(60, 200, (2, 64, 64, 3))
    start, middle, end = (speed.features(np.round(a + (b - a) * t).astype(np.uint8)) for t in (0, 0.5, 1))
    halves = speed.distance(start, middle) + speed.distance(middle, end)
    assert speed.distance(start, end) == pytest.approx(halves, rel=0.1)


def test_a_large_pictures_features_stay_small():
    assert speed.features(np.zeros((2048, 1024, 3), np.uint8)).nbytes < 5e6


def test_the_interpolation_is_scipys():
    rng = np.random.default_rng(3)
    x, y = np.cumsum(rng.uniform(0.1, 1, (2, 9)), axis=1)
    expected = scipy.interpolate.PchipInterpolator(x, y)
    for at in np.linspace(x[1], x[-2], 50):  # SciPy chooses other slopes at the very ends
        assert speed._monotone(x, y, at) == pytest.approx(float(expected(at)), abs=1e-12)


def test_the_command_does_not_look_twice(tmp_path, monkeypatch, tiny_folder, capfd):
    monkeypatch.chdir(tmp_path)
    command = [
        "--prompts",
        "a cat",
        "a dog",
        "--frames",
        "40",
        "--model",
        str(tiny_folder),
        "--steps",
        "2",
        "--out",
        "film.mp4",
    ]
    assert cli.main(command) == 0
    film, first = (tmp_path / "film.mp4").read_bytes(), capfd.readouterr().err
    assert "looking ahead" in first
    pilots = sorted((tmp_path / "film.walk" / "pilot" / "frames").iterdir())
    assert cli.main(command) == 0
    again = capfd.readouterr().err
    assert not re.search("looking ahead|loading the model|rendering", again)
    assert (tmp_path / "film.mp4").read_bytes() == film

    pilots[3].unlink()  # as after a kill
    next((tmp_path / "film.walk" / "frames").iterdir()).unlink()
    assert cli.main(command) == 0
    assert (tmp_path / "film.mp4").read_bytes() == film


def test_probes_are_the_pictures_of_those_places(tiny_folder):
    model = models.load(Settings(model=str(tiny_folder), steps=2))
    walk = a_walk(40, "ab")
    wanted = speed.wanted(walk, model.settings, {})
    probes = dataclasses.replace(walk, positions=tuple(wanted))
    assert [index for index, _ in render(model.at(speed.pilot_settings(model.settings)), probes, range(len(wanted)))]
