"""Keyframes laid out in time: exact arrivals, even pace, and whole-message refusals."""

import dataclasses
import json
import math
import re
import reprlib
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.interpolate

from walk import Error, Keyframe, Walk, read_prompts
from walk.rates import check_length, parse_fps, rate
from walk.timeline import beats_to_seconds, excerpt, frames_to_seconds, space_by_length

NAN = float("nan")


def keyframes(*times):
    """As many keyframes as times; None for no time."""
    return [Keyframe(f"thing {i}", i, time=time) for i, time in enumerate(times)]


def arrivals(walk):
    """For each keyframe the frames that show exactly it."""
    return [[i for i, p in enumerate(walk.positions) if p == k] for k in range(len(walk.keyframes))]


WAYS = [dict(smooth=False), dict(smooth=True), dict(ease=True), dict(smooth=False, ease=True)]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_every_keyframe_is_shown_by_exactly_one_frame(count, closed, way):
    for frames in [*range(count, 4 * count), 200, 201]:
        walk = Walk.through(keyframes(*[None] * count), frames=frames, closed=closed, **way)
        assert walk.frames == frames
        shown = arrivals(walk)
        assert [len(on) for on in shown] == [1] * count
        assert shown[0] == [0]
        assert closed or shown[-1] == [frames - 1]
        assert all(a < b for a, b in pairwise(walk.positions))  # so no two neighbours are equal


def test_keyframes_are_as_even_as_whole_frames_allow():
    walk = Walk.through(keyframes(*[None] * 5), frames=200)
    assert [on[0] for on in arrivals(walk)] == [0, 50, 100, 149, 199]  # 199 / 4 = 49.75 each


