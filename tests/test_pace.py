"""How much is done in each frame: most on the beats, never nothing."""

import math
from fractions import Fraction

import numpy as np
import pytest

from walk import Keyframe, Walk, pace

RATES = [Fraction(24), Fraction(25), Fraction(30), Fraction(24000, 1001), Fraction(60)]


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("bpm", [60, 97, 120, 180])
def test_on_beats_the_largest_steps_are_into_the_frames_nearest_to_the_beats(fps, bpm):
    beats = [0.3 + i * 60 / bpm for i in range(20)]
    steps = np.array(pace.on_beats(beats, int(21 * 60 / bpm * fps), fps))
    largest = np.sort(np.argsort(steps)[-20:])
    assert largest.tolist() == [int(beat * fps + Fraction(1, 2)) for beat in map(Fraction, beats)]
    assert steps.mean() == pytest.approx(1)
    assert steps.min() >= pace.LEAST


@pytest.mark.parametrize("bpm", [60, 120, 175])
@pytest.mark.parametrize("fps", RATES)
def test_what_a_beat_rests_on_is_the_keyframe_that_comes_with_it(fps, bpm):
    beats, frames = [i * 60 / bpm for i in range(8)], int(8 * 60 / bpm * fps)
    steps = pace.on_beats(beats, frames, fps)
    keyframes = [Keyframe("a fox", seed, time=beat) for seed, beat in enumerate(beats)]
    walk = Walk.through(keyframes, frames, fps=fps, closed=True, smooth=False, strides=steps)
    nearest = np.array([abs(position - round(position)) for position in walk.positions])
    assert np.mean(nearest < 0.1) > 0.4, "most of the time one keyframe is seen"
    assert np.mean(nearest > 0.3) < 0.3, "and seldom what is half of two"
    for beat in beats[:-1]:
        first = int(Fraction(beat) * fps + Fraction(1, 2))
        shown = walk.positions[first : first + int(fps * Fraction(60, bpm) / 3)]
        assert max(shown) - shown[0] < 0.1, "for a third of the way to the next beat"


@pytest.mark.parametrize("fps", RATES)
def test_with_energy_steps_follow_the_onsets(fps):
    generator = np.random.default_rng(1)
    envelope = np.zeros(1000)
    onsets = np.arange(20, 980, 48) + generator.integers(0, 24, 20)
    envelope[onsets] = 0.5 + generator.random(20)
    steps = np.array(pace.with_energy(envelope.tolist(), 100, int(10 * fps), fps))
    at = np.array([int(Fraction(int(onset), 100) * fps + Fraction(1, 2)) for onset in onsets])
    rises = np.flatnonzero(np.diff(steps) > 0) + 1
    assert rises.tolist() == at.tolist()
    np.testing.assert_array_equal(np.argsort(steps[at]), np.argsort(envelope[onsets]))
    assert steps.mean() == pytest.approx(1)


def test_what_an_onset_moves_fades_at_one_rate_until_nothing_is_left():
    envelope = [0.0] * 400
    envelope[100] = 1.0
    steps = np.array(pace.with_energy(envelope, 100, 48, Fraction(24)))
    moved = steps[24:] - steps[0]
    assert moved[1:] / moved[:-1] == pytest.approx(math.exp(-1 / (24 * pace.FADE)))


@pytest.mark.parametrize("beats", [[], [1.0], [500.0]])
def test_without_a_pulse_the_pace_is_even(beats):
    assert pace.on_beats(beats, 50, Fraction(24)) == [1.0] * 50


@pytest.mark.parametrize("envelope", [[], [0.0] * 300, [0.0]])
def test_in_silence_the_pace_is_even(envelope):
    assert pace.with_energy(envelope, 100, 50, Fraction(24)) == [1.0] * 50


def test_between_beats_far_apart_the_picture_glides():
    beats = [0.5 * i for i in range(10)] + [20 + 0.5 * i for i in range(10)]
    steps = pace.on_beats(beats, 600, Fraction(24))
    assert min(steps[150:450]) > 0.5


def test_before_the_first_beat_the_picture_glides():
    steps = pace.on_beats([0.75 + 0.5 * i for i in range(10)], 150, Fraction(24))
    assert max(steps[:18]) - min(steps[:18]) < 1e-9
    assert sum(steps[:18]) > 3 * steps[18]  # else a keyframe that comes with that beat would come at one stroke


def test_how_far_the_pace_departs_from_even_is_chosen():
    beats = [0.5 * i for i in range(10)]
    assert pace.on_beats(beats, 120, Fraction(24), react=0.0) == [1.0] * 120
    half, whole = (pace.on_beats(beats, 120, Fraction(24), react) for react in (0.5, 1.0))
    assert 2 * (max(half) - 1) == pytest.approx(max(whole) - 1)


def test_a_quiet_passage_does_not_dance_as_a_loud_one_does():
    envelope = np.zeros(2000)
    envelope[:1000:50] = 0.05
    envelope[1000::50] = 1.0
    steps = np.array(pace.with_energy(envelope.tolist(), 100, 480, Fraction(24)))
    quiet, loud = steps[:240], steps[240:]
    assert np.ptp(quiet) < 0.06 * np.ptp(loud)


def test_a_beat_at_the_very_beginning_is_danced_to():
    steps = pace.on_beats([0.0, 0.5, 1.0, 1.5], 48, Fraction(24))
    assert steps[0] == steps[12] == max(steps)
    assert steps[:12] == steps[12:24]


def test_where_more_than_two_beats_are_missing_the_picture_glides():
    beats = [i / 2 for i in range(8) if i not in (4, 5)]
    steps = pace.on_beats(beats, 96, Fraction(24))
    assert min(steps[36:72]) > 3 * min(steps[:36])