def test_positions_that_divide_evenly_are_evenly_spaced():
    walk = Walk.through(keyframes(None, None, None), frames=9)
    assert walk.positions == (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


def test_a_closed_walk_comes_back_one_step_after_its_last_frame():
    walk = Walk.through(keyframes(None, None), frames=8, closed=True)
    assert walk.positions == (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    assert walk.neighbours(1.75) == ((0, 1, 0, 1), 0.75)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_twice_the_frames_keep_every_position(way):
    half = Walk.through(keyframes(None, None, None, None), frames=100, **way)
    full = Walk.through(keyframes(None, None, None, None), frames=199, **way)
    assert set(half.positions) <= set(full.positions)


def test_uneven_times_change_speed_as_scipys_monotone_interpolation_does():
    times = [0, 1, 4, 4.5, 9, 10]
    walk = Walk.through(keyframes(*times), fps=24)
    knots = scipy.interpolate.PchipInterpolator([t * 24 for t in times], range(6))
    inside = slice(24, 9 * 24)  # SciPy chooses other slopes at the very ends
    np.testing.assert_allclose(np.array(walk.positions)[inside], knots(np.arange(walk.frames))[inside], atol=1e-12)


def test_a_loop_with_uneven_times_has_no_jump_in_speed_at_its_seam():
    walk = Walk.through(keyframes(0, 1, 5), frames=1000, fps=100, closed=True)
    strides = np.diff([*walk.positions, 3.0])
    assert strides[-1] == pytest.approx(strides[0], rel=0.05)


def test_easing_slows_down_at_keyframes():
    strides = np.diff(Walk.through(keyframes(None, None, None), frames=201, ease=True).positions)
    assert strides[0] < strides[50] / 20
    assert strides[99] < strides[50] / 20


def test_a_keyframe_arrives_on_the_frame_nearest_to_its_time():
    rng = np.random.default_rng(0)
    for fps in [Fraction(25), Fraction(24000, 1001), Fraction(60)]:
        for _ in range(70):
            times = np.cumsum(rng.uniform(0.1, 2, size=4)).tolist()
            walk = Walk.through(keyframes(0, *times), seconds=times[-1] + 1, fps=fps)
            for on, time in zip(arrivals(walk), [0, *times]):
                assert abs(on[0] / fps - Fraction(time)) <= 1 / (2 * fps)


@pytest.mark.parametrize("fps", [24, Fraction(24000, 1001), Fraction(60000, 1001), 144, 1000, Fraction(1, 3)], ids=str)
def test_a_keyframe_at_a_frame_is_shown_by_that_frame_at_any_rate(fps):
    cast = [Keyframe("a", 0), *(Keyframe("b", i, frame=i) for i in (7, 48, 49, 1001, 9_999))]
    walk = Walk.through(cast, fps=fps)
    assert walk.landmarks()[0] == [0, 7, 48, 49, 1001, 9_999]
    assert walk.frames == 10_000
    assert all(keyframe.frame is None for keyframe in walk.keyframes)  # a recipe has times
    assert frames_to_seconds(cast[2:3], Fraction(24)) == (Keyframe("b", 48, time=2.0),)


def test_a_frame_that_is_none_is_refused():
    for frame in (-1, 1.5, "2"):
        with pytest.raises(Error, match=rf"^frame {frame!r} is out of range; it is a whole number from 0, or None$"):
            Keyframe("a", 0, frame=frame)


def test_keyframes_without_a_time_share_the_room_between_their_neighbours():
    walk = Walk.through(keyframes(None, None, 2, None, None), seconds=Fraction(145, 24))
    assert [on[0] for on in arrivals(walk)] == [0, 24, 48, 96, 144]


@pytest.mark.parametrize("way", [{}, {"smooth": False}, {"ease": True}, {"strides": [1.0, 3.0] * 30}], ids=str)
def test_between_keyframes_that_are_the_same_the_walk_rests_on_the_first_until_the_next_arrives(way):
    a, b = Keyframe("a", 1), Keyframe("b", 2)
    walk = Walk.through(
        [a, b, b, dataclasses.replace(b, seed=3), dataclasses.replace(b, negative_prompt="c")], 60, **way
    )
    other = Walk.through([a, b, *keyframes(None, None, None)], 60, **way)
    keys, _ = other.landmarks()
    assert walk.landmarks() == other.landmarks()
    assert set(walk.positions[keys[1] : keys[2]]) == {1.0}
    moving = [*range(keys[1] + 1), *range(keys[2], 60)]
    assert [walk.positions[i] for i in moving] == [other.positions[i] for i in moving]
    assert walk.rests() >= {*range(keys[1] + 1, keys[2] + 1)}, "also the frame that arrives at the same picture"


def test_bars_that_would_bring_keyframes_together_move_none():
    """A bar a frame before the film's end is no place for the keyframe before the last."""
    even = [on[0] for on in arrivals(Walk.through(keyframes(None, None, None), 14, fps=24))]
    near = Walk.through(keyframes(None, None, None), 14, fps=24, moments=[[0.0, 12 / 24]])
    assert [on[0] for on in arrivals(near)] == even
    roomy = Walk.through(keyframes(None, None, None), 14, fps=24, moments=[[0.0, 11 / 24]])
    assert [on[0] for on in arrivals(roomy)] == [0, 11, 13]


def test_a_loop_whose_last_keyframe_is_the_first_rests_to_its_end():
    a, b = Keyframe("a", 1, time=0.5), Keyframe("b", 2)
    walk = Walk.through([a, b, dataclasses.replace(a, time=None)], frames=72, closed=True)
    assert walk.landmarks() == ([12, 36, 60], [24, 24, 24])
    assert {*walk.positions[60:], *walk.positions[:12]} == {2.0}
    still = Walk.through([a, dataclasses.replace(a, time=None)], frames=72, closed=True)
    assert still.landmarks() == ([12, 48], [36, 36])


def test_noise_rests_with_its_prompts_and_glides_where_only_they_are_the_same():
    a, b = Keyframe("a", 1), Keyframe("b", 2)
    how = {"frames": 60, "noise_strides": [1.0, 3.0] * 30}
    walk = Walk.through([a, a, b], **how)
    rest = walk.positions.index(1.0)
    assert walk.noise[:rest] == walk.positions[:rest] == (0.0,) * rest
    assert walk.noise != walk.positions
    assert len(set(Walk.through([a, dataclasses.replace(a, seed=2)], **how).noise)) == 60


def test_the_film_rests_on_the_outermost_keyframes_where_times_leave_room():
    walk = Walk.through(keyframes(1, 2), seconds=3, fps=10)
    assert walk.positions[:11] == (0.0,) * 11
    assert walk.positions[20:] == (1.0,) * 10


def test_a_closed_walk_goes_on_round_where_its_first_keyframe_has_a_time():
    walk = Walk.through(keyframes(1, 3), seconds=4, fps=4, closed=True, smooth=False)
    assert walk.positions == (1.5, 1.625, 1.75, 1.875, *(i / 8 for i in range(12)))


def test_without_a_length_the_times_decide_and_else_two_seconds_for_each_pair():
    assert Walk.through(keyframes(0, 7.5), fps=24).frames == 181
    assert Walk.through(keyframes(None, None, None), fps=24).frames == 97
    assert Walk.through(keyframes(None, None, None), fps=24, closed=True).frames == 144


def test_frame_rates_stay_exact():
    walk = Walk.through(keyframes(None, None), seconds=1001, fps=Fraction(24000, 1001))
    assert walk.frames == 24000
    assert walk.seconds == 1001


def test_a_time_at_the_films_very_end_is_its_last_frame():
    walk = Walk.through(keyframes(None, 2), seconds=2, fps=24)
    assert [on[0] for on in arrivals(walk)] == [0, 47]


@pytest.mark.parametrize(
    ("text", "fps"),
    [
        ("25", 25),
        ("12.5", Fraction(25, 2)),
        ("23.976", Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("23.97602", Fraction(24000, 1001)),
        ("23.976023976023978", Fraction(24000, 1001)),
        ("14.985", Fraction(15000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        ("119.88", Fraction(120000, 1001)),
        ("13.37", Fraction(1337, 100)),
        ("24.001", Fraction(24001, 1000)),
        ("0.00005", Fraction(1, 20000)),
        ("24000/1001", Fraction(24000, 1001)),
    ],
)
def test_rates_are_read_as_people_write_them(text, fps):
    assert parse_fps(text) == fps


def test_a_rate_that_ffmpeg_would_round_is_the_nearest_that_it_would_not():
    assert rate("33.333333") == Fraction(100, 3)
    assert rate(Fraction(9999991, 999983)) == pytest.approx(9999991 / 999983, abs=1e-6)
    assert rate("13.37") == Fraction(1337, 100)


@pytest.mark.parametrize("text", ["", "x", "-25", "1/0", "nan", "inf", "1e3", "25fps", "1/2/3"])
def test_other_rates_are_refused(text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_fps(text)


def test_neighbours_of_a_keyframe_are_itself_and_between_two_they_depend_on_the_path():
    open_walk = Walk.through(keyframes(None, None, None), frames=9)
    assert open_walk.neighbours(1.0) == ((1,), 0.0)
    assert open_walk.neighbours(0.5) == ((None, 0, 1, 2), 0.5)
    assert open_walk.neighbours(1.25) == ((0, 1, 2, None), 0.25)
    assert Walk.through(keyframes(None, None, None), frames=9, smooth=False).neighbours(1.25) == ((1, 2), 0.25)


@pytest.mark.parametrize(
    ("times", "options", "message"),
    [
        (
            [None],
            dict(frames=9),
            "a walk needs two keyframes or more; give another prompt, or several seeds for this one (--seeds 1-3)",
        ),
        ([None] * 9, dict(frames=5), "9 keyframes do not fit in 5 frames; give at least one frame for each"),
        ([None] * 2, dict(frames=10, seconds=3), "10 frames and 3 seconds (72 frames) do not agree; give one of them"),
        ([None] * 2, dict(seconds=10**7), "240000000 frames are too many; the limit is 1000000"),
        ([None] * 2, dict(fps=0), "fps 0 is out of range; it is a number from 0.01 to 1000"),
        ([None] * 2, dict(fps=1001), "fps 1001 is out of range; it is a number from 0.01 to 1000"),
        ([None] * 2, dict(seconds=NAN), "seconds nan is not a length; it is a number over 0"),
        ([None] * 2, dict(seconds=float("inf")), "seconds inf is not a length; it is a number over 0"),
        ([None] * 2, dict(seconds=-1), "seconds -1 is not a length; it is a number over 0"),
        (
            [None] * 2,
            dict(frames=5, strides=[1.0, 2.0]),
            "strides are numbers over 0, one for each of 5 frames; not [1.0, 2.0]",
        ),
        (
            [None] * 2,
            dict(frames=2, strides=[1.0, -2.0]),
            "strides are numbers over 0, one for each of 2 frames; not [1.0, -2.0]",
        ),
        (
            [None] * 2,
            dict(frames=2, noise_strides=[1.0, NAN]),
            "noise_strides are numbers over 0, one for each of 2 frames; not [1.0, nan]",
        ),
        (
            [None] * 2,
            dict(frames=9, moments=[0.1, 0.2]),
            "moments are lists of seconds, such as [bars, beats]; not [0.1, 0.2]",
        ),
        (
            [None] * 2,
            dict(frames=9, moments=[[0.1, NAN]]),
            "moments are lists of seconds, such as [bars, beats]; not [[0.1, nan]]",
        ),
        ([None] * 2, dict(seconds=1e300), "so many frames are too many; the limit is 1000000"),
        (
            [None, 9],
            dict(frames=48),
            "keyframe 2 ('thing 1') is at 9 s, frame 216, but the film is 2 s long, 48 frames; give an earlier time, or a longer film",
        ),
        (
            [0, 1, 1.01],
            dict(frames=48),
            "keyframe 2 ('thing 1') and keyframe 3 ('thing 2') would be shown on the same frame; "
            "give them more room: a later time, more frames, or a higher fps",
        ),
        (
            [0, None, None, 0.08],
            dict(frames=48),
            "keyframe 2 ('thing 1') and keyframe 3 ('thing 2') would be shown on the same frame; "
            "give them more room: a later time, more frames, or a higher fps",
        ),
    ],
)
def test_what_does_not_fit_is_refused(times, options, message):
    with pytest.raises(Error) as refusal:
        Walk.through(keyframes(*times), **options)
    assert str(refusal.value) == message


def test_a_rest_shows_its_keyframe_from_its_time_until_its_end():
    cast = [Keyframe("a", 0), Keyframe("b", 1, time=1.0, until=2.0), Keyframe("c", 2)]
    for way in WAYS:
        walk = Walk.through(cast, seconds=3, **way)
        assert arrivals(walk) == [[0], list(range(24, 49)), [71]]
        assert all(a < b for a, b in pairwise(walk.positions[48:]))
    closed = Walk.through(cast, seconds=3, closed=True)
    assert arrivals(closed)[1] == list(range(24, 49))


def test_a_keyframe_may_come_as_late_as_on_the_last_frame():
    for closed in (False, True):
        walk = Walk.through(keyframes(0, 1.01), frames=25, closed=closed)  # 1.01 s are 24.24 frames
        assert arrivals(walk) == [[0], [24]]
        rests = Walk.through([Keyframe("a", 0), Keyframe("b", 1, time=0.9, until=1.01)], frames=25, closed=closed)
        assert arrivals(rests) == [[0], [22, 23, 24]]
    assert arrivals(Walk.through(keyframes(0, 1.05), frames=25)) == [[0], [24]]
    with pytest.raises(
        Error, match=r"is at 1\.03 s, frame 25, but a loop of 1\.04 s begins again there; give an earlier"
    ):
        Walk.through(keyframes(0, 1.03), frames=25, closed=True)


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("strides", [[1e-300, 1e300], [1e6, 1e-9], [1e-9, 1e-9, 1e-9, 1e6], [5e-324], [1e308]], ids=str)
def test_strides_of_any_size_leave_each_keyframe_its_one_frame(strides, closed):
    strides = (strides * 40)[:40]
    walk = Walk.through(keyframes(*[None] * 4), frames=40, closed=closed, strides=strides, noise_strides=strides[::-1])
    assert [len(on) for on in arrivals(walk)] == [1] * 4
    assert list(walk.positions) == sorted(walk.positions)
    assert [walk.noise.count(k) for k in range(4)] == [1] * 4 or not walk.noise


def test_a_rest_at_the_end_makes_the_film_as_long():
    assert Walk.through([Keyframe("a", 0), Keyframe("b", 1, time=1.0, until=2.0)]).frames == 49


def test_a_smooth_walk_slows_down_to_its_rest():
    cast = [Keyframe("a", 0), Keyframe("b", 1, time=4.0, until=5.0), Keyframe("c", 2, time=9.0)]
    strides = np.diff(Walk.through(cast).positions)
    assert strides[95] < 0.1 * strides.max()
    assert strides[120] < 0.1 * strides.max()


def test_a_walk_sets_out_slowly_from_a_first_keyframe_that_is_shown_for_a_while():
    strides = np.diff(Walk.through(keyframes(1, 3, 5)).positions)
    assert strides[24] < 0.1 * strides.max()


def test_a_loop_that_begins_with_a_rest_slows_down_to_it_at_its_end():
    cast = [Keyframe("a", 0, time=0.0, until=1.0), Keyframe("b", 1), Keyframe("c", 2)]
    strides = np.diff([*Walk.through(cast, frames=120, closed=True).positions, 3.0])
    assert strides[-1] < 0.1 * strides.max()


def test_beats_and_bars_become_the_seconds_that_were_heard():
    cast = [Keyframe("a", 0, beat=1), Keyframe("b", 1, bar=2), Keyframe("c", 2, beat=4.5), Keyframe("d", 3, time=9.0)]
    times = [k.time for k in beats_to_seconds(cast, [0.1, 0.6, 1.1, 1.5, 2.1], [0.1, 1.1])]
    assert times == [0.1, 1.1, 1.8, 9.0]
    # The last bar is as long as the one before; its end is where the next would begin.
    cast = [Keyframe("a", 0, bar=2.5), Keyframe("b", 1, bar=3), Keyframe("c", 2, beat=5.5)]
    assert [k.time for k in beats_to_seconds(cast, [0.1, 0.6, 1.1, 1.5, 2.1], [0.1, 1.1])] == [1.6, 2.1, 2.4]


def spaced_frames(lines, lengths, frames, closed=False):
    keyframes = space_by_length(read_prompts(list(lines)), lengths, frames, Fraction(10), closed)
    return [None if k.time is None else round(10 * k.time, 6) for k in keyframes]


def test_ways_take_as_long_as_they_are_long():
    assert spaced_frames("abcd", [1, 3, 2], 61) == [None, 10, 40, None]
    assert spaced_frames("abcd", [1, 3, 2, 4], 100, closed=True) == [None, 10, 40, 60]
    # Times that were given stay, and rests.
    assert spaced_frames(["a", "b", "c | time=4", "d", "e"], [1, 1, 9, 1], 61) == [None, 20, 40, 58, None]
    assert spaced_frames(["a", "b | time=1 | until=3", "c", "d"], [5, 1, 2], 61) == [None, 10, 40, None]
    assert spaced_frames(["a", "b", "c | time=4"], [1, 3, 5], 61) == [None, 10, 40]
    # Of what looks the same, a rest as long as before; at least a frame for each.
    assert spaced_frames(["a", "b", "b", "c"], [1, 0, 3], 61) == [None, 10, 30, None]
    assert spaced_frames("abc", [0, 0], 61) == [None, 30, None]
    assert spaced_frames("abcde", [1, 1e-9, 1e-9, 1], 5) == [None, 1, 2, 3, None]
    assert spaced_frames("abcde", [1, 1e-9, 1e-9, 1e-9], 9) == [None, 5, 6, 7, None]


def test_a_loop_that_begins_late_is_laid_out_too():
    keyframes = space_by_length(read_prompts(["a | time=2", "b", "c"]), [1, 2, 6], 90, Fraction(10), True)
    assert [k.time for k in keyframes] == [2, 3, 5]
    keyframes = space_by_length(read_prompts(["a | time=8", "b", "c"]), [1, 2, 6], 90, Fraction(10), True)
    assert [k.time for k in keyframes] == [8, None, None]
    Walk.through(keyframes, 90, fps=10, closed=True)


def test_rests_end_on_bars_beats_and_frames():
    cast = read_prompts(
        [
            "a | beat=1 | until=beat=2",
            "b | bar=2 | until = bar=2.5",
            "c | frame=60 | until=frame= 90",
            "d | time=4|until=bar=3",
        ]
    )
    told = [
        (k.time, k.until)
        for k in frames_to_seconds(beats_to_seconds(cast, [0.1, 0.6, 1.1, 1.5, 2.1], [0.1, 1.1, 5.1]), Fraction(24))
    ]
    assert told == [(0.1, 0.6), (1.1, 3.1), (2.5, 3.75), (4.0, 5.1)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a | bar=3 | until=bar=3", "b"], "until 3 is not after its bar 3"),
        (["a | bar=1 | until=bar=3", "b | bar=2.5"], "bar 2.5 is not after 3"),
        (["a | bar=1 | until=bar=0", "b"], "bar '0' is not possible; they are counted from 1"),
        (["a | bar=1 | until=month=2", "b"], "until 'month=2' is not a time; write seconds (12.5) or minutes:seconds"),
        (["a | time=3 | until=bar=2", "b"], "keyframe 1 ('a') is to rest until bar 2, which is not after 3 s"),
        (["a | bar=2 | until=beat=3", "b"], "keyframe 1 ('a') is to rest until beat 3, which is not after bar 2"),
        (["a | bar=1 | until=bar=4", "b"], "keyframe 1 ('a') rests until bar 4, but the film has 2 bars"),
    ],
)
def test_a_rest_that_does_not_end_is_refused(lines, message):
    with pytest.raises(Error) as refusal:
        beats_to_seconds(read_prompts(lines), [0.1, 0.6, 1.1, 1.5, 2.1], [0.1, 1.1])
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("keyframe", "message"),
    [
        (Keyframe("b", 1, beat=6.5), "keyframe 2 ('b') is at beat 6.5, but the film has 5 beats"),
        (Keyframe("b", 1, bar=4), "keyframe 2 ('b') is at bar 4, but the film has 2 bars"),
    ],
)
def test_a_beat_that_is_not_there_is_refused(keyframe, message):
    with pytest.raises(Error) as refusal:
        beats_to_seconds([Keyframe("a", 0), keyframe], [0.1, 0.6, 1.1, 1.5, 2.1], [0.1, 1.1])
    assert str(refusal.value) == message


def test_keyframes_without_a_time_move_to_the_nearest_bar():
    bars = [0.3, 2.3, 4.3, 6.3, 8.3]
    walk = Walk.through(keyframes(None, None, 5.0, None), seconds=10, fps=25, moments=[bars])
    assert [on[0] for on in arrivals(walk)] == [0, 58, 125, 249]  # 2.3 s; as asked; the end


def test_where_bars_are_too_few_keyframes_move_to_beats_and_else_stay():
    bars, beats = [0.5, 2.5], [0.5, 1.0, 1.5, 2.0, 2.5]
    walk = Walk.through(keyframes(None, None, None, None, None), seconds=3, fps=24, moments=[bars, beats])
    assert [on[0] for on in arrivals(walk)] == [0, 12, 36, 48, 71]
    walk = Walk.through(keyframes(None, None, None, None, None), seconds=3, fps=24, moments=[bars])
    assert [on[0] for on in arrivals(walk)] == [0, 18, 36, 53, 71]


@pytest.mark.parametrize("closed", [False, True])
def test_strides_decide_how_much_is_done_between_keyframes_that_arrive_as_before(closed):
    generator = np.random.default_rng(0)
    for _ in range(50):
        count, frames = int(generator.integers(2, 6)), int(generator.integers(10, 80))
        cast, strides = keyframes(*[None] * count), (generator.random(frames) + 0.01).tolist()
        plain = Walk.through(cast, frames=frames, closed=closed)
        walk = Walk.through(cast, frames=frames, closed=closed, strides=strides)
        assert arrivals(walk) == arrivals(plain)
        assert all(a < b for a, b in pairwise(walk.positions))
        first, end = arrivals(walk)[0][0], arrivals(walk)[1][0]
        done = np.cumsum([0, *strides[first + 1 : end + 1]])
        np.testing.assert_allclose(walk.positions[first : end + 1], done / done[-1], atol=1e-6)


@pytest.mark.parametrize("closed", [False, True])
def test_an_onset_alone_in_silence_is_no_jump(closed):
    strides = [0.03] * 48
    strides[0] = strides[24] = 10.0  # into the first frame of the film, and of the second segment: a bar's first beat
    walk = Walk.through(keyframes(None, None, *[None] * (not closed)), frames=48, closed=closed, strides=strides)
    moved = np.diff([*walk.positions, *[2.0] * closed])
    assert max(moved) == pytest.approx(1 / 3, abs=1e-5)
    assert min(moved) > 0.02
    long = Walk.through(keyframes(None, None), frames=97, strides=[0.03] * 96 + [10.0])
    assert max(np.diff(long.positions)) == pytest.approx(8 / 96, abs=1e-5), "many frames: not even so much"


def test_the_noise_is_paced_apart_when_it_is_asked_for():
    cast, strides = keyframes(None, None), [1.0, 5.0] * 12
    walk = Walk.through(cast, frames=24, noise_strides=strides)
    assert walk.positions == Walk.through(cast, frames=24).positions
    assert walk.noise == Walk.through(cast, frames=24, strides=strides).positions
    assert Walk.through(cast, frames=24, strides=strides, noise_strides=strides).noise == ()


@pytest.mark.parametrize("closed", [False, True])
def test_a_segment_without_strides_is_laid_out_as_if_there_were_none(closed):
    cast = keyframes(None, 1.0, 3.0, 3.5)
    strides = [1.0 + (i % 7) for i in range(120)]
    some = [None if 48 < i <= 84 else stride for i, stride in enumerate(strides)]
    mixed, without, with_ = (
        Walk.through(cast, frames=120, closed=closed, strides=each).positions for each in (some, None, strides)
    )
    assert mixed[24:72] == without[24:72], "one is enough"
    assert mixed[:24] + mixed[84:] == with_[:24] + with_[84:]


def test_a_walk_swings_where_its_pulse_turns():
    walk = Walk.through(keyframes(None, None), frames=9)
    walk = dataclasses.replace(walk, pulse=(0.5, 0.1, 0.6, 0.6, 0.3, 0.305, 0.3, 0.9, 0.2))
    assert walk.swings() == {1, 7}


def test_a_keyframe_is_the_last_that_was_reached_until_the_next_is():
    walk = Walk.through(keyframes(0.5, 1.0, 2.0), frames=72)
    assert walk.reached([0, 11.5, 12, 23.5, 24, 47.5, 48, 71]) == [0, 0, 0, 0, 1, 1, 2, 2]
    loop = Walk.through(keyframes(0.5, 1.0, 2.0), frames=72, closed=True)
    assert loop.reached([-0.5, 0, 11.5, 12, 23.5, 24, 48, 71]) == [2, 2, 2, 0, 0, 1, 2, 2]


def test_the_noise_goes_with_the_prompts_unless_it_is_to_be_even():
    cast, strides = keyframes(None, None), [1.0, 5.0] * 12
    assert Walk.through(cast, frames=24, strides=strides).noise == ()
    assert (
        Walk.through(cast, frames=24, strides=strides, noise_strides=()).noise
        == Walk.through(cast, frames=24).positions
    )


def test_keyframes_arrive_on_the_frame_nearest_to_their_beat():
    generator = np.random.default_rng(7)
    for _ in range(200):
        fps = [Fraction(24), Fraction(25), Fraction(30), Fraction(24000, 1001), Fraction(60)][generator.integers(5)]
        beats = np.cumsum(generator.uniform(0.3, 1.0, 12)).round(4).tolist()
        chosen = np.sort(generator.choice(np.arange(2, 12), 3, replace=False)).tolist()
        cast = [Keyframe("start", 0), *(Keyframe(f"beat {n}", n, beat=n) for n in chosen), Keyframe("end", 99)]
        strides = generator.random(round(13 * fps)) + 0.01
        walk = Walk.through(beats_to_seconds(cast, beats, []), seconds=13, fps=fps, strides=strides)
        for k, number in enumerate(chosen, 1):
            (frame,) = arrivals(walk)[k]
            assert abs(frame / fps - Fraction(str(beats[number - 1]))) <= Fraction(1, 2) / fps


def test_the_part_of_a_song_begins_with_the_line_that_is_sung_there():
    cast = [Keyframe(str(i), i, time=10.0 * i, until=10.0 * i + 4) for i in range(5)]
    part = [(k.prompt, k.time, k.until) for k in excerpt(cast, 12.0, 20.0)]
    assert part == [("1", 0.0, 2.0), ("2", 8.0, 12.0), ("3", 18.0, 20.0)]
    assert [(k.prompt, k.time) for k in excerpt(cast, 20.0, 15.0)] == [("2", 0.0), ("3", 10.0)], "it begins with one"
    assert [(k.prompt, k.until) for k in excerpt(cast, 17.0, 5.0)] == [("1", None), ("2", 5.0)]
    assert [k.until for k in excerpt(cast, 12.0, 20.0, pause=1.0)] == [2.0, 12.0, 19.0]
    assert [k.until for k in excerpt(cast, 12.0, 20.0, pause=2.0)] == [2.0, 12.0, None]


# Walks that a program makes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"keyframes": ()}, "a walk needs keyframes, and none was given"),
        ({"keyframes": "a fox"}, "'a fox' is not a keyframe; read_prompts makes keyframes of a prompt file or of prompts"),
        ({"positions": (0.0, 2.5)}, "positions: 2.5 is out of range; with 3 keyframes they are from 0, at most 2"),
        ({"positions": (-0.5, 0.0)}, "positions: -0.5 is out of range; with 3 keyframes they are from 0, at most 2"),
        ({"positions": (0.0, NAN, 1.0)}, "positions: nan is out of range; with 3 keyframes they are from 0, at most 2"),
        ({"positions": (NAN,)}, "positions: nan is out of range; with 3 keyframes they are from 0, at most 2"),
        ({"closed": True, "positions": (3.0,)}, "positions: 3 is out of range; with 3 keyframes they are from 0, below 3"),
        ({"positions": "ab"}, "positions are numbers, one for each frame; not 'ab'"),
        ({"positions": 1.5}, "positions are numbers, one for each frame; not 1.5"),
        ({"positions": (10**400, 0)}, f"positions are numbers, one for each frame; not {reprlib.repr((10**400, 0))}"),
        ({"noise": (0.0,)}, "noise has 1 position for 2 frames; it has one for each frame, or none"),
        ({"noise": (0.0, 7.0)}, "noise: 7 is out of range; with 3 keyframes they are from 0, at most 2"),
        ({"fps": 0}, "fps 0 is out of range; it is a number from 0.01 to 1000"),
        ({"fps": NAN}, "fps nan is out of range; it is a number from 0.01 to 1000"),
    ],
    ids=str,
)  # fmt: skip
def test_a_walk_that_is_none_is_refused(values, message):
    with pytest.raises(Error) as caught:
        Walk(**{"keyframes": keyframes(None, None, None), "positions": (0.0, 1.5), "fps": Fraction(24)} | values)
    assert str(caught.value) == message


def test_numbers_of_numpy_are_numbers():
    keyframes = [Keyframe("a", 0), Keyframe("b", 1)]
    walk = Walk.through(keyframes, seconds=np.float32(0.5), fps=24)
    assert walk.frames == 12
    assert Walk.through(keyframes, frames=np.int64(12), fps=24).positions == walk.positions
    with pytest.raises(Error, match=r"^frames 5\.0 is not a whole number$"):
        Walk.through(keyframes, frames=5.0)


def test_an_array_of_positions_is_a_tuple_of_them():
    some = keyframes(None, None, None)
    walk = Walk(list(some), np.linspace(0, 2, 5), Fraction(24), noise=[0, 1, 1, 2, 2])
    assert walk == Walk(tuple(some), (0.0, 0.5, 1.0, 1.5, 2.0), Fraction(24), noise=(0.0, 1.0, 1.0, 2.0, 2.0))
    assert {type(place) for place in walk.positions + walk.noise} == {float}
    assert hash(walk) == hash(dataclasses.replace(walk))


def test_a_walk_through_one_keyframe_rests_there():
    assert Walk(keyframes(None), (0.0, 0.0), Fraction(24)).frames == 2
    with pytest.raises(Error, match=r"^positions: 0\.5 is out of range; with 1 keyframe they are from 0, at most 0$"):
        Walk(keyframes(None), (0.0, 0.5), Fraction(24))


@pytest.mark.parametrize("fps", [23.976, 24000 / 1001, np.float64(23.976), "23.976", Fraction(24000, 1001)], ids=repr)
def test_a_rate_is_what_is_meant_by_it(fps):
    walk = Walk.through(keyframes(None, None), frames=24, fps=fps)
    assert walk.fps == Walk(walk.keyframes, walk.positions, fps).fps == Fraction(24000, 1001)
    assert walk.seconds == Fraction(1001, 1000)


@pytest.mark.parametrize("name", ["examples/night.txt", Path("examples/night.txt")])
def test_a_file_name_in_place_of_keyframes_is_not_read_letter_by_letter(name):
    with pytest.raises(Error) as caught:
        Walk.through(name, frames=10)
    assert str(caught.value) == (
        f"{str(name)!r} is not a keyframe; read_prompts makes keyframes of a prompt file or of prompts"
    )


def test_prompts_in_place_of_keyframes_are_refused():
    with pytest.raises(Error, match=r"^'a fox' is not a keyframe; read_prompts makes"):
        Walk.through(["a fox", "a frog"], frames=10)


def test_numbers_of_other_libraries_are_numbers_like_others(tmp_path):
    cast = [Keyframe("a", np.int64(1)), Keyframe("b", 2, time=np.arange(3)[1]), Keyframe("c", 3, time=Fraction(3, 2))]
    walk = Walk.through(cast, seconds=np.float32(2), fps=np.float32(29.97), closed=np.bool_(True))
    same = [Keyframe("a", 1), Keyframe("b", 2, time=1.0), Keyframe("c", 3, time=1.5)]
    assert walk == Walk.through(same, seconds=2, fps=29.97, closed=True)
    assert json.dumps([dataclasses.asdict(keyframe) for keyframe in walk.keyframes] + [walk.closed])


@pytest.mark.parametrize("place", [{"beat": 2}, {"bar": 1.5}])
def test_keyframes_on_beats_are_no_walk_before_somebody_says_when_these_are(place):
    keyframes = Keyframe("a", 0), Keyframe("b", 1, **place), Keyframe("c", 2)
    with pytest.raises(Error, match="there are none without a sound or a tempo"):
        Walk.through(keyframes)
    assert Walk.through(beats_to_seconds(keyframes, (0.0, 1.0), (0.0, 2.0))).first_frames()[1.0] == 24


@pytest.mark.parametrize("closed", [False, True])
def test_a_walk_tells_where_it_hardly_moves(closed):
    """In each half by its own measure; and if the noise goes on, it moves."""
    keyframes = [Keyframe("a", 0), Keyframe("b", 1)]
    half = [0.0, 0.1, 0.11, 0.12, 0.6]
    places = [*half, *(1 + place for place in half)] if closed else [*half, 1.0]
    rests = {2, 3, 7, 8} if closed else {2, 3}
    assert Walk(keyframes, places, 24, closed).rests() == rests
    even = [i / len(places) for i in range(len(places))]
    assert Walk(keyframes, places, 24, closed, noise=even).rests() == set()
    assert Walk(keyframes, [0.0, 0.5, 0.5, 1.0], 24).rests() == {2}


def test_where_the_noise_pulses_a_walk_does_not_rest():
    keyframes = [Keyframe("a", 0), Keyframe("b", 1)]
    assert Walk(keyframes, [0.0] * 4 + [1.0], 24, pulse=[0, 0.5, 0.495, 0.1, 0]).rests() == {2}


@pytest.mark.parametrize("pulse", [[0, 1], [0, 0, 0, 1.1, 0], [0, 0, -0.1, 0, 0], [0, 0, math.nan, 0, 0], "abcde", 3])
def test_a_pulse_is_a_share_for_each_frame(pulse):
    with pytest.raises(Error, match="pulse has a number from 0 to 1 for each of 5 frames; not "):
        Walk([Keyframe("a", 0), Keyframe("b", 1)], [0.0, 0.25, 0.5, 0.75, 1.0], 24, pulse=pulse)


def test_a_pulse_of_noughts_is_none():
    assert Walk([Keyframe("a", 0), Keyframe("b", 1)], [0.0, 1.0], 24, pulse=[0, 0]).pulse == ()


def test_a_loop_that_begins_between_two_keyframes_rests_nowhere():
    """Its positions begin again at 0 on the way."""
    assert Walk.through(keyframes(1, *[None] * 5), frames=144, closed=True, smooth=False).rests() == set()


def test_a_long_rest_later_on_slows_no_keyframe_before_it():
    stops = [*keyframes(0, 2), Keyframe("thing 2", 2, time=4, until=20), Keyframe("thing 3", 3, time=22)]
    walk = Walk.through(stops, fps=24)
    assert walk.positions[:49] == pytest.approx([i / 48 for i in range(49)], abs=1e-8)


def test_of_an_open_walk_that_comes_back_the_first_frame_shows_a_keyframe_first():
    assert Walk(keyframes(None, None), (0.0, 0.5, 1.0, 0.5, 0.0)).first_frames() == {0.0: 0, 0.5: 1, 1.0: 2}


def test_a_film_may_be_as_long_as_the_limit_says():
    check_length(1_000_000)
    with pytest.raises(Error, match=r"^1000001 frames are too many; the limit is 1000000$"):
        check_length(1_000_001)
